// Ranges of pixels, bins or entries.

#ifndef TF_ROIALIGN_CC_CORE_BASE_SPAN_H_
#define TF_ROIALIGN_CC_CORE_BASE_SPAN_H_

#include <cstdint>

namespace tf_roialign {

// first <= i < last.
struct Span {
  int64_t first = 0;
  int64_t last = 0;

  int64_t length() const { return last - first; }
  bool empty() const { return first >= last; }
};

inline bool Overlap(const Span& a, const Span& b) {
  return a.first < b.last && b.first < a.last;
}

// A part of a map.
struct Tile {
  Span rows;
  Span columns;
};

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_BASE_SPAN_H_
