// RoIAlign and its two gradients on NVIDIA GPUs.
//
// T: dtype of features, upstream gradients and outputs (float, double, Half,
// BFloat16). B: dtype of boxes (float, double). Shapes must have been checked
// (signature.h); values cannot be, for they are on the device. All pointers are
// to device memory, aligned to their elements.
//
// Each function queues kernels on the stream and returns an empty string, or
// what went wrong. None waits for the device, and none aborts. A box that has
// no meaning (an image index that is not in [0, batch), or a coordinate that is
// not finite) gets NaN and is otherwise left out. Results are the same bits in
// every run: nothing is added atomically.
//
// No CUDA header is needed to include this one.

#ifndef TF_ROIALIGN_CC_CORE_CUDA_ROI_ALIGN_CUDA_H_
#define TF_ROIALIGN_CC_CORE_CUDA_ROI_ALIGN_CUDA_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

#include "cc/core/call/boxes.h"
#include "cc/core/call/params.h"
#include "cc/core/dtypes/float16.h"

namespace tf_roialign {

// Whether that is what one of the functions below says is wrong.
inline bool IsLackOfGpuMemory(const std::string& problem) {
  return problem.find("not enough GPU memory") != std::string::npos;
}

// Where a call runs.
struct CudaContext {
  void* stream;  // a CUstream
  // Device memory, aligned to 16 bytes, that lives until the work queued on
  // `stream` so far and by this call is done. Null: there is none.
  std::function<void*(size_t bytes)> allocate;
};

// Boxes on the device.
template <typename B>
struct CudaBoxes {
  BoxForm form;
  const B* rows;
  int64_t stride;
  int64_t count;
  const void* box_indices;  // null unless form is kSeparate
  bool indices_are_64_bit;
};

// output [K, PH, PW, C] or [K, C, PH, PW]. A box without meaning gets NaN.
template <typename T, typename B>
std::string RoiAlignForwardCuda(const CudaContext& context,
                                const Params& params, const Sizes& sizes,
                                const CudaBoxes<B>& boxes, const T* features,
                                T* output);

// grad_features: like the features; every element is written once. A box
// without meaning adds nothing.
template <typename T, typename B>
std::string RoiAlignFeatureGradCuda(const CudaContext& context,
                                    const Params& params, const Sizes& sizes,
                                    const CudaBoxes<B>& boxes,
                                    const T* grad_output, T* grad_features);

// grad_boxes: rows of `boxes.stride`; an image index gets 0, a box without
// meaning NaN.
template <typename T, typename B>
std::string RoiAlignBoxGradCuda(const CudaContext& context,
                                const Params& params, const Sizes& sizes,
                                const CudaBoxes<B>& boxes, const T* features,
                                const T* grad_output, B* grad_boxes);

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CUDA_ROI_ALIGN_CUDA_H_
