// RoIAlign, its gradients and derivatives, and RoIAlign of quantized features
// on NVIDIA GPUs: the functions of cpu/roi_align_cpu.h and cpu/box_tangent.h,
// for a CudaContext.
//
// T: dtype of features, upstream gradients and outputs (TF_ROIALIGN_FOR_EACH_
// FLOAT). B: dtype of boxes. Shapes have to have been checked (CheckShapes);
// values cannot be, for they are on the device. All pointers are to device
// memory, aligned to their elements.
//
// Of quantized features T is one of TF_ROIALIGN_FOR_EACH_CODE.
//
// Each function queues kernels on the stream and says what went wrong. None
// waits for the device, and none aborts. A box has no meaning if its image
// index is not in [0, batch), its map index not one of the maps, its map has no
// pixels, or a coordinate is not finite: it gets NaN and is otherwise left out.
// Results are the same bits in every run: nothing is added atomically.
//
// No CUDA header is needed to include this one.

#ifndef TF_ROIALIGN_CC_CORE_CUDA_ROI_ALIGN_CUDA_H_
#define TF_ROIALIGN_CC_CORE_CUDA_ROI_ALIGN_CUDA_H_

#include <cstddef>
#include <cstdint>
#include <functional>

#include "cc/core/base/status.h"
#include "cc/core/base/visibility.h"
#include "cc/core/call/boxes.h"
#include "cc/core/call/feature_maps.h"
#include "cc/core/call/params.h"
#include "cc/core/dtypes/dtypes.h"

namespace tf_roialign {

// Where a call runs.
struct CudaContext {
  void* stream;  // a CUstream
  // Device memory, aligned to 16 bytes, that lives until the work queued on
  // `stream` so far and by this call is done. Null: there is none.
  std::function<void*(size_t bytes)> allocate;
};

// output [K, PH, PW, C] or [K, C, PH, PW]. A box without meaning gets NaN.
template <typename T, typename B>
TF_ROIALIGN_API Status RoiAlignForward(const CudaContext& context,
                                       const Params& params, const Sizes& sizes,
                                       const Boxes<B>& boxes,
                                       const FeatureMaps<const T>& features,
                                       T* output);

// Every element of the gradient is written once. A box without meaning adds
// nothing.
template <typename T, typename B>
TF_ROIALIGN_API Status RoiAlignFeatureGrad(const CudaContext& context,
                                           const Params& params,
                                           const Sizes& sizes,
                                           const Boxes<B>& boxes,
                                           const T* grad_output,
                                           const FeatureMaps<T>& grad_features);

// The same for mode "max", whose largest samples the features tell.
template <typename T, typename B>
TF_ROIALIGN_API Status RoiAlignMaxFeatureGrad(
    const CudaContext& context, const Params& params, const Sizes& sizes,
    const Boxes<B>& boxes, const FeatureMaps<const T>& features,
    const T* grad_output, const FeatureMaps<T>& grad_features);

// grad_boxes: rows like those of the boxes; an image index gets 0, a box
// without meaning NaN.
template <typename T, typename B>
TF_ROIALIGN_API Status RoiAlignBoxGrad(const CudaContext& context,
                                       const Params& params, const Sizes& sizes,
                                       const Boxes<B>& boxes,
                                       const FeatureMaps<const T>& features,
                                       const T* grad_output, B* grad_boxes);

// `direction`: rows like those of the boxes; a column of image indices is not
// read. A box without meaning gets NaN.
template <typename T, typename B>
TF_ROIALIGN_API Status RoiAlignBoxTangent(
    const CudaContext& context, const Params& params, const Sizes& sizes,
    const Boxes<B>& boxes, const B* direction,
    const FeatureMaps<const T>& features, T* output);

// grad_features: as RoiAlignFeatureGrad's.
template <typename T, typename B>
TF_ROIALIGN_API Status RoiAlignBoxTangentGrad(
    const CudaContext& context, const Params& params, const Sizes& sizes,
    const Boxes<B>& boxes, const B* direction, const T* grad_output,
    const FeatureMaps<T>& grad_features);

// A box without meaning gets the zero point.
template <typename T, typename B>
TF_ROIALIGN_API Status RoiAlignForwardQuantized(
    const CudaContext& context, const Params& params, const Sizes& sizes,
    const Boxes<B>& boxes, float scale, int32_t zero_point,
    const FeatureMaps<const T>& features, T* output);

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CUDA_ROI_ALIGN_CUDA_H_
