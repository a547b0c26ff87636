// Ranges of pixels, bins, samples or entries.

#ifndef TF_ROIALIGN_CC_CORE_BASE_SPAN_H_
#define TF_ROIALIGN_CC_CORE_BASE_SPAN_H_

#include <cstdint>

#include "cc/core/base/host_device.h"

namespace tf_roialign {

// begin <= i < end.
struct Span {
  int64_t begin = 0;
  int64_t end = 0;

  TF_ROIALIGN_HOST_DEVICE int64_t length() const { return end - begin; }
  TF_ROIALIGN_HOST_DEVICE bool empty() const { return begin >= end; }
};

TF_ROIALIGN_HOST_DEVICE inline bool Overlap(const Span& a, const Span& b) {
  return a.begin < b.end && b.begin < a.end;
}

// Part i of `parts` of about the same length, without a product that may
// overflow.
inline Span PartOf(int64_t length, int64_t parts, int64_t i) {
  const int64_t each = length / parts, longer = length % parts;
  return {each * i + (i < longer ? i : longer),
          each * (i + 1) + (i + 1 < longer ? i + 1 : longer)};
}

// A part of a map.
struct Tile {
  Span rows;
  Span columns;
};

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_BASE_SPAN_H_
