// Registers the kernels on CPU.

#include "cc/kernels/cpu_device.h"
#include "cc/kernels/roi_align_op.h"

namespace tf_roialign {
namespace {

[[maybe_unused]] const bool registered = RegisterAllOps<CpuDevice>();

}  // namespace
}  // namespace tf_roialign
