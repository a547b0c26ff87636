// RoIAlign, its two gradients, and RoIAlign of quantized features, on CPU.
//
// T: dtype of features, upstream gradients and outputs (TF_ROIALIGN_FOR_EACH_
// FLOAT). B: dtype of boxes. Shapes have to have been checked (CheckShapes);
// image indices are looked at here. Each function returns when it is done, and
// says what is wrong: an image index that is not in [0, batch), or too little
// memory. A box has no meaning if a coordinate is not finite.

#ifndef TF_ROIALIGN_CC_CORE_CPU_ROI_ALIGN_CPU_H_
#define TF_ROIALIGN_CC_CORE_CPU_ROI_ALIGN_CPU_H_

#include <cstdint>

#include "cc/core/base/status.h"
#include "cc/core/base/visibility.h"
#include "cc/core/call/boxes.h"
#include "cc/core/call/feature_maps.h"
#include "cc/core/call/params.h"
#include "cc/core/cpu/context.h"
#include "cc/core/dtypes/dtypes.h"

namespace tf_roialign {

// output [K, PH, PW, C] or [K, C, PH, PW]. A box without meaning gets NaN.
template <typename T, typename B>
TF_ROIALIGN_API Status RoiAlignForward(const CpuContext& context,
                                       const Params& params, const Sizes& sizes,
                                       const Boxes<B>& boxes,
                                       const FeatureMaps<const T>& features,
                                       T* output);

// On codes T (TF_ROIALIGN_FOR_EACH_CODE) of real values
// scale * (code - zero_point), to codes of the same scale and zero point, by
// the rule of quantization.h. A box without meaning gets the zero point.
template <typename T, typename B>
TF_ROIALIGN_API Status RoiAlignForwardQuantized(
    const CpuContext& context, const Params& params, const Sizes& sizes,
    const Boxes<B>& boxes, float scale, int32_t zero_point,
    const FeatureMaps<const T>& features, T* output);

// Every element of the gradient is written. Each has one owner, which adds the
// boxes in an order that depends on them alone: the result does not depend on
// the number of threads. A box without meaning adds nothing.
template <typename T, typename B>
TF_ROIALIGN_API Status RoiAlignFeatureGrad(const CpuContext& context,
                                           const Params& params,
                                           const Sizes& sizes,
                                           const Boxes<B>& boxes,
                                           const T* grad_output,
                                           const FeatureMaps<T>& grad_features);

// The same for mode "max", whose largest samples the features tell.
template <typename T, typename B>
TF_ROIALIGN_API Status RoiAlignMaxFeatureGrad(
    const CpuContext& context, const Params& params, const Sizes& sizes,
    const Boxes<B>& boxes, const FeatureMaps<const T>& features,
    const T* grad_output, const FeatureMaps<T>& grad_features);

// grad_boxes: rows like those of the boxes; an image index gets 0, a box
// without meaning NaN.
template <typename T, typename B>
TF_ROIALIGN_API Status RoiAlignBoxGrad(const CpuContext& context,
                                       const Params& params, const Sizes& sizes,
                                       const Boxes<B>& boxes,
                                       const FeatureMaps<const T>& features,
                                       const T* grad_output, B* grad_boxes);

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CPU_ROI_ALIGN_CPU_H_
