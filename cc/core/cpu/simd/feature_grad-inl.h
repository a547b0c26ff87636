// The gradient to the features, box by box, into a tile of the map.

#ifndef TF_ROIALIGN_CC_CORE_CPU_SIMD_FEATURE_GRAD_INL_H_
#define TF_ROIALIGN_CC_CORE_CPU_SIMD_FEATURE_GRAD_INL_H_

#include <cstdint>

#include "cc/core/cpu/simd/blocks-inl.h"
#include "cc/core/cpu/simd/fetcher-inl.h"
#include "cc/core/cpu/simd/kernels.h"
#include "cc/core/cpu/simd/taps_view.h"
#include "cc/core/cpu/simd/vectors-inl.h"

namespace tf_roialign {
namespace TF_ROIALIGN_LEVEL {
namespace {

// Bins to prefetch: `rows` rows of `columns` bins.
template <typename T>
struct BinsAhead {
  const T* first = nullptr;
  int64_t rows = 0;
  int64_t columns = 0;
};

// What the next row of a map needs of the upstream and this one did not; after
// the last row, what the next box's first row needs.
template <typename T>
TF_ROIALIGN_INLINE BinsAhead<T> NextBins(const TilePart<T>& part, int64_t i,
                                         const TilePart<T>* next,
                                         int64_t channels) {
  const TilePart<T>* of = &part;
  int64_t seen = -1;
  if (i + 1 < part.rows.end) {
    seen = part.taps.y.bin[part.taps.y.begin[i + 1] - 1];
    ++i;
  } else if (next != nullptr) {
    of = next;
    i = next->rows.begin;
  } else {
    return {};
  }
  const auto& y = of->taps.y;
  int64_t first = y.begin[i];
  const int64_t last = y.begin[i + 1];
  while (first < last && y.bin[first] <= seen) ++first;
  if (first == last) return {};
  return {
      of->grad_output +
          (y.bin[first] * of->taps.pooled_width + of->bins.begin) * channels,
      last - first, Length(of->bins)};
}

// Two passes, row by row: first the rows of bins that touch a row of the map
// are summed to one, then each of the row's pixels takes its share of it. A
// pixel is loaded and stored once, however many bins touch it.
template <typename T>
void FeatureGrad(const TilePart<T>& part, const TilePart<T>* next,
                 int64_t channels, int64_t row_stride, Accumulator<T>* map,
                 Accumulator<T>* scratch) {
  using W = Accumulator<T>;
  const PixelTapsView<W>& y = part.taps.y;
  const PixelTapsView<W>& x = part.taps.x;
  const int64_t bin_row = part.taps.pooled_width * channels;
  const int64_t blocks = (channels + kWidestBlock<T> - 1) / kWidestBlock<T>;
  Fetcher ahead_of_box(part.ahead,
                       blocks * Length(part.rows) * Length(part.columns));
  ForEachBlock<T>(channels, [&](auto block, int64_t c) {
    using B = decltype(block);
    using V = typename B::V;
    constexpr int kBlock = B::lanes * B::vectors;
    static_assert(kBlock <= kMaxBlockChannels, "");
    for (int64_t i = part.rows.begin; i < part.rows.end; ++i) {
      for (int64_t q = part.bins.begin; q < part.bins.end; ++q) {
        const T* bin = part.grad_output + q * channels + c;
        W* summed = scratch + q * kBlock;
        V sums[B::vectors] = {};
        for (int64_t t = y.begin[i]; t < y.begin[i + 1]; ++t) {
          const T* from = bin + y.bin[t] * bin_row;
          AddBlock<B>(y.weight[t], from, sums);
        }
        StoreBlock<B, false>(sums, summed);
      }
      BinsAhead<T> ahead = NextBins(part, i, next, channels);
      int64_t column = 0;
      W* row = map + y.pixel[i] * row_stride + c;
      for (int64_t j = part.columns.begin; j < part.columns.end; ++j) {
        if (ahead.rows > 0) {
          Prefetch<B>(ahead.first + column * channels + c);
          if (++column == ahead.columns) {
            column = 0;
            --ahead.rows;
            ahead.first += bin_row;
          }
        }
        ahead_of_box.FetchPart();
        W* pixel = row + x.pixel[j] * channels;
        V sums[B::vectors];
        LoadBlock<B>(pixel, sums);
        for (int64_t t = x.begin[j]; t < x.begin[j + 1]; ++t) {
          const W* from = scratch + x.bin[t] * kBlock;
          AddBlock<B>(x.weight[t], from, sums);
        }
        StoreBlock<B, false>(sums, pixel);
      }
    }
  });
}

}  // namespace
}  // namespace TF_ROIALIGN_LEVEL
}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CPU_SIMD_FEATURE_GRAD_INL_H_
