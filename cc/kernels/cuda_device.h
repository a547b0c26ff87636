// A call's GPU. Nothing here waits for the device, and values on it are not
// looked at.

#ifndef TF_ROIALIGN_CC_KERNELS_CUDA_DEVICE_H_
#define TF_ROIALIGN_CC_KERNELS_CUDA_DEVICE_H_

#include <cstddef>
#include <vector>

#include "absl/status/status.h"
#include "cc/core/cuda/roi_align_cuda.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/framework/tensor_shape.h"
#include "tensorflow/core/framework/types.h"

namespace tf_roialign {

// TensorFlow's stream and allocator. Scratch memory may be freed while kernels
// that use it are queued: TensorFlow's allocator gives it to later work on the
// same stream only.
class CudaDevice {
 public:
  static const char* Type() { return tensorflow::DEVICE_GPU; }

  static absl::Status AllocateOutput(tensorflow::OpKernelContext* context,
                                     int index,
                                     const tensorflow::TensorShape& shape,
                                     void** data);

  explicit CudaDevice(tensorflow::OpKernelContext* context)
      : context_(context) {}

  CudaContext core();

 private:
  void* Allocate(size_t bytes);

  tensorflow::OpKernelContext* context_;
  std::vector<tensorflow::Tensor> scratch_;
};

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_KERNELS_CUDA_DEVICE_H_
