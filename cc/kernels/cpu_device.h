// A call's CPU.

#ifndef TF_ROIALIGN_CC_KERNELS_CPU_DEVICE_H_
#define TF_ROIALIGN_CC_KERNELS_CPU_DEVICE_H_

#include "cc/core/base/parallel.h"
#include "cc/core/cpu/context.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/framework/types.h"

namespace tf_roialign {

// TensorFlow's own thread pool.
class CpuDevice {
 public:
  static const char* Type() { return tensorflow::DEVICE_CPU; }

  static void Prepare(const tensorflow::Tensor& output);

  explicit CpuDevice(tensorflow::OpKernelContext* context);

  CpuContext core() const { return {threads_}; }

 private:
  ParallelFor threads_;
};

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_KERNELS_CPU_DEVICE_H_
