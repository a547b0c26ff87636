// Which instruction set the CPU kernels use.

#ifndef TF_ROIALIGN_CC_CORE_CPU_SIMD_LEVEL_H_
#define TF_ROIALIGN_CC_CORE_CPU_SIMD_LEVEL_H_

#include <vector>

namespace tf_roialign {

enum class SimdLevel { kBaseline, kAvx2, kAvx512 };

const char* SimdLevelName(SimdLevel level);

// Those that this build holds and this processor runs, ascending.
std::vector<SimdLevel> UsableSimdLevels();

// The best usable level, or the one that the environment variable
// TF_ROIALIGN_SIMD names (baseline, avx2, avx512) if it is usable. Decided
// once.
SimdLevel CurrentSimdLevel();

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CPU_SIMD_LEVEL_H_
