// What a call on CPU runs with.

#ifndef TF_ROIALIGN_CC_CORE_CPU_CONTEXT_H_
#define TF_ROIALIGN_CC_CORE_CPU_CONTEXT_H_

#include <cstdint>

#include "cc/core/base/parallel.h"
#include "cc/core/cpu/simd/level.h"

namespace tf_roialign {

// The threads have to outlive it.
struct CpuContext {
  const ParallelFor& parallel_for;
  SimdLevel level = CurrentSimdLevel();
  // How many threads parallel_for has. No result depends on it.
  int64_t threads = 1;
};

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CPU_CONTEXT_H_
