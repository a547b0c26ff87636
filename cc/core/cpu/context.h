// What a call on CPU runs with.

#ifndef TF_ROIALIGN_CC_CORE_CPU_CONTEXT_H_
#define TF_ROIALIGN_CC_CORE_CPU_CONTEXT_H_

#include "cc/core/base/parallel.h"
#include "cc/core/cpu/simd/level.h"

namespace tf_roialign {

// The threads have to outlive it.
struct CpuContext {
  const ParallelFor& parallel_for;
  SimdLevel level = CurrentSimdLevel();
};

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CPU_CONTEXT_H_
