// Launches kernels (portable.h) on a stream.

#ifndef TF_ROIALIGN_CC_CORE_CUDA_PLATFORM_LAUNCH_H_
#define TF_ROIALIGN_CC_CORE_CUDA_PLATFORM_LAUNCH_H_

#include <cuda_runtime.h>

#include <cstdint>

#include "cc/core/base/status.h"
#include "cc/core/cuda/driver.h"
#include "cc/core/cuda/roi_align_cuda.h"
#include "cc/core/cuda/tuning.h"

namespace tf_roialign {
namespace cuda {

template <typename Kernel>
__global__ void __launch_bounds__(Kernel::kThreads, Kernel::kMinBlocks)
    RunKernel(const __grid_constant__ Kernel kernel) {
  kernel();
}

class CudaDevice {
 public:
  explicit CudaDevice(const CudaContext& context) : context_(context) {}

  void* Allocate(size_t bytes) { return context_.allocate(bytes); }

  template <typename Kernel>
  Status Launch(Kernel kernel, int64_t blocks, int shared_bytes) {
    const int64_t most = block_limits().most;
    for (int64_t first = 0; first < blocks; first += most) {
      kernel.first_unit = first;
      const int64_t count = blocks - first < most ? blocks - first : most;
      RunKernel<<<static_cast<unsigned>(count), Kernel::kThreads, shared_bytes,
                  static_cast<cudaStream_t>(context_.stream)>>>(kernel);
      const cudaError_t error = cudaGetLastError();
      if (error != cudaSuccess) {
        return Status::Internal(CudaErrorText(error));
      }
    }
    return {};
  }

 private:
  const CudaContext& context_;
};

}  // namespace cuda
}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CUDA_PLATFORM_LAUNCH_H_
