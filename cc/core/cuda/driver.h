// What the machine's NVIDIA driver and GPUs say to the kernels, in words.

#ifndef TF_ROIALIGN_CC_CORE_CUDA_DRIVER_H_
#define TF_ROIALIGN_CC_CORE_CUDA_DRIVER_H_

#include <string>

#include "cc/core/base/visibility.h"

namespace tf_roialign {

// Why the kernels cannot run on some GPU of this machine, or at all; empty if
// they can. Starts nothing on a GPU.
TF_ROIALIGN_API std::string CudaProblem();

// For the error (a cudaError_t) of a launch on the GPU in use.
std::string CudaErrorText(int error);

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CUDA_DRIVER_H_
