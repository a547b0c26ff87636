// The gradient to the boxes.

#ifndef TF_ROIALIGN_CC_CORE_CPU_SIMD_BOX_GRAD_INL_H_
#define TF_ROIALIGN_CC_CORE_CPU_SIMD_BOX_GRAD_INL_H_

#include <cstdint>

#include "cc/core/cpu/simd/blocks-inl.h"
#include "cc/core/cpu/simd/fetcher-inl.h"
#include "cc/core/cpu/simd/kernels.h"
#include "cc/core/cpu/simd/tap_groups-inl.h"
#include "cc/core/cpu/simd/taps_view.h"
#include "cc/core/cpu/simd/vectors-inl.h"
#include "cc/core/cpu/tuning.h"

namespace tf_roialign {
namespace TF_ROIALIGN_LEVEL {
namespace {

// g^T (dA / d box) f. The products of a bin's upstream with the pixels that it
// touches stay vectors, weighed along x and then along y, until these taps of
// the bin are done.
// Pointers are those of the block's first channel. A function of its own: among
// more variables GCC 12 keeps the inner loop's pointers in vector registers.
template <typename B, typename T>
__attribute__((noinline)) void AddBoxGradOfBlock(
    const BoxTaps<Accumulator<T>>& taps, const Span& rows, const Span& columns,
    const Pixels<T>& pixels, const T* bin, double grad[4]) {
  using W = Accumulator<T>;
  using V = typename B::V;
  const TapsView<W>& y = taps.y;
  const TapsView<W>& x = taps.x;
  // Chains of sums: an addition takes as many cycles.
  constexpr int kSums = B::vectors < 4 ? B::vectors : 4;
  // Written out, as the products below: by how a single channel is loaded
  // GCC 12 decides what it fuses, and with that the last bit.
  V upstream[B::vectors];
#pragma GCC unroll 16
  for (int v = 0; v < B::vectors; ++v) {
    upstream[v] = B::L::Load(bin + v * B::lanes);
  }
  V x1 = {}, x2 = {}, y1 = {}, y2 = {};
  for (int64_t i = rows.begin; i < rows.end; ++i) {
    const T* row = pixels.origin + y.pixel[i] * pixels.row_stride;
    V row_x1 = {}, row_x2 = {}, row_y = {};
    for (int64_t j = columns.begin; j < columns.end; ++j) {
      const T* pixel = row + x.pixel[j] * pixels.pixel_stride;
      V products[kSums] = {};
#pragma GCC unroll 16
      for (int v = 0; v < B::vectors; ++v) {
        products[v % kSums] += upstream[v] * B::L::Load(pixel + v * B::lanes);
      }
#pragma GCC unroll 4
      for (int s = 1; s < kSums; ++s) products[0] += products[s];
      row_x1 += x.slope1[j] * products[0];
      row_x2 += x.slope2[j] * products[0];
      row_y += x.weight[j] * products[0];
    }
    x1 += y.weight[i] * row_x1;
    x2 += y.weight[i] * row_x2;
    y1 += y.slope1[i] * row_y;
    y2 += y.slope2[i] * row_y;
  }
  grad[0] += Sum<W, B::lanes>(x1);
  grad[1] += Sum<W, B::lanes>(y1);
  grad[2] += Sum<W, B::lanes>(x2);
  grad[3] += Sum<W, B::lanes>(y2);
}

// The same for all blocks.
template <typename T>
TF_ROIALIGN_INLINE void AddBoxGrad(const BoxTaps<Accumulator<T>>& taps,
                                   const Span& rows, const Span& columns,
                                   const Pixels<T>& pixels, int64_t channels,
                                   const T* bin, double grad[4]) {
  ForEachBlock<T>(channels, [&](auto block, int64_t c) {
    AddBoxGradOfBlock<decltype(block)>(
        taps, rows, columns,
        {pixels.origin + c, pixels.row_stride, pixels.pixel_stride}, bin + c,
        grad);
  });
}

// In the order of ForwardBins, but for so many channels at a time that a bin's
// pixels and its upstream stay in the first cache.
template <typename T>
void BoxGrad(const BoxTaps<Accumulator<T>>& taps, const T* grad_output,
             const T* image, int64_t row_stride, int64_t channels,
             double grad[4]) {
  using W = Accumulator<T>;
  const TapsView<W>& y = taps.y;
  const TapsView<W>& x = taps.x;
  double sums[4] = {};
  const int64_t bins = taps.pooled_height * taps.pooled_width;
  Fetcher window_ahead(taps.ahead.window, bins);
  Fetcher upstream_ahead(taps.ahead.upstream, bins);
  const auto for_each_bin = [&](const T* bin, const auto& visit) {
    for (int64_t p = 0; p < taps.pooled_height; ++p) {
      for (int64_t q = 0; q < taps.pooled_width; ++q, bin += channels) {
        window_ahead.FetchPart();
        upstream_ahead.FetchPart();
        visit(Span{y.begin[p], y.begin[p + 1]},
              Span{x.begin[q], x.begin[q + 1]}, bin);
      }
    }
  };
  int64_t first = 0;
  if constexpr (kWidestBlock<T> < kBoxGradChannels) {
    while (channels - first > kWidestBlock<T>) {
      const int64_t count = channels - first < kBoxGradChannels
                                ? channels - first
                                : kBoxGradChannels;
      const int64_t bytes = count * int64_t(sizeof(T));
      const Pixels<T> pixels = {image + first, row_stride, channels};
      for_each_bin(grad_output + first,
                   [&](const Span& rows, const Span& columns, const T* bin) {
                     PrefetchBytes(bin + 2 * channels, bytes);
                     TapGroups(rows, columns, kBoxGradGroupBytes / bytes)
                         .ForEach([&](const Span& some_rows,
                                      const Span& some_columns, bool, bool) {
                           AddBoxGrad<T>(taps, some_rows, some_columns, pixels,
                                         count, bin, sums);
                         });
                   });
      first += count;
    }
  }
  ForEachBlock<T>(channels - first, [&](auto block, int64_t c) {
    using B = decltype(block);
    const Pixels<T> pixels = {image + first + c, row_stride, channels};
    for_each_bin(grad_output + first + c,
                 [&](const Span& rows, const Span& columns, const T* bin) {
                   Prefetch<B>(bin + 2 * channels);
                   AddBoxGradOfBlock<B>(taps, rows, columns, pixels, bin, sums);
                 });
  });
  for (int i = 0; i < 4; ++i) grad[i] = sums[i];
}

template <typename T>
void BoxGradRows(const BoxTaps<Accumulator<T>>& taps, const Span& rows,
                 const Pixels<T>& pixels, int64_t channels, const T* bin,
                 int64_t bin_stride, double grad[4]) {
  const auto& x = taps.x;
  double sums[4] = {};
  for (int64_t q = 0; q < taps.pooled_width; ++q, bin += bin_stride) {
    AddBoxGrad<T>(taps, rows, {x.begin[q], x.begin[q + 1]}, pixels, channels,
                  bin, sums);
  }
  for (int i = 0; i < 4; ++i) grad[i] += sums[i];
}

}  // namespace
}  // namespace TF_ROIALIGN_LEVEL
}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CPU_SIMD_BOX_GRAD_INL_H_
