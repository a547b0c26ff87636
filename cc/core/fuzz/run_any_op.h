// RunOp, whatever the op and the dtypes.

#ifndef TF_ROIALIGN_CC_CORE_FUZZ_RUN_ANY_OP_H_
#define TF_ROIALIGN_CC_CORE_FUZZ_RUN_ANY_OP_H_

#include "cc/core/fuzz/any_call.h"
#include "cc/core/run_op.h"

namespace tf_roialign {

Status RunAnyOp(const CpuContext& context, const AnyCall& call,
                const Signature& signature, const InputData& inputs,
                const OutputData& outputs);

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_FUZZ_RUN_ANY_OP_H_
