// What Python asks the library about itself.

#include <cstdint>

#include "cc/core/call/level_rule.h"
#include "cc/core/cpu/buffer_pool.h"
#include "cc/core/cpu/simd/level.h"

extern "C" __attribute__((visibility("default"))) const char*
TfRoialignSimdLevel() {
  return tf_roialign::SimdLevelName(tf_roialign::CurrentSimdLevel());
}

// Of the process's BufferPool: bytes in use, waiting, and the limit.
extern "C" __attribute__((visibility("default"))) void TfRoialignKeptMemory(
    int64_t usage[3]) {
  const auto now = tf_roialign::BufferPool::Instance().usage();
  usage[0] = now.in_use;
  usage[1] = now.waiting;
  usage[2] = now.limit;
}

extern "C" __attribute__((visibility("default"))) void
TfRoialignLimitKeptMemory(int64_t limit) {
  tf_roialign::BufferPool::Instance().SetLimit(limit);
}

// A LevelRule, for exporters. `scales`: [maps, 2], (y, x); least_areas and maps
// of kMaxMaps - 1. Returns the lowest map.
extern "C" __attribute__((visibility("default"))) int TfRoialignLevelRule(
    double canonical_scale, int64_t canonical_level, const double* scales,
    int maps, bool boxes_are_double, double* least_areas,
    int32_t* map_of_area) {
  using tf_roialign::kMaxMaps;
  tf_roialign::Scale of_maps[kMaxMaps];
  for (int i = 0; i < maps; ++i) {
    of_maps[i] = {scales[2 * i], scales[2 * i + 1]};
  }
  const tf_roialign::LevelRule rule =
      (boxes_are_double ? tf_roialign::MakeLevelRule<double>
                        : tf_roialign::MakeLevelRule<float>)(canonical_scale,
                                                             canonical_level,
                                                             of_maps, maps);
  for (int i = 0; i < kMaxMaps - 1; ++i) {
    least_areas[i] = rule.least_area[i];
    map_of_area[i] = rule.map[i];
  }
  return rule.lowest_map;
}
