// Registers the kernels on GPUs.

#include "cc/kernels/cuda_device.h"
#include "cc/kernels/roi_align_op.h"

namespace tf_roialign {
namespace {

[[maybe_unused]] const bool registered = RegisterAllOps<CudaDevice>();

}  // namespace
}  // namespace tf_roialign
