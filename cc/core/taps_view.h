// The taps of one axis of one box, as plain arrays. Taps of bin p are
// [begin[p], begin[p + 1]), by ascending pixel.

#ifndef TF_ROIALIGN_CC_CORE_TAPS_VIEW_H_
#define TF_ROIALIGN_CC_CORE_TAPS_VIEW_H_

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

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_TAPS_VIEW_H_
