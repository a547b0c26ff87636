#include "cc/core/cpu/simd/level.h"

#include <cstdio>
#include <cstdlib>
#include <string>

namespace tf_roialign {
namespace {

#if defined(__x86_64__)
bool HasF16c() {
#if defined(__clang__)
  // Clang 14, which only the fuzzer is made with, has no name for it. What has
  // AVX2 has it.
  return true;
#else
  return __builtin_cpu_supports("f16c");
#endif
}
#endif

}  // namespace

const char* SimdLevelName(SimdLevel level) {
  switch (level) {
    case SimdLevel::kBaseline:
      return "baseline";
    case SimdLevel::kAvx2:
      return "avx2";
    case SimdLevel::kAvx512:
      return "avx512";
  }
  return "unknown";
}

std::vector<SimdLevel> UsableSimdLevels() {
  std::vector<SimdLevel> levels = {SimdLevel::kBaseline};
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
      HasF16c()) {
    levels.push_back(SimdLevel::kAvx2);
    if (__builtin_cpu_supports("avx512f") &&
        __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl")) {
      levels.push_back(SimdLevel::kAvx512);
    }
  }
#endif
  return levels;
}

SimdLevel CurrentSimdLevel() {
  static const SimdLevel level = [] {
    const std::vector<SimdLevel> usable = UsableSimdLevels();
    const char* wanted = std::getenv("TF_ROIALIGN_SIMD");
    if (wanted == nullptr || *wanted == '\0') return usable.back();
    for (SimdLevel level : usable) {
      if (std::string(wanted) == SimdLevelName(level)) return level;
    }
    std::fprintf(stderr,
                 "tf_roialign: TF_ROIALIGN_SIMD is \"%s\", which this "
                 "processor or build does not have; using \"%s\".\n",
                 wanted, SimdLevelName(usable.back()));
    return usable.back();
  }();
  return level;
}

}  // namespace tf_roialign
