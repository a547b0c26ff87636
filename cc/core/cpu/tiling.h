// How the gradient of maps is cut into tiles, each of which has one owner that
// holds it in cache until all boxes are in.

#ifndef TF_ROIALIGN_CC_CORE_CPU_TILING_H_
#define TF_ROIALIGN_CC_CORE_CPU_TILING_H_

#include <algorithm>
#include <cstdint>
#include <vector>

#include "cc/core/base/span.h"
#include "cc/core/call/feature_maps.h"
#include "cc/core/cpu/simd/kernels.h"
#include "cc/core/cpu/tuning.h"

namespace tf_roialign {

// One map, of which there is one for each image.
class MapTiling {
 public:
  // `pixels`: of a tile, at most.
  MapTiling(int64_t height, int64_t width, int64_t pixels)
      : height_(height), width_(width) {
    if (height == 0 || width == 0) return;
    int64_t side = 1;
    while (4 * side * side <= pixels) side *= 2;
    tile_width_ = std::min(width, std::max(side, pixels / height));
    tile_height_ = std::clamp<int64_t>(pixels / tile_width_, 1, height);
    across_ = (width + tile_width_ - 1) / tile_width_;
    down_ = (height + tile_height_ - 1) / tile_height_;
  }

  // Of the largest tile.
  int64_t pixels() const { return tile_height_ * tile_width_; }

  // Of an image. Tiles of a row of tiles stand together.
  int64_t count() const { return down_ * across_; }
  Tile tile(int64_t i) const {
    const int64_t row = i / across_ % down_ * tile_height_;
    const int64_t column = i % across_ * tile_width_;
    return {{row, std::min(row + tile_height_, height_)},
            {column, std::min(column + tile_width_, width_)}};
  }

 private:
  int64_t height_;
  int64_t width_;
  int64_t tile_height_ = 0;
  int64_t tile_width_ = 0;
  int64_t across_ = 0;
  int64_t down_ = 0;
};

// All maps and images.
class Tiling {
 public:
  struct Unit {
    int map;
    int64_t image;
    Tile tile;
  };

  // As large as is good for one thread, or smaller for there to be enough.
  template <typename T>
  Tiling(int64_t batch, const FeatureMaps<T>& maps, int64_t pixel_bytes,
         int64_t threads) {
    int64_t bytes = kTileBytes;
    Cut(batch, maps, bytes / pixel_bytes);
    while (threads > 1 && bytes > kLeastTileBytes &&
           count() < kUnitsPerThread * threads) {
      bytes /= 2;
      Cut(batch, maps, bytes / pixel_bytes);
    }
  }

  int64_t count() const { return begin_.back(); }
  // Of the largest tile.
  int64_t pixels() const { return pixels_; }

  Unit unit(int64_t i) const {
    int map = 0;
    while (i >= begin_[map + 1]) ++map;
    i -= begin_[map];
    return {map, i / maps_[map].count(), maps_[map].tile(i)};
  }

 private:
  template <typename T>
  void Cut(int64_t batch, const FeatureMaps<T>& maps, int64_t pixels) {
    maps_.clear();
    begin_.assign(1, 0);
    pixels_ = 0;
    for (const FeatureMap<T>& map : maps) {
      maps_.emplace_back(map.height, map.width, std::max<int64_t>(1, pixels));
      begin_.push_back(begin_.back() + batch * maps_.back().count());
      pixels_ = std::max(pixels_, maps_.back().pixels());
    }
  }

  std::vector<MapTiling> maps_;
  std::vector<int64_t> begin_;
  int64_t pixels_ = 0;
};

// The entries of `taps` with pixels of `span`.
template <typename W>
Span EntriesWithin(const PixelTapsView<W>& taps, const Span& span) {
  const int64_t* end = taps.pixel + taps.count;
  return {std::lower_bound(taps.pixel, end, span.begin) - taps.pixel,
          std::lower_bound(taps.pixel, end, span.end) - taps.pixel};
}

// The bins that touch pixels, entries of `taps`.
template <typename W>
Span BinsWithin(const PixelTapsView<W>& taps, const Span& entries) {
  if (entries.empty()) return {};
  const int64_t* begin = taps.bin + taps.begin[entries.begin];
  const int64_t* end = taps.bin + taps.begin[entries.end];
  return {*std::min_element(begin, end), *std::max_element(begin, end) + 1};
}

// What a box adds to a tile; may be nothing.
template <typename T>
TilePart<T> MakeTilePart(const BoxPixelTaps<Accumulator<T>>& taps,
                         const T* grad_output, const Tile& tile) {
  const Span columns = EntriesWithin(taps.x, tile.columns);
  return {taps, grad_output, EntriesWithin(taps.y, tile.rows), columns,
          BinsWithin(taps.x, columns)};
}

// All that it reads of the upstream. Not of an empty one.
template <typename T>
MemoryAhead UpstreamOf(const TilePart<T>& part, int64_t channels) {
  const Span rows = BinsWithin(part.taps.y, part.rows);
  const int64_t row = part.taps.pooled_width * channels;
  constexpr int64_t kSize = sizeof(T);
  return {part.grad_output + rows.begin * row + part.bins.begin * channels,
          rows.length(), part.bins.length() * channels * kSize, row * kSize};
}

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CPU_TILING_H_
