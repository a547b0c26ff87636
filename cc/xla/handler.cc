#include "cc/xla/handler.h"

#include <algorithm>
#include <string>

namespace tf_roialign {

namespace ffi = ::xla::ffi;

namespace {

// The operand of an input, or of an entry of it.
void ReadOperand(Input input, int map, const ffi::AnyBuffer& operand,
                 InputShapes* shapes, HandledCall* call) {
  ReadTensor(
      input, map, Shape::Of(operand.dimensions()), operand.untyped_data(),
      operand.element_type() == ffi::DataType::S64, shapes, &call->inputs);
  if (input == Input::kFeatures || input == Input::kGradOutput) {
    call->features_type = operand.element_type();
  } else if (input == Input::kBoxes) {
    call->boxes_type = operand.element_type();
  }
}

// An input of which the host reads the value, of `count` numbers, where it is
// an attribute.
bool ReadHostInput(Input input, int64_t count,
                   const ffi::Dictionary& attributes, HandledCall* call) {
  double number;
  double* const values =
      input == Input::kSpatialScales ? call->spatial_scales : &number;
  if (!ReadNumbers(attributes, NameOf(input), count, values)) return false;
  if (input == Input::kScale) {
    call->scale = static_cast<float>(number);
    call->inputs.Set(input, &call->scale);
  } else if (input == Input::kZeroPoint) {
    call->zero_point = static_cast<int32_t>(number);
    call->inputs.Set(input, &call->zero_point);
  } else {
    call->inputs.Set(input, call->spatial_scales);
  }
  return true;
}

}  // namespace

ffi::Error ReadCall(const OpInfo& info, bool on_host,
                    const ffi::RemainingArgs& operands,
                    const ffi::RemainingRets& results,
                    const ffi::Dictionary& attributes, HandledCall* call) {
  const ffi::ErrorOr<OpParams> params = ReadParams(attributes, info.maps);
  if (!params) return params.error();
  call->params = *params;
  int64_t map_count = 1;
  if (info.maps == Maps::kMany &&
      !ReadAttribute(attributes, kMapCount, &map_count)) {
    return ffi::Error::Internal("RoIAlign's custom call lacks its map count");
  }

  InputShapes shapes;
  shapes.set_map_count(static_cast<int>(map_count));
  for (size_t i = 0; i < results.size(); ++i) {
    auto result = results.get<ffi::AnyBuffer>(i);
    if (!result) return result.error();
    call->outputs.data[i] = (*result)->untyped_data();
    if (info.Has(Input::kFeaturesShape)) {
      shapes.features(int(i)) = Shape::Of((*result)->dimensions());
    }
  }
  size_t place = 0;
  for (int i = 0; i < info.input_count; ++i) {
    const Input input = info.inputs[i];
    if (input == Input::kFeaturesShape) continue;
    if (IsReadByHost(input) && !on_host) {
      const int64_t count = input == Input::kSpatialScales ? 2 * map_count : 1;
      if (!ReadHostInput(input, count, attributes, call)) {
        return ffi::Error::Internal(
            std::string("RoIAlign's custom call lacks the attribute ") +
            NameOf(input));
      }
      continue;
    }
    for (int m = 0; m < (info.IsList(input) ? map_count : 1); ++m) {
      const auto operand = operands.get<ffi::AnyBuffer>(place++);
      if (!operand) return operand.error();
      ReadOperand(input, m, *operand, &shapes, call);
    }
  }
  // XLA knew the shapes when it compiled the call.
  const Status status =
      CheckShapes(info, call->params, shapes, &call->signature);
  if (!status.ok()) return ToError(status);

  if (place < operands.size()) {
    const auto count = operands.get<ffi::AnyBuffer>(place);
    if (!count) return count.error();
    const auto* value = static_cast<const int32_t*>(count->untyped_data());
    if (on_host) {
      int64_t& boxes = call->signature.sizes.boxes;
      boxes = std::min<int64_t>(boxes, *value);
    } else {
      call->inputs.box_count = value;
    }
  }
  return ffi::Error::Success();
}

}  // namespace tf_roialign
