#include "cc/xla/handler.h"

namespace tf_roialign {

namespace ffi = ::xla::ffi;

ffi::ErrorOr<HandledCall> ReadCall(Op op, const ffi::RemainingArgs& operands,
                                   const ffi::AnyBuffer& result,
                                   const ffi::Dictionary& attributes) {
  const ffi::ErrorOr<OpParams> params = ReadParams(attributes);
  if (!params) return ffi::Unexpected(params.error());
  HandledCall call;
  call.params = *params;

  const OpInfo info = InfoOf(op);
  InputShapes shapes;
  size_t place = 0;
  for (int i = 0; i < info.input_count; ++i) {
    const Input input = info.inputs[i];
    if (input == Input::kFeaturesShape) {
      shapes[Input::kFeatures] = Shape::Of(result.dimensions());
      continue;
    }
    const ffi::ErrorOr<ffi::AnyBuffer> operand =
        operands.get<ffi::AnyBuffer>(place++);
    if (!operand) return ffi::Unexpected(operand.error());
    shapes[input] = Shape::Of(operand->dimensions());
    call.inputs.Set(input, operand->untyped_data());
    if (input == Input::kBoxIndices) {
      call.inputs.indices_are_64_bit =
          operand->element_type() == ffi::DataType::S64;
    } else if (input == Input::kBoxes) {
      call.boxes_type = operand->element_type();
    } else if (input == Input::kFeatures || input == Input::kGradOutput) {
      call.features_type = operand->element_type();
    }
  }
  // XLA knew the shapes when it compiled the call.
  const Status status = CheckShapes(op, call.params, shapes, &call.signature);
  if (!status.ok()) return ffi::Unexpected(ToError(status));

  if (place < operands.size()) {
    const ffi::ErrorOr<ffi::AnyBuffer> count =
        operands.get<ffi::AnyBuffer>(place);
    if (!count) return ffi::Unexpected(count.error());
    int64_t& boxes = call.signature.sizes.boxes;
    boxes = std::min<int64_t>(
        boxes, *static_cast<const int32_t*>(count->untyped_data()));
  }
  return call;
}

}  // namespace tf_roialign
