// Boxes one after the other, each with what the next one will read.

#ifndef TF_ROIALIGN_CC_CORE_CPU_LOOK_AHEAD_H_
#define TF_ROIALIGN_CC_CORE_CPU_LOOK_AHEAD_H_

#include <algorithm>
#include <cstdint>

#include "cc/core/call/feature_maps.h"
#include "cc/core/call/params.h"
#include "cc/core/cpu/box_schedule.h"
#include "cc/core/cpu/simd/ahead.h"
#include "cc/core/cpu/tuning.h"

namespace tf_roialign {

// The first rows of a box's window, as far as they are worth fetching. `image`:
// its pixel (0, 0), channels last. `next`: may be null.
template <typename Pixel>
MemoryAhead WindowAhead(const Pixel* image, int64_t row_stride,
                        int64_t channels, const BoxSchedule::Entry* next) {
  if (next == nullptr || !next->finite || !next->touches_map() ||
      next->is_swept) {
    return {};
  }
  constexpr int64_t kSize = sizeof(Pixel);
  const int64_t bytes = next->columns.length() * channels * kSize;
  return {
      image + next->rows.begin * row_stride + next->columns.begin * channels,
      std::min(next->rows.length(), kAheadBytes / std::max<int64_t>(bytes, 1)),
      bytes, row_stride * kSize};
}

// The same in features [N, H, W, C].
template <typename T>
MemoryAhead WindowAhead(const FeatureMaps<const T>& maps, int64_t channels,
                        const BoxSchedule::Entry* next) {
  if (next == nullptr || !next->finite) return {};  // it may have no map
  const FeatureMap<const T>& map = maps[next->map];
  return WindowAhead(map.data + next->image * map.pixels() * channels,
                     map.width * channels, channels, next);
}

// Calls run(entry, next) for the entries; `next` is null for the last one.
template <typename Range, typename Run>
void ForEachWithNext(const Range& range, const Run& run) {
  const BoxSchedule::Entry* waiting = nullptr;
  for (const BoxSchedule::Entry& entry : range) {
    if (waiting != nullptr) run(*waiting, &entry);
    waiting = &entry;
  }
  if (waiting != nullptr) run(*waiting, nullptr);
}

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CPU_LOOK_AHEAD_H_
