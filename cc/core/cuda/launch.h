// Launches kernels (portable.h) on a stream.

#ifndef TF_ROIALIGN_CC_CORE_CUDA_LAUNCH_H_
#define TF_ROIALIGN_CC_CORE_CUDA_LAUNCH_H_

#include <cuda_runtime.h>

#include <cstdint>
#include <string>

#include "cc/core/cuda/roi_align_cuda.h"

namespace tf_roialign {
namespace gpu {

template <typename Kernel>
__global__ void __launch_bounds__(Kernel::kThreads, Kernel::kMinBlocks)
    RunKernel(const Kernel kernel) {
  kernel();
}

class CudaDevice {
 public:
  explicit CudaDevice(const CudaContext& context) : context_(context) {}

  void* Allocate(size_t bytes) { return context_.allocate(bytes); }

  template <typename Kernel>
  std::string Launch(Kernel kernel, int64_t blocks, int shared_bytes) {
    constexpr int64_t kMostBlocks = int64_t(1) << 30;  // 2^31 - 1 for CUDA
    for (int64_t first = 0; first < blocks; first += kMostBlocks) {
      kernel.first_unit = first;
      const int64_t count =
          blocks - first < kMostBlocks ? blocks - first : kMostBlocks;
      RunKernel<<<static_cast<unsigned>(count), Kernel::kThreads, shared_bytes,
                  static_cast<cudaStream_t>(context_.stream)>>>(kernel);
      const cudaError_t error = cudaGetLastError();
      if (error != cudaSuccess) {
        return std::string("CUDA could not launch a RoIAlign kernel: ") +
               cudaGetErrorString(error);
      }
    }
    return "";
  }

 private:
  const CudaContext& context_;
};

}  // namespace gpu
}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CUDA_LAUNCH_H_
