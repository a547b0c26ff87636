// Addresses in a part of a map that has memory of its own.

#ifndef TF_ROIALIGN_CC_CORE_CPU_WINDOW_H_
#define TF_ROIALIGN_CC_CORE_CPU_WINDOW_H_

#include <cstdint>

#include "cc/core/base/span.h"

namespace tf_roialign {

// Where the map's pixel (0, 0) would be, were there more than the part: rows
// are `row_stride` elements apart, pixels `channels`. As an integer, since the
// address may lie outside the buffer.
template <typename W>
W* OriginOfMap(W* part, const Tile& tile, int64_t row_stride,
               int64_t channels) {
  const int64_t offset =
      tile.rows.begin * row_stride + tile.columns.begin * channels;
  return reinterpret_cast<W*>(reinterpret_cast<uintptr_t>(part) -
                              offset * sizeof(W));
}

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CPU_WINDOW_H_
