// Forward: one bin at a time, or in two passes.

#ifndef TF_ROIALIGN_CC_CORE_CPU_SIMD_FORWARD_INL_H_
#define TF_ROIALIGN_CC_CORE_CPU_SIMD_FORWARD_INL_H_

#include <cstdint>
#include <type_traits>

#include "cc/core/base/span.h"
#include "cc/core/cpu/simd/blocks-inl.h"
#include "cc/core/cpu/simd/fetcher-inl.h"
#include "cc/core/cpu/simd/kernels.h"
#include "cc/core/cpu/simd/tap_groups-inl.h"
#include "cc/core/cpu/simd/vectors-inl.h"
#include "cc/core/cpu/tuning.h"
#include "cc/core/dtypes/quantization.h"

namespace tf_roialign {
namespace TF_ROIALIGN_LEVEL {
namespace {

// Taps of bin row p + 1 whose rows no earlier bin row has touched, if their
// pixels may stay in the first cache until they are needed; else none.
template <typename W>
TF_ROIALIGN_INLINE Span RowsToPrefetch(const BoxTaps<W>& taps, int64_t p,
                                       int64_t pixel_bytes) {
  const TapsView<W>& y = taps.y;
  const TapsView<W>& x = taps.x;
  const int64_t columns = x.begin[taps.pooled_width];
  if (p + 1 == taps.pooled_height || columns == 0) return {0, 0};
  Span rows = {y.begin[p + 1], y.begin[p + 2]};
  const int64_t seen = rows.begin > 0 ? y.pixel[rows.begin - 1] : -1;
  while (rows.begin < rows.end && y.pixel[rows.begin] <= seen) ++rows.begin;
  const int64_t width = x.pixel[columns - 1] - x.pixel[0] + 1;
  if (Length(rows) * width * pixel_bytes > kPrefetchBytes) {
    return {0, 0};
  }
  return rows;
}

// Sums of a bin that wait for its next group of taps: [channels], and of codes
// the weights behind them. They count as often as a code does: samples outside
// the map count in neither.
template <typename W>
struct KeptBin {
  W* sums;
  W* weights;
};

// Adds taps to a block of a bin's channels; the last ones store it. Pointers
// are those of the block's first channel. kCodes: the pixels are codes, or hold
// them as T = float or double, and the zero point is taken off the sums.
template <typename B, typename T, bool kStream, bool kCodes>
TF_ROIALIGN_INLINE void AddTaps(const BoxTaps<Accumulator<T>>& taps,
                                const Span& rows, const Span& columns,
                                bool is_first, bool is_last,
                                const Pixels<T>& pixels,
                                const Requantization<Accumulator<T>>& to_codes,
                                [[maybe_unused]] Accumulator<T> weights_before,
                                const KeptBin<Accumulator<T>>& kept, T* bin) {
  using W = Accumulator<T>;
  const TapsView<W>& y = taps.y;
  const TapsView<W>& x = taps.x;
  typename B::V sums[B::vectors] = {};
  [[maybe_unused]] W weights = weights_before;
  if (!is_first) LoadKept<B>(kept.sums, sums);
  for (int64_t i = rows.begin; i < rows.end; ++i) {
    const T* row = pixels.origin + y.pixel[i] * pixels.row_stride;
    for (int64_t j = columns.begin; j < columns.end; ++j) {
      const T* pixel = row + x.pixel[j] * pixels.pixel_stride;
      const W weight = y.weight[i] * x.weight[j];
      if constexpr (kCodes) weights += weight;
      AddBlock<B>(weight, pixel, sums);
    }
  }
  if (!is_last) {
    StoreKept<B>(sums, kept.sums);
    if constexpr (kCodes) *kept.weights = weights;
    return;
  }
  [[maybe_unused]] const W of_zero = to_codes.zero * weights;
  if constexpr (kCodes) SubtractFromBlock<B>(of_zero, sums);
  StoreBins<B, kStream>(sums, to_codes, bin);
}

// The same for all blocks.
template <typename T, bool kStream, bool kCodes>
TF_ROIALIGN_INLINE void AddGroup(const BoxTaps<Accumulator<T>>& taps,
                                 const Span& rows, const Span& columns,
                                 bool is_first, bool is_last,
                                 const Pixels<T>& pixels, int64_t channels,
                                 const Requantization<Accumulator<T>>& to_codes,
                                 const KeptBin<Accumulator<T>>& kept, T* bin) {
  using W = Accumulator<T>;
  const W weights_before = kCodes && !is_first ? *kept.weights : W(0);
  ForEachBlock<T>(channels, [&](auto block, int64_t c) {
    AddTaps<decltype(block), T, kStream, kCodes>(
        taps, rows, columns, is_first, is_last,
        {pixels.origin + c, pixels.row_stride, pixels.pixel_stride}, to_codes,
        weights_before, {kept.sums + c, kept.weights}, bin + c);
  });
}

// Prefetches the columns of bin q that no earlier bin has, of `ahead`.
template <typename W, typename T, typename Prefetch>
TF_ROIALIGN_INLINE void PrefetchBin(const BoxTaps<W>& taps, const Span& ahead,
                                    int64_t q, const Pixels<T>& pixels,
                                    const Prefetch& prefetch) {
  if (ahead.begin >= ahead.end) return;
  const TapsView<W>& x = taps.x;
  const int64_t seen = x.begin[q] > 0 ? x.pixel[x.begin[q] - 1] : -1;
  for (int64_t i = ahead.begin; i < ahead.end; ++i) {
    const T* row = pixels.origin + taps.y.pixel[i] * pixels.row_stride;
    for (int64_t j = x.begin[q]; j < x.begin[q + 1]; ++j) {
      if (x.pixel[j] > seen) prefetch(row + x.pixel[j] * pixels.pixel_stride);
    }
  }
}

// A bin at a time. Where one block has no room for all channels, blocks are
// innermost, so that a pixel is read from one end to the other; where it has,
// it is chosen once for all bins.
template <typename T, bool kStream, bool kCodes>
void ForwardBins(const BoxTaps<Accumulator<T>>& taps, const T* image,
                 int64_t row_stride, int64_t channels,
                 const Requantization<Accumulator<T>>& rule, T* output) {
  using W = Accumulator<T>;
  const TapsView<W>& y = taps.y;
  const TapsView<W>& x = taps.x;
  // A copy, which stores of codes cannot be taken to change.
  const Requantization<W> to_codes = rule;
  Fetcher ahead_of_box(taps.ahead.window,
                       taps.pooled_height * taps.pooled_width);
  if (channels <= kWidestBlock<T>) {
    ForEachBlock<T>(channels, [&](auto block, int64_t c) {
      using B = decltype(block);
      const Pixels<T> pixels = {image + c, row_stride, channels};
      T* bin = output + c;
      for (int64_t p = 0; p < taps.pooled_height; ++p) {
        const Span ahead = RowsToPrefetch(taps, p, B::bytes);
        for (int64_t q = 0; q < taps.pooled_width; ++q, bin += channels) {
          PrefetchBin(taps, ahead, q, pixels,
                      [](const T* pixel) { Prefetch<B>(pixel); });
          ahead_of_box.FetchPart();
          AddTaps<B, T, kStream, kCodes>(
              taps, {y.begin[p], y.begin[p + 1]}, {x.begin[q], x.begin[q + 1]},
              true, true, pixels, to_codes, W(0), {nullptr, nullptr}, bin);
        }
      }
    });
    return;
  }
  alignas(kRegisterBytes) W sums[kMaxKeptChannels];
  W weights = 0;
  for (int64_t first = 0; first < channels; first += kMaxKeptChannels) {
    const int64_t count = channels - first < kMaxKeptChannels
                              ? channels - first
                              : kMaxKeptChannels;
    const int64_t pixel_bytes = count * int64_t(sizeof(T));
    const Pixels<T> pixels = {image + first, row_stride, channels};
    T* bin = output + first;
    for (int64_t p = 0; p < taps.pooled_height; ++p) {
      const Span ahead = RowsToPrefetch(taps, p, pixel_bytes);
      for (int64_t q = 0; q < taps.pooled_width; ++q, bin += channels) {
        PrefetchBin(taps, ahead, q, pixels,
                    [&](const T* pixel) { PrefetchBytes(pixel, pixel_bytes); });
        ahead_of_box.FetchPart();
        TapGroups({y.begin[p], y.begin[p + 1]}, {x.begin[q], x.begin[q + 1]},
                  kTapGroupBytes / pixel_bytes)
            .ForEach([&](const Span& rows, const Span& columns, bool is_first,
                         bool is_last) {
              AddGroup<T, kStream, kCodes>(taps, rows, columns, is_first,
                                           is_last, pixels, count, to_codes,
                                           {sums, &weights}, bin);
            });
      }
    }
  }
}

// Rows of taps of a row of bins: see kernels.h.
template <typename T, bool kStream, bool kCodes>
void AddTapRows(const BoxTaps<Accumulator<T>>& taps, int64_t p,
                const Span& rows, const Pixels<T>& pixels, int64_t channels,
                const Requantization<Accumulator<T>>& rule,
                Accumulator<T>* kept, T* bin, int64_t bin_stride) {
  using W = Accumulator<T>;
  const TapsView<W>& x = taps.x;
  const Requantization<W> to_codes = rule;  // as in ForwardBins
  const bool is_first = rows.begin == taps.y.begin[p];
  const bool is_last = rows.end == taps.y.begin[p + 1];
  W* weights = kept + taps.pooled_width * channels;
  for (int64_t q = 0; q < taps.pooled_width; ++q, bin += bin_stride) {
    AddGroup<T, kStream, kCodes>(taps, rows, {x.begin[q], x.begin[q + 1]},
                                 is_first, is_last, pixels, channels, to_codes,
                                 {kept + q * channels, weights + q}, bin);
  }
}

// The columns from the first to the last that a box touches.
template <typename W>
TF_ROIALIGN_INLINE Span TouchedColumns(const BoxTaps<W>& taps) {
  const TapsView<W>& x = taps.x;
  Span columns = {INT64_MAX, 0};
  for (int64_t j = 0; j < x.begin[taps.pooled_width]; ++j) {
    if (x.pixel[j] < columns.begin) columns.begin = x.pixel[j];
    if (x.pixel[j] >= columns.end) columns.end = x.pixel[j] + 1;
  }
  return columns;
}

// Whether it takes fewer loads and stores to sum the rows of a bin row first
// than to take each bin by itself: it does where bins share pixels, as those of
// a box smaller than its output.
template <typename W>
TF_ROIALIGN_INLINE bool SeparablePays(const BoxTaps<W>& taps,
                                      const Span& columns) {
  const int64_t width = Length(columns);
  if (width <= 0 || width > kMaxSummedColumns) return false;
  const int64_t y_taps = taps.y.begin[taps.pooled_height];
  const int64_t x_taps = taps.x.begin[taps.pooled_width];
  return y_taps * width + taps.pooled_height * (width + x_taps) <
         y_taps * x_taps;
}

// The same as ForwardBins in two passes for each row of bins: along y for all
// columns, then along x.
template <typename T, bool kStream, bool kCodes>
void ForwardSeparable(const BoxTaps<Accumulator<T>>& taps, const Span& columns,
                      const T* image, int64_t row_stride, int64_t channels,
                      const Requantization<Accumulator<T>>& rule, T* output) {
  using W = Accumulator<T>;
  const TapsView<W>& y = taps.y;
  const TapsView<W>& x = taps.x;
  const Requantization<W> to_codes = rule;  // as in ForwardBins
  const int64_t blocks = (channels + kWidestBlock<T> - 1) / kWidestBlock<T>;
  Fetcher ahead_of_box(taps.ahead.window,
                       blocks * taps.pooled_height * taps.pooled_width);
  ForEachBlock<T>(channels, [&](auto block, int64_t c) {
    using B = decltype(block);
    using V = typename B::V;
    V summed[kMaxSummedColumns * B::vectors];
    T* bin = output + c;
    for (int64_t p = 0; p < taps.pooled_height; ++p) {
      for (int64_t column = 0; column < Length(columns); ++column) {
        const T* top = image + (columns.begin + column) * channels + c;
        V sums[B::vectors] = {};
        for (int64_t i = y.begin[p]; i < y.begin[p + 1]; ++i) {
          const T* pixel = top + y.pixel[i] * row_stride;
          AddBlock<B>(y.weight[i], pixel, sums);
        }
        KeepSums<B>(sums, summed + column * B::vectors);
      }
      [[maybe_unused]] W row_weights = 0;
      if constexpr (kCodes) {
        for (int64_t i = y.begin[p]; i < y.begin[p + 1]; ++i) {
          row_weights += y.weight[i];
        }
      }
      for (int64_t q = 0; q < taps.pooled_width; ++q, bin += channels) {
        V sums[B::vectors] = {};
        [[maybe_unused]] W weights = 0;
        ahead_of_box.FetchPart();
        for (int64_t j = x.begin[q]; j < x.begin[q + 1]; ++j) {
          if constexpr (kCodes) weights += x.weight[j];
          const V* from = summed + (x.pixel[j] - columns.begin) * B::vectors;
          AddSums<B>(x.weight[j], from, sums);
        }
        [[maybe_unused]] const W of_zero =
            to_codes.zero * (row_weights * weights);
        if constexpr (kCodes) SubtractFromBlock<B>(of_zero, sums);
        StoreBins<B, kStream>(sums, to_codes, bin);
      }
    }
  });
}

template <typename T, bool kStream, bool kCodes>
void ForwardBox(const BoxTaps<Accumulator<T>>& taps, const T* image,
                int64_t row_stride, int64_t channels,
                const Requantization<Accumulator<T>>& to_codes, T* output) {
  const Span columns = TouchedColumns(taps);
  if (SeparablePays(taps, columns)) {
    ForwardSeparable<T, kStream, kCodes>(taps, columns, image, row_stride,
                                         channels, to_codes, output);
  } else {
    ForwardBins<T, kStream, kCodes>(taps, image, row_stride, channels, to_codes,
                                    output);
  }
}

// Calls run(whether to stream, whether the pixels are codes), as types.
template <typename T, typename Run>
TF_ROIALIGN_INLINE void WithKindOfStore(
    const Requantization<Accumulator<T>>& to_codes, bool stream,
    const Run& run) {
  if constexpr (std::is_same_v<T, Accumulator<T>>) {
    if (to_codes.zero != 0) {  // codes from NCHW
      run(std::false_type(), std::true_type());
      return;
    }
  }
  using Codes = std::bool_constant<kIsCode<T>>;
  if (stream) {
    run(std::true_type(), Codes());
  } else {
    run(std::false_type(), Codes());
  }
}

template <typename T>
void Forward(const BoxTaps<Accumulator<T>>& taps, const T* image,
             int64_t row_stride, int64_t channels,
             const Requantization<Accumulator<T>>& to_codes, bool stream,
             T* output) {
  WithKindOfStore<T>(to_codes, stream, [&](auto streams, auto codes) {
    ForwardBox<T, streams, codes>(taps, image, row_stride, channels, to_codes,
                                  output);
  });
}

template <typename T>
void ForwardRows(const BoxTaps<Accumulator<T>>& taps, int64_t p,
                 const Span& rows, const Pixels<T>& pixels, int64_t channels,
                 const Requantization<Accumulator<T>>& to_codes, bool stream,
                 Accumulator<T>* kept, T* bin, int64_t bin_stride) {
  WithKindOfStore<T>(to_codes, stream, [&](auto streams, auto codes) {
    AddTapRows<T, streams, codes>(taps, p, rows, pixels, channels, to_codes,
                                  kept, bin, bin_stride);
  });
}

}  // namespace
}  // namespace TF_ROIALIGN_LEVEL
}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CPU_SIMD_FORWARD_INL_H_
