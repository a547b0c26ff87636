// From the inputs of an op to the core's call, for every host and device.

#ifndef TF_ROIALIGN_CC_CORE_RUN_OP_H_
#define TF_ROIALIGN_CC_CORE_RUN_OP_H_

#include <cstdint>
#include <limits>
#include <new>

#include "cc/core/base/status.h"
#include "cc/core/call/attributes.h"
#include "cc/core/call/boxes.h"
#include "cc/core/call/feature_maps.h"
#include "cc/core/call/level_rule.h"
#include "cc/core/call/op.h"
#include "cc/core/call/params.h"
#include "cc/core/call/signature.h"
#include "cc/core/cpu/box_tangent.h"
#include "cc/core/cpu/roi_align_cpu.h"

namespace tf_roialign {

// The data of an op's inputs, each in the place of its name, in the memory of
// the device that the op runs on, or of the host, which reads some
// (IsReadByHost).
class InputData {
 public:
  void Set(Input input, const void* data) {
    data_[static_cast<int>(input)] = data;
  }
  template <typename Element>
  const Element* Get(Input input) const {
    return static_cast<const Element*>(data_[static_cast<int>(input)]);
  }

  // An entry of the list that the features may be.
  void SetFeatures(int map, const void* data) { features_[map] = data; }
  template <typename T>
  const T* Features(int map) const {
    return static_cast<const T*>(features_[map]);
  }

  bool indices_are_64_bit = false;
  bool levels_are_64_bit = false;
  int64_t levels = 0;  // how many there are
  // Boxes::count_on_device.
  const int32_t* box_count = nullptr;

 private:
  const void* data_[kInputs] = {};
  const void* features_[kMaxMaps] = {};
};

// Puts a tensor, entry `map` of an input, in its place. Not a features_shape,
// of which the value counts.
inline void ReadTensor(Input input, int map, const Shape& shape,
                       const void* data, bool is_64_bit, InputShapes* shapes,
                       InputData* inputs) {
  if (map == 0) (*shapes)[input] = shape;
  inputs->Set(input, data);
  if (input == Input::kFeatures) {
    shapes->features(map) = shape;
    inputs->SetFeatures(map, data);
  } else if (input == Input::kBoxIndices) {
    inputs->indices_are_64_bit = is_64_bit;
  } else if (input == Input::kLevels) {
    inputs->levels_are_64_bit = is_64_bit;
    inputs->levels = shape.rank == 1 ? shape.dims[0] : 0;
  }
}

// Of an op: one, or one for each map.
struct OutputData {
  void* data[kMaxMaps] = {};
};

namespace run_op_internal {

// May throw std::bad_alloc.
template <Op kOp, typename T, typename B, typename Context>
Status Run(const Context& context, const OpParams& params,
           const Signature& signature, const InputData& inputs,
           const OutputData& outputs) {
  const Sizes& sizes = signature.sizes;
  const int map_count = signature.map_count;
  Scale scales[kMaxMaps] = {params.spatial_scale};
  Boxes<B> boxes = {signature.form, inputs.Get<B>(Input::kBoxes),
                    signature.columns, sizes.boxes};
  if (boxes.form == BoxForm::kSeparate) {
    boxes.box_indices = inputs.Get<void>(Input::kBoxIndices);
    boxes.indices_are_64_bit = inputs.indices_are_64_bit;
  }
  boxes.count_on_device = inputs.box_count;
  LevelRule level_rule;
  if (params.maps == Maps::kMany) {
    TF_ROIALIGN_RETURN_IF_ERROR(ReadSpatialScales(
        inputs.Get<double>(Input::kSpatialScales), map_count, scales));
    if (inputs.levels > 0) {
      boxes.map_indices = inputs.Get<void>(Input::kLevels);
      boxes.map_indices_are_64_bit = inputs.levels_are_64_bit;
    } else if (map_count > 1) {
      level_rule = MakeLevelRule<B>(params.canonical_scale,
                                    params.canonical_level, scales, map_count);
      boxes.level_rule = &level_rule;
    }
  }
  FeatureMap<const T> features[kMaxMaps];
  FeatureMap<T> grad_features[kMaxMaps];
  for (int m = 0; m < map_count; ++m) {
    const auto [height, width] = signature.maps[m];
    const auto [y, x] = scales[m];
    features[m] = {inputs.Features<T>(m), height, width, y, x};
    grad_features[m] = {static_cast<T*>(outputs.data[m]), height, width, y, x};
  }
  const FeatureMaps<const T> maps(features, map_count);
  const FeatureMaps<T> grad_maps(grad_features, map_count);
  [[maybe_unused]] const T* grad_output = inputs.Get<T>(Input::kGradOutput);
  [[maybe_unused]] const B* direction = inputs.Get<B>(Input::kDirection);
  [[maybe_unused]] T* output = static_cast<T*>(outputs.data[0]);

  if constexpr (kOp == Op::kForward) {
    return RoiAlignForward(context, params, sizes, boxes, maps, output);
  } else if constexpr (kOp == Op::kFeatureGrad) {
    return RoiAlignFeatureGrad(context, params, sizes, boxes, grad_output,
                               grad_maps);
  } else if constexpr (kOp == Op::kMaxFeatureGrad) {
    return RoiAlignMaxFeatureGrad(context, params, sizes, boxes, maps,
                                  grad_output, grad_maps);
  } else if constexpr (kOp == Op::kBoxGrad) {
    return RoiAlignBoxGrad(context, params, sizes, boxes, maps, grad_output,
                           static_cast<B*>(outputs.data[0]));
  } else if constexpr (kOp == Op::kBoxTangent) {
    return RoiAlignBoxTangent(context, params, sizes, boxes, direction, maps,
                              output);
  } else if constexpr (kOp == Op::kBoxTangentGrad) {
    return RoiAlignBoxTangentGrad(context, params, sizes, boxes, direction,
                                  grad_output, grad_maps);
  } else {
    static_assert(kOp == Op::kForwardQuantized, "");
    const float code_scale = *inputs.Get<float>(Input::kScale);
    const int32_t zero_point = *inputs.Get<int32_t>(Input::kZeroPoint);
    TF_ROIALIGN_RETURN_IF_ERROR(
        CheckQuantization(code_scale, zero_point, std::numeric_limits<T>::min(),
                          std::numeric_limits<T>::max()));
    return RoiAlignForwardQuantized(context, params, sizes, boxes, code_scale,
                                    zero_point, maps, output);
  }
}

}  // namespace run_op_internal

// Context: CpuContext, or CudaContext where cuda/roi_align_cuda.h is included.
// T, B: dtypes of features and boxes. `signature`: what CheckShapes said, and
// all that it says is known. A lack of memory becomes an error wherever it is
// met: hosts know no exceptions.
template <Op kOp, typename T, typename B, typename Context>
Status RunOp(const Context& context, const OpParams& params,
             const Signature& signature, const InputData& inputs,
             const OutputData& outputs) {
  try {
    return run_op_internal::Run<kOp, T, B>(context, params, signature, inputs,
                                           outputs);
  } catch (const std::bad_alloc&) {
    return OutOfMemory(params);
  }
}

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_RUN_OP_H_
