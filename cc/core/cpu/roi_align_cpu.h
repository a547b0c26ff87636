// RoIAlign, its two gradients, and RoIAlign of quantized features, on CPU.
//
// T: dtype of features, upstream gradients and outputs (float, double, Half,
// BFloat16). B: dtype of boxes (float, double). Sizes, indices and box rows
// must have been checked (signature.h, ResolveImages).

#ifndef TF_ROIALIGN_CC_CORE_CPU_ROI_ALIGN_CPU_H_
#define TF_ROIALIGN_CC_CORE_CPU_ROI_ALIGN_CPU_H_

#include "cc/core/call/boxes.h"
#include "cc/core/dtypes/float16.h"
#include "cc/core/base/parallel.h"
#include "cc/core/call/params.h"
#include "cc/core/cpu/simd/level.h"

namespace tf_roialign {

struct CpuContext {
  const ParallelFor& parallel_for;
  SimdLevel level = CurrentSimdLevel();
};

// output [K, PH, PW, C] or [K, C, PH, PW]. A box with a coordinate that is not
// finite gets NaN.
template <typename T, typename B>
void RoiAlignForward(const CpuContext& context, const Params& params,
                     const Sizes& sizes, const BoxTable<B>& boxes,
                     const T* features, T* output);

// On codes (T: int8_t, uint8_t, int32_t) of real values
// scale * (code - zero_point), to codes of the same scale and zero point. The
// rule is that of quantization.h: value / scale is rounded half to even, then
// the zero point is added, then the code is saturated. A box with a coordinate
// that is not finite gets the zero point.
template <typename T, typename B>
void RoiAlignForwardQuantized(const CpuContext& context, const Params& params,
                              const Sizes& sizes, const BoxTable<B>& boxes,
                              float scale, int32_t zero_point,
                              const T* features, T* output);

// grad_features: like the features; every element is written. Each has one
// owner, which adds the boxes in an order that depends on them alone: the
// result does not depend on the number of threads.
template <typename T, typename B>
void RoiAlignFeatureGrad(const CpuContext& context, const Params& params,
                         const Sizes& sizes, const BoxTable<B>& boxes,
                         const T* grad_output, T* grad_features);

// grad_boxes: rows of `boxes.stride`; an image index gets 0, a box that is not
// finite NaN.
template <typename T, typename B>
void RoiAlignBoxGrad(const CpuContext& context, const Params& params,
                     const Sizes& sizes, const BoxTable<B>& boxes,
                     const T* features, const T* grad_output, B* grad_boxes);

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CPU_ROI_ALIGN_CPU_H_
