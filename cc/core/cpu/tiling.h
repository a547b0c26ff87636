// How the gradient of a map is cut into tiles, each of which has one owner that
// holds it in cache until all boxes are in.

#ifndef TF_ROIALIGN_CC_CORE_CPU_TILING_H_
#define TF_ROIALIGN_CC_CORE_CPU_TILING_H_

#include <algorithm>
#include <cstdint>

#include "cc/core/cpu/simd/kernels.h"
#include "cc/core/call/params.h"
#include "cc/core/base/span.h"

namespace tf_roialign {

class Tiling {
 public:
  Tiling(const Sizes& sizes, int64_t pixel_bytes) : sizes_(sizes) {
    const int64_t pixels = std::max<int64_t>(1, kTileBytes / pixel_bytes);
    int64_t side = 1;
    while (4 * side * side <= pixels) side *= 2;
    width_ = std::min(sizes.width, std::max(side, pixels / sizes.height));
    height_ = std::clamp<int64_t>(pixels / width_, 1, sizes.height);
    across_ = (sizes.width + width_ - 1) / width_;
    down_ = (sizes.height + height_ - 1) / height_;
  }

  // Of the largest tile.
  int64_t pixels() const { return height_ * width_; }

  // Over all images; tiles of a row of tiles stand together.
  int64_t count() const { return sizes_.batch * down_ * across_; }
  int64_t image(int64_t i) const { return i / (down_ * across_); }
  Tile tile(int64_t i) const {
    const int64_t row = i / across_ % down_ * height_;
    const int64_t column = i % across_ * width_;
    return {{row, std::min(row + height_, sizes_.height)},
            {column, std::min(column + width_, sizes_.width)}};
  }

 private:
  static constexpr int64_t kTileBytes = 256 * 1024;

  const Sizes& sizes_;
  int64_t height_;
  int64_t width_;
  int64_t across_;
  int64_t down_;
};

// The entries of `taps` with pixels of `span`.
template <typename W>
Span EntriesWithin(const PixelTapsView<W>& taps, const Span& span) {
  const int64_t* end = taps.pixel + taps.count;
  return {std::lower_bound(taps.pixel, end, span.first) - taps.pixel,
          std::lower_bound(taps.pixel, end, span.last) - taps.pixel};
}

// What a box adds to a tile; may be nothing.
template <typename T>
TilePart<T> MakeTilePart(const BoxPixelTaps<Accumulator<T>>& taps,
                         const T* grad_output, const Tile& tile) {
  TilePart<T> part = {taps,
                      grad_output,
                      EntriesWithin(taps.y, tile.rows),
                      EntriesWithin(taps.x, tile.columns),
                      {taps.pooled_width, 0}};
  for (int64_t t = taps.x.begin[part.columns.first];
       t < taps.x.begin[part.columns.last]; ++t) {
    part.bins.first = std::min(part.bins.first, taps.x.bin[t]);
    part.bins.last = std::max(part.bins.last, taps.x.bin[t] + 1);
  }
  return part;
}

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CPU_TILING_H_
