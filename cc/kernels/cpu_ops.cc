// Registers the kernels on CPU.

#include "cc/core/call/op.h"
#include "cc/core/dtypes/dtypes.h"
#include "cc/kernels/cpu_device.h"
#include "cc/kernels/roi_align_op.h"

namespace tf_roialign {
namespace {

template <typename T, typename TensorflowT>
bool RegisterFloat() {
#define TF_ROIALIGN_REGISTER(op) \
  RegisterRoiAlignOps<CpuDevice, Op::op, T, TensorflowT>();
  TF_ROIALIGN_FOR_EACH_FLOAT_OP(TF_ROIALIGN_REGISTER)
#undef TF_ROIALIGN_REGISTER
  return true;
}

template <typename T, typename TensorflowT>
bool RegisterCode() {
  return RegisterRoiAlignOps<CpuDevice, Op::kForwardQuantized, T,
                             TensorflowT>();
}

[[maybe_unused]] const bool registered[] = {
#define TF_ROIALIGN_REGISTER(T, Tensorflow, Xla) RegisterFloat<T, Tensorflow>(),
    TF_ROIALIGN_FOR_EACH_FLOAT(TF_ROIALIGN_REGISTER)
#undef TF_ROIALIGN_REGISTER
#define TF_ROIALIGN_REGISTER(T, Code, Quantized) \
  RegisterCode<T, Code>(), RegisterCode<T, Quantized>(),
        TF_ROIALIGN_FOR_EACH_CODE(TF_ROIALIGN_REGISTER)
#undef TF_ROIALIGN_REGISTER
};

}  // namespace
}  // namespace tf_roialign
