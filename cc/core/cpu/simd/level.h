// Which instruction set the CPU kernels use.

#ifndef TF_ROIALIGN_CC_CORE_CPU_SIMD_LEVEL_H_
#define TF_ROIALIGN_CC_CORE_CPU_SIMD_LEVEL_H_

#include <vector>

#include "cc/core/base/visibility.h"

namespace tf_roialign {

enum class SimdLevel { kBaseline, kAvx2, kAvx512 };

TF_ROIALIGN_API const char* SimdLevelName(SimdLevel level);

// Those that this build holds and this processor runs, ascending.
std::vector<SimdLevel> UsableSimdLevels();

// The best usable level, or the one that the environment variable
// TF_ROIALIGN_SIMD names (baseline, avx2, avx512) if it is usable. Decided
// once.
TF_ROIALIGN_API SimdLevel CurrentSimdLevel();

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CPU_SIMD_LEVEL_H_
