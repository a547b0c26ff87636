// From the inputs of an op to the core's call, for every host and device.

#ifndef TF_ROIALIGN_CC_CORE_RUN_OP_H_
#define TF_ROIALIGN_CC_CORE_RUN_OP_H_

#include <cstdint>
#include <limits>

#include "cc/core/base/status.h"
#include "cc/core/call/attributes.h"
#include "cc/core/call/boxes.h"
#include "cc/core/call/feature_maps.h"
#include "cc/core/call/op.h"
#include "cc/core/call/params.h"
#include "cc/core/call/signature.h"
#include "cc/core/cpu/box_tangent.h"
#include "cc/core/cpu/roi_align_cpu.h"

namespace tf_roialign {

// The data of an op's inputs, each in the place of its name, in the memory of
// the device that the op runs on.
class InputData {
 public:
  void Set(Input input, const void* data) {
    data_[static_cast<int>(input)] = data;
  }
  template <typename Element>
  const Element* Get(Input input) const {
    return static_cast<const Element*>(data_[static_cast<int>(input)]);
  }

  bool indices_are_64_bit = false;

 private:
  const void* data_[kInputs] = {};
};

// Context: CpuContext, or CudaContext where cuda/roi_align_cuda.h is included.
// T, B: dtypes of features and boxes. `signature`: what CheckShapes said, and
// all that it says is known.
template <Op kOp, typename T, typename B, typename Context>
Status RunOp(const Context& context, const OpParams& params,
             const Signature& signature, const InputData& inputs,
             void* output) {
  const Sizes& sizes = signature.sizes;
  const Scale& scale = params.spatial_scale;
  Boxes<B> boxes = {signature.form, inputs.Get<B>(Input::kBoxes),
                    signature.columns, sizes.boxes};
  if (boxes.form == BoxForm::kSeparate) {
    boxes.box_indices = inputs.Get<void>(Input::kBoxIndices);
    boxes.indices_are_64_bit = inputs.indices_are_64_bit;
  }
  const FeatureMap<const T> features = {inputs.Get<T>(Input::kFeatures),
                                        signature.height, signature.width,
                                        scale.y, scale.x};
  const FeatureMaps<const T> maps(features);
  const FeatureMap<T> grad_features = {static_cast<T*>(output),
                                       signature.height, signature.width,
                                       scale.y, scale.x};
  const FeatureMaps<T> grad_maps(grad_features);
  [[maybe_unused]] const T* grad_output = inputs.Get<T>(Input::kGradOutput);
  [[maybe_unused]] const B* direction = inputs.Get<B>(Input::kDirection);

  if constexpr (kOp == Op::kForward) {
    return RoiAlignForward(context, params, sizes, boxes, maps,
                           static_cast<T*>(output));
  } else if constexpr (kOp == Op::kFeatureGrad) {
    return RoiAlignFeatureGrad(context, params, sizes, boxes, grad_output,
                               grad_maps);
  } else if constexpr (kOp == Op::kBoxGrad) {
    return RoiAlignBoxGrad(context, params, sizes, boxes, maps, grad_output,
                           static_cast<B*>(output));
  } else if constexpr (kOp == Op::kBoxTangent) {
    return RoiAlignBoxTangent(context, params, sizes, boxes, direction, maps,
                              static_cast<T*>(output));
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
                                    zero_point, maps, static_cast<T*>(output));
  }
}

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_RUN_OP_H_
