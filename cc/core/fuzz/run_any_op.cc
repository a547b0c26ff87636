#include "cc/core/fuzz/run_any_op.h"

#include "cc/core/dtypes/quantization.h"

namespace tf_roialign {

Status RunAnyOp(const CpuContext& context, const AnyCall& call,
                const Signature& signature, const InputData& inputs,
                const OutputData& outputs) {
  return WithDtype(call.dtype, [&](auto of_features) -> Status {
    using T = decltype(of_features);
#define TF_ROIALIGN_RUN(op)                                                \
  case Op::op:                                                             \
    return call.box_dtype == Dtype::k_double                               \
               ? RunOp<Op::op, T, double>(context, call.params, signature, \
                                          inputs, outputs)                 \
               : RunOp<Op::op, T, float>(context, call.params, signature,  \
                                         inputs, outputs);
    if constexpr (std::is_same_v<T, int64_t>) {
      return Status::Internal("there are no such features");
    } else if constexpr (kIsCode<T>) {
      switch (call.info.op) {
        TF_ROIALIGN_FOR_EACH_CODE_OP(TF_ROIALIGN_RUN)
        default:
          return Status::Internal("there is no such op on codes");
      }
    } else {
      switch (call.info.op) {
        TF_ROIALIGN_FOR_EACH_FLOAT_OP(TF_ROIALIGN_RUN)
        default:
          return Status::Internal("there is no such op on numbers");
      }
    }
#undef TF_ROIALIGN_RUN
  });
}

}  // namespace tf_roialign
