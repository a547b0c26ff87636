// A call's CPU.

#ifndef TF_ROIALIGN_CC_KERNELS_CPU_DEVICE_H_
#define TF_ROIALIGN_CC_KERNELS_CPU_DEVICE_H_

#include "absl/status/status.h"
#include "cc/core/base/parallel.h"
#include "cc/core/cpu/context.h"
#include "cc/core/cpu/simd/level.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/tensor_shape.h"
#include "tensorflow/core/framework/types.h"

namespace tf_roialign {

// TensorFlow's own thread pool.
class CpuDevice {
 public:
  static const char* Type() { return tensorflow::DEVICE_CPU; }

  // Large outputs get memory that a former one has left (buffer_pool.h), if the
  // device's allocator is the C library's.
  static absl::Status AllocateOutput(tensorflow::OpKernelContext* context,
                                     int index,
                                     const tensorflow::TensorShape& shape,
                                     void** data);

  explicit CpuDevice(tensorflow::OpKernelContext* context);

  CpuContext core() const { return {threads_, CurrentSimdLevel(), count_}; }

 private:
  int count_ = 1;
  ParallelFor threads_;
};

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_KERNELS_CPU_DEVICE_H_
