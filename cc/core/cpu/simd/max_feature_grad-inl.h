// Mode "max": the gradient to the features, once the winners are known.

#ifndef TF_ROIALIGN_CC_CORE_CPU_SIMD_MAX_FEATURE_GRAD_INL_H_
#define TF_ROIALIGN_CC_CORE_CPU_SIMD_MAX_FEATURE_GRAD_INL_H_

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "cc/core/cpu/simd/blocks-inl.h"
#include "cc/core/cpu/simd/kernels.h"
#include "cc/core/cpu/simd/max-inl.h"
#include "cc/core/cpu/simd/samples_view.h"
#include "cc/core/cpu/simd/vectors-inl.h"

namespace tf_roialign {
namespace TF_ROIALIGN_LEVEL {
namespace {

TF_ROIALIGN_INLINE bool Holds(const Span& span, int64_t i) {
  return i >= span.begin && i < span.end;
}

// What all bins of a box ask for. `map`: its pixel (0, 0).
template <typename T, typename Number>
struct MaxUpstream {
  using W = Accumulator<T>;

  const BoxSamples<W>& samples;
  const Tile& tile;
  const T* grad_output;
  const Number* winners;
  int64_t channels;
  int64_t row_stride;
  W* map;

  // Where a bin's channels begin in grad_output and winners.
  TF_ROIALIGN_INLINE int64_t Bin(int64_t p, int64_t q) const {
    return (p * samples.pooled_width + q) * channels;
  }
};

// By instruction: GCC 12 converts lane by lane.
template <typename I>
TF_ROIALIGN_INLINE I LoadNumbers(const uint8_t* from) {
#if defined(__AVX512F__)
  if constexpr (std::is_same_v<I, Vector<int32_t, 16>>) {
    return BitCast<I>(
        _mm512_maskz_cvtepu8_epi32(0xffff, LoadBits<__m128i>(from)));
  }
  if constexpr (std::is_same_v<I, Vector<int64_t, 8>>) {
    return BitCast<I>(_mm512_maskz_cvtepu8_epi64(
        0xff, _mm_loadl_epi64(reinterpret_cast<const __m128i*>(from))));
  }
#elif defined(__AVX2__)
  if constexpr (std::is_same_v<I, Vector<int32_t, 8>>) {
    return BitCast<I>(_mm256_cvtepu8_epi32(
        _mm_loadl_epi64(reinterpret_cast<const __m128i*>(from))));
  }
#endif
  constexpr int kLanes = sizeof(I) / sizeof(I{}[0]);
  return Convert<I>(LoadBits<Vector<uint8_t, kLanes>>(from));
}
template <typename I>
TF_ROIALIGN_INLINE I LoadNumbers(const int32_t* from) {
  constexpr int kLanes = sizeof(I) / sizeof(I{}[0]);
  return Convert<I>(LoadBits<Vector<int32_t, kLanes>>(from));
}

template <typename B, typename W, typename Number>
TF_ROIALIGN_INLINE void LoadWinners(const Number* from,
                                    Numbers<W, B::lanes> (&to)[B::vectors]) {
#pragma GCC unroll 16
  for (int v = 0; v < B::vectors; ++v) {
    if constexpr (B::lanes == 1) {
      to[v] = from[v];
    } else {
      to[v] = LoadNumbers<Numbers<W, B::lanes>>(from + v * B::lanes);
    }
  }
}

// pixel += weight * from
template <typename B, typename W>
TF_ROIALIGN_INLINE void AddToPixel(W weight, const BlockSums<B>& from,
                                   W* pixel) {
  using L = Lanes<W, B::lanes>;
#pragma GCC unroll 16
  for (int v = 0; v < B::vectors; ++v) {
    Store<W, B::lanes>(L::Load(pixel + v * B::lanes) + weight * from[v],
                       pixel + v * B::lanes);
  }
}

// Sample by sample: channels of which it is not the largest add zero.
template <typename B, typename T, typename Number>
TF_ROIALIGN_INLINE void AddBinBySample(
    const MaxUpstream<T, Number>& call, int64_t p, int64_t q, int64_t c,
    const BlockSums<B>& upstream,
    const Numbers<Accumulator<T>, B::lanes> (&winner)[B::vectors]) {
  using W = Accumulator<T>;
  using V = typename B::V;
  const auto& y = call.samples.y;
  const auto& x = call.samples.x;
  for (int64_t i = y.begin[p]; i < y.begin[p + 1]; ++i) {
    const AxisSample<W, int64_t>& in_y = y.samples[i];
    const bool upper = Holds(call.tile.rows, in_y.lo);
    const bool lower = Holds(call.tile.rows, in_y.hi);
    if (!upper && !lower) continue;
    for (int64_t j = x.begin[q]; j < x.begin[q + 1]; ++j) {
      const AxisSample<W, int64_t>& in_x = x.samples[j];
      const bool left = Holds(call.tile.columns, in_x.lo);
      const bool right = Holds(call.tile.columns, in_x.hi);
      if (!left && !right) continue;
      const auto number =
          Numbers<W, B::lanes>{} +
          NumberOf(call.samples, i - y.begin[p], j - x.begin[q]);
      V won[B::vectors];
#pragma GCC unroll 16
      for (int v = 0; v < B::vectors; ++v) {
        won[v] = Select(winner[v] == number, upstream[v], V{});
      }
      const auto add_row = [&](int64_t y_pixel, W weight) {
        W* row = call.map + y_pixel * call.row_stride + c;
        if (left) {
          AddToPixel<B>(weight * in_x.weight_lo, won,
                        row + in_x.lo * call.channels);
        }
        if (right) {
          AddToPixel<B>(weight * in_x.weight_hi, won,
                        row + in_x.hi * call.channels);
        }
      };
      if (upper) add_row(in_y.lo, in_y.weight_lo);
      if (lower) add_row(in_y.hi, in_y.weight_hi);
    }
  }
}

// ---- Pixel by pixel: what each sample of a bin weighs there lies in a vector,
// one lane for each number, from which the winners take theirs.

// from[numbers], where there is an instruction for it.
template <typename W, int kLanes>
constexpr bool kHasPermute = false;

#if defined(__AVX512F__)
template <>
constexpr bool kHasPermute<float, 16> = true;
template <>
constexpr bool kHasPermute<double, 8> = true;
TF_ROIALIGN_INLINE Vector<float, 16> Permute(Vector<float, 16> from,
                                             Vector<int32_t, 16> numbers) {
  return BitCast<Vector<float, 16>>(_mm512_maskz_permutexvar_ps(
      0xffff, BitCast<__m512i>(numbers), BitCast<__m512>(from)));
}
TF_ROIALIGN_INLINE Vector<double, 8> Permute(Vector<double, 8> from,
                                             Vector<int64_t, 8> numbers) {
  return BitCast<Vector<double, 8>>(_mm512_maskz_permutexvar_pd(
      0xff, BitCast<__m512i>(numbers), BitCast<__m512d>(from)));
}
#elif defined(__AVX2__)
template <>
constexpr bool kHasPermute<float, 8> = true;
TF_ROIALIGN_INLINE Vector<float, 8> Permute(Vector<float, 8> from,
                                            Vector<int32_t, 8> numbers) {
  return BitCast<Vector<float, 8>>(_mm256_permutevar8x32_ps(
      BitCast<__m256>(from), BitCast<__m256i>(numbers)));
}
#endif

// Samples of one axis of a bin, and pixels that they touch, at most.
constexpr int64_t kAxisSamples = 4;
constexpr int kAxisPixels = 2 * kAxisSamples;
// Bins of a row whose columns are kept.
constexpr int64_t kColumnsAtOnce = 16;

// The pixels of one axis that a bin touches in the tile, each once.
template <typename W, int kLanes>
struct AxisPixels {
  int count;
  int64_t pixel[kAxisPixels];
  Vector<W, kLanes> weight[kAxisPixels];
};

// `stride`: of the numbers from one sample of the axis to the next; `copies`:
// how many of the other axis each is paired with, `copy_stride` apart.
template <typename W, int kLanes>
void FindAxisPixels(const SamplesView<W>& samples, int64_t p, const Span& range,
                    int64_t stride, int64_t copies, int64_t copy_stride,
                    AxisPixels<W, kLanes>* pixels) {
  pixels->count = 0;
  const auto add = [&](int64_t pixel, int64_t lane, W weight) {
    if (!Holds(range, pixel)) return;
    int at = 0;
    while (at < pixels->count && pixels->pixel[at] != pixel) ++at;
    if (at == pixels->count) {
      pixels->pixel[at] = pixel;
      pixels->weight[at] = Vector<W, kLanes>{};
      ++pixels->count;
    }
    for (int64_t i = 0; i < copies; ++i) {
      pixels->weight[at][lane + i * copy_stride] = weight;
    }
  };
  for (int64_t i = samples.begin[p]; i < samples.begin[p + 1]; ++i) {
    const AxisSample<W, int64_t>& sample = samples.samples[i];
    const int64_t lane = (i - samples.begin[p]) * stride;
    add(sample.lo, lane, sample.weight_lo);
    add(sample.hi, lane, sample.weight_hi);
  }
}

template <typename B, typename T, typename Number, int kLanes>
TF_ROIALIGN_INLINE void AddBinByPixel(
    const MaxUpstream<T, Number>& call,
    const AxisPixels<Accumulator<T>, kLanes>& rows,
    const AxisPixels<Accumulator<T>, kLanes>& columns, int64_t c,
    const BlockSums<B>& upstream,
    const Numbers<Accumulator<T>, B::lanes> (&winner)[B::vectors]) {
  using W = Accumulator<T>;
  using L = Lanes<W, B::lanes>;
  for (int i = 0; i < rows.count; ++i) {
    W* const row = call.map + rows.pixel[i] * call.row_stride + c;
    for (int j = 0; j < columns.count; ++j) {
      W* const pixel = row + columns.pixel[j] * call.channels;
      const Vector<W, kLanes> weights = rows.weight[i] * columns.weight[j];
#pragma GCC unroll 16
      for (int v = 0; v < B::vectors; ++v) {
        W* const at = pixel + v * B::lanes;
        Store<W, B::lanes>(
            L::Load(at) + Permute(weights, winner[v]) * upstream[v], at);
      }
    }
  }
}

// Whether all numbers are finite: those of a zero weight then add zero.
template <typename B, typename W>
TF_ROIALIGN_INLINE bool AreFinite(const BlockSums<B>& numbers) {
  typename B::V zeros = {};
#pragma GCC unroll 16
  for (int v = 0; v < B::vectors; ++v) zeros += numbers[v] * W(0);
  const W zero = Sum<W, B::lanes>(zeros);
  return zero == zero;
}

// Adds bin (p, q). `rows`, `columns`: null, or its pixels in the tile.
template <typename T, typename Number, int kLanes>
TF_ROIALIGN_INLINE void AddMaxBin(
    const MaxUpstream<T, Number>& call, int64_t p, int64_t q,
    const AxisPixels<Accumulator<T>, kLanes>* rows,
    const AxisPixels<Accumulator<T>, kLanes>* columns) {
  using W = Accumulator<T>;
  const int64_t bin = call.Bin(p, q);
  ForEachBlock<T, kMaxVectors>(call.channels, [&](auto block, int64_t c) {
    using B = decltype(block);
    typename B::V upstream[B::vectors];
    LoadBlock<B>(call.grad_output + bin + c, upstream);
    Numbers<W, B::lanes> winner[B::vectors];
    LoadWinners<B, W>(call.winners + bin + c, winner);
    if constexpr (B::lanes == kLanes && kHasPermute<W, kLanes>) {
      if (rows != nullptr && AreFinite<B, W>(upstream)) {
        AddBinByPixel<B>(call, *rows, *columns, c, upstream, winner);
        return;
      }
    }
    AddBinBySample<B>(call, p, q, c, upstream, winner);
  });
}

template <typename T, typename Number>
void MaxFeatureGrad(const BoxSamples<Accumulator<T>>& samples, const Tile& tile,
                    const T* grad_output, const Number* winners,
                    int64_t channels, int64_t row_stride, Accumulator<T>* map) {
  using W = Accumulator<T>;
  constexpr int kLanes = kFullLanes<T>;
  using Pixels = AxisPixels<W, kLanes>;
  const MaxUpstream<T, Number> call = {
      samples, tile, grad_output, winners, channels, row_stride, map};
  const int64_t height = samples.pooled_height, width = samples.pooled_width;
  const int64_t down = samples.y.most, across = samples.x.most;
  if (!kHasPermute<W, kLanes> || down > kAxisSamples || across > kAxisSamples ||
      down * across > kLanes) {
    for (int64_t p = 0; p < height; ++p) {
      for (int64_t q = 0; q < width; ++q) {
        AddMaxBin<T, Number, kLanes>(call, p, q, nullptr, nullptr);
      }
    }
    return;
  }
  Pixels columns[kColumnsAtOnce], rows;
  for (int64_t first = 0; first < width; first += kColumnsAtOnce) {
    const int64_t count = std::min(kColumnsAtOnce, width - first);
    for (int64_t q = 0; q < count; ++q) {
      FindAxisPixels(samples.x, first + q, tile.columns, 1, down, across,
                     &columns[q]);
    }
    for (int64_t p = 0; p < height; ++p) {
      FindAxisPixels(samples.y, p, tile.rows, across, across, 1, &rows);
      if (rows.count == 0) continue;
      for (int64_t q = 0; q < count; ++q) {
        if (columns[q].count == 0) continue;
        AddMaxBin(call, p, first + q, &rows, &columns[q]);
      }
    }
  }
}

}  // namespace
}  // namespace TF_ROIALIGN_LEVEL
}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CPU_SIMD_MAX_FEATURE_GRAD_INL_H_
