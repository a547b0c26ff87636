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

// A part of a map.
struct Tile {
  Span rows;
  Span columns;
};

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_BASE_SPAN_H_
