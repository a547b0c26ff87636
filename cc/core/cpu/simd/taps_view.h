// The taps of one axis of one box, as plain arrays. Taps of bin p are
// [begin[p], begin[p + 1]), by ascending pixel.

#ifndef TF_ROIALIGN_CC_CORE_CPU_SIMD_TAPS_VIEW_H_
#define TF_ROIALIGN_CC_CORE_CPU_SIMD_TAPS_VIEW_H_

#include <cstdint>

namespace tf_roialign {

template <typename W>
struct TapsView {
  const int64_t* begin;
  const int64_t* pixel;
  const W* weight;
  // d(weight) / d(c1), d(weight) / d(c2) of the box; null unless asked for.
  const W* slope1;
  const W* slope2;
};

// The same taps the other way round: for each pixel that is touched, ascending,
// the bins that touch it are [begin[i], begin[i + 1]).
template <typename W>
struct PixelTapsView {
  int64_t count;
  const int64_t* pixel;
  const int64_t* begin;
  const int64_t* bin;
  const W* weight;
};

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CPU_SIMD_TAPS_VIEW_H_
