// Mode "max": the largest sample of each bin, which it is, and the gradient to
// the boxes.
//
// Every kernel finds the largest by the same BlockSample, and so the same one.

#ifndef TF_ROIALIGN_CC_CORE_CPU_SIMD_MAX_INL_H_
#define TF_ROIALIGN_CC_CORE_CPU_SIMD_MAX_INL_H_

#include <cstdint>
#include <type_traits>

#include "cc/core/cpu/simd/blocks-inl.h"
#include "cc/core/cpu/simd/fetcher-inl.h"
#include "cc/core/cpu/simd/kernels.h"
#include "cc/core/cpu/simd/samples_view.h"
#include "cc/core/cpu/simd/vectors-inl.h"

namespace tf_roialign {
namespace TF_ROIALIGN_LEVEL {
namespace {

// Vectors of a block: the largest so far and the sample at hand share the
// registers, with the gradients also what they keep of each.
constexpr int kMaxVectors = kBlockVectors / 2;
constexpr int kMaxGradVectors = kBlockVectors / 4;

// Numbers of samples, one for each lane.
template <typename W, int kLanes>
using Numbers =
    Vector<std::conditional_t<sizeof(W) == 8, int64_t, int32_t>, kLanes>;

// mask ? a : b, lane by lane; scalars too.
template <typename Mask, typename V>
TF_ROIALIGN_INLINE V Select(Mask mask, V a, V b) {
  return mask ? a : b;
}

// The values of a sample.
template <typename B, typename W, typename T>
TF_ROIALIGN_INLINE void BlockSample(const AxisSample<W, int64_t>& y,
                                    const AxisSample<W, int64_t>& x,
                                    const T* image, int64_t row_stride,
                                    int64_t channels, BlockSums<B>& value) {
  using V = typename B::V;
  using L = typename B::L;
  if (y.lo < 0 || x.lo < 0) {  // outside
#pragma GCC unroll 16
    for (int v = 0; v < B::vectors; ++v) value[v] = V{};
    return;
  }
  const T* const upper = image + y.lo * row_stride;
  const T* const lower = image + y.hi * row_stride;
  const int64_t left = x.lo * channels, right = x.hi * channels;
  const W weight = y.weight_lo * x.weight_lo;
#pragma GCC unroll 16
  for (int v = 0; v < B::vectors; ++v) {
    value[v] = weight * L::Load(upper + left + v * B::lanes);
  }
  if (x.hi >= 0) {
    AddBlock<B>(y.weight_lo * x.weight_hi, upper + right, value);
  }
  if (y.hi < 0) return;
  AddBlock<B>(y.weight_hi * x.weight_lo, lower + left, value);
  if (x.hi >= 0) {
    AddBlock<B>(y.weight_hi * x.weight_hi, lower + right, value);
  }
}

// The larger of two; `b` where one is a NaN.
template <typename W, int kLanes>
TF_ROIALIGN_INLINE Vector<W, kLanes> Larger(Vector<W, kLanes> a,
                                            Vector<W, kLanes> b) {
  using V = Vector<W, kLanes>;
  // By instruction: GCC 12 makes a comparison and a selection of the below.
#if defined(__AVX512F__)
  if constexpr (sizeof(V) == 64) {
    if constexpr (sizeof(W) == 4) {
      return BitCast<V>(
          _mm512_maskz_max_ps(0xffff, BitCast<__m512>(a), BitCast<__m512>(b)));
    } else {
      return BitCast<V>(
          _mm512_maskz_max_pd(0xff, BitCast<__m512d>(a), BitCast<__m512d>(b)));
    }
  }
#endif
#if defined(__AVX__)
  if constexpr (sizeof(V) == 32) {
    if constexpr (sizeof(W) == 4) {
      return BitCast<V>(_mm256_max_ps(BitCast<__m256>(a), BitCast<__m256>(b)));
    } else {
      return BitCast<V>(
          _mm256_max_pd(BitCast<__m256d>(a), BitCast<__m256d>(b)));
    }
  }
#endif
#if defined(__SSE2__)
  if constexpr (sizeof(V) == 16) {
    if constexpr (sizeof(W) == 4) {
      return BitCast<V>(_mm_max_ps(BitCast<__m128>(a), BitCast<__m128>(b)));
    } else {
      return BitCast<V>(_mm_max_pd(BitCast<__m128d>(a), BitCast<__m128d>(b)));
    }
  }
#endif
  return Select(a > b, a, b);
}

// Whether `value` takes the place of `largest` where both are told apart: the
// first of equal ones stays, and the first NaN.
template <typename V>
TF_ROIALIGN_INLINE auto IsLarger(V value, V largest) {
  return (value > largest) | ((value != value) & (largest == largest));
}

// Of sample `i` of a bin's along y and `j` along x.
template <typename W>
TF_ROIALIGN_INLINE int32_t NumberOf(const BoxSamples<W>& samples, int64_t i,
                                    int64_t j) {
  return static_cast<int32_t>(i * samples.x.most + j);
}

// Calls take(number, y, x, values) for the samples of a bin, in their order.
template <typename B, typename W, typename T, typename Take>
TF_ROIALIGN_INLINE void ForEachSample(const BoxSamples<W>& samples, int64_t p,
                                      int64_t q, const T* image,
                                      int64_t row_stride, int64_t channels,
                                      const Take& take) {
  const auto& y = samples.y;
  const auto& x = samples.x;
  for (int64_t i = y.begin[p]; i < y.begin[p + 1]; ++i) {
    int32_t number = NumberOf(samples, i - y.begin[p], 0);
    for (int64_t j = x.begin[q]; j < x.begin[q + 1]; ++j, ++number) {
      typename B::V value[B::vectors];
      BlockSample<B, W>(y.samples[i], x.samples[j], image, row_stride, channels,
                        value);
      take(number, y.samples[i], x.samples[j], value);
    }
  }
}

// The largest samples of a bin. Larger() forgets a NaN that is followed by a
// number; so where the sum of all samples is a NaN, the bin is done again with
// care. That is seldom.
template <typename B, bool kCareful, typename W, typename T>
TF_ROIALIGN_INLINE bool MaxOfBin(const BoxSamples<W>& samples, int64_t p,
                                 int64_t q, const T* image, int64_t row_stride,
                                 int64_t channels, BlockSums<B>& largest) {
  using V = typename B::V;
  V total = {};
  ForEachSample<B>(
      samples, p, q, image, row_stride, channels,
      [&](int32_t number, const auto&, const auto&, const V* value) {
#pragma GCC unroll 16
        for (int v = 0; v < B::vectors; ++v) {
          if (number == 0) {
            largest[v] = value[v];
          } else if constexpr (kCareful) {
            const V larger =
                Select(value[v] > largest[v], value[v], largest[v]);
            largest[v] = Select(value[v] != value[v], value[v], larger);
          } else {
            largest[v] = Larger<W, B::lanes>(largest[v], value[v]);
          }
          if constexpr (!kCareful) total += value[v];
        }
      });
  const W sum = Sum<W, B::lanes>(total);
  return sum == sum;
}

template <typename T, bool kStream>
void MaxBins(const BoxSamples<Accumulator<T>>& samples, const T* image,
             int64_t row_stride, int64_t channels, T* output) {
  using W = Accumulator<T>;
  T* bin = output;
  Fetcher ahead_of_box(samples.ahead.window,
                       samples.pooled_height * samples.pooled_width);
  for (int64_t p = 0; p < samples.pooled_height; ++p) {
    for (int64_t q = 0; q < samples.pooled_width; ++q, bin += channels) {
      ahead_of_box.FetchPart();
      ForEachBlock<T, kMaxVectors>(channels, [&](auto block, int64_t c) {
        using B = decltype(block);
        typename B::V largest[B::vectors] = {};
        if (!MaxOfBin<B, false, W>(samples, p, q, image + c, row_stride,
                                   channels, largest)) {
          MaxOfBin<B, true, W>(samples, p, q, image + c, row_stride, channels,
                               largest);
        }
        StoreBlock<B, kStream>(largest, bin + c);
      });
    }
  }
}

template <typename T>
void MaxForward(const BoxSamples<Accumulator<T>>& samples, const T* image,
                int64_t row_stride, int64_t channels, bool stream, T* output) {
  (stream ? MaxBins<T, true> : MaxBins<T, false>)(samples, image, row_stride,
                                                  channels, output);
}

// The numbers of the largest samples of a bin. As MaxOfBin: false where it has
// to be done again with care, for the first NaN to win.
template <typename B, bool kCareful, typename W, typename T>
TF_ROIALIGN_INLINE bool WinnersOfBin(
    const BoxSamples<W>& samples, int64_t p, int64_t q, const T* image,
    int64_t row_stride, int64_t channels,
    Numbers<W, B::lanes> (&winner)[B::vectors]) {
  using V = typename B::V;
  using I = Numbers<W, B::lanes>;
  V largest[B::vectors] = {};
  V total = {};
#pragma GCC unroll 16
  for (int v = 0; v < B::vectors; ++v) winner[v] = I{};
  ForEachSample<B>(
      samples, p, q, image, row_stride, channels,
      [&](int32_t number, const auto&, const auto&, const V* value) {
        const I at_hand = I{} + number;
#pragma GCC unroll 16
        for (int v = 0; v < B::vectors; ++v) {
          if (number == 0) {
            largest[v] = value[v];
          } else if constexpr (kCareful) {
            const auto is_larger = IsLarger(value[v], largest[v]);
            largest[v] = Select(is_larger, value[v], largest[v]);
            winner[v] = Select(is_larger, at_hand, winner[v]);
          } else {
            winner[v] = Select(value[v] > largest[v], at_hand, winner[v]);
            largest[v] = Larger<W, B::lanes>(largest[v], value[v]);
          }
          if constexpr (!kCareful) total += value[v];
        }
      });
  const W sum = Sum<W, B::lanes>(total);
  return sum == sum;
}

// Number: uint8_t, or int32_t where a bin has more than 256 samples.
template <typename T, typename Number>
void Winners(const BoxSamples<Accumulator<T>>& samples, const T* image,
             int64_t row_stride, int64_t channels, Number* winners) {
  using W = Accumulator<T>;
  Number* bin = winners;
  Fetcher ahead_of_box(samples.ahead.window,
                       samples.pooled_height * samples.pooled_width);
  for (int64_t p = 0; p < samples.pooled_height; ++p) {
    for (int64_t q = 0; q < samples.pooled_width; ++q, bin += channels) {
      ahead_of_box.FetchPart();
      ForEachBlock<T, kMaxVectors>(channels, [&](auto block, int64_t c) {
        using B = decltype(block);
        Numbers<W, B::lanes> winner[B::vectors];
        if (!WinnersOfBin<B, false, W>(samples, p, q, image + c, row_stride,
                                       channels, winner)) {
          WinnersOfBin<B, true, W>(samples, p, q, image + c, row_stride,
                                   channels, winner);
        }
#pragma GCC unroll 16
        for (int v = 0; v < B::vectors; ++v) {
          Number* const to = bin + c + v * B::lanes;
          if constexpr (B::lanes == 1) {
            *to = static_cast<Number>(winner[v]);
          } else {
            StoreBits<false>(Convert<Vector<Number, B::lanes>>(winner[v]), to);
          }
        }
      });
    }
  }
}

// How a sample's value moves along one axis, of which `hi` and `lo` are
// neighbours: sum over the other axis' pixels of weight * (hi - lo).
template <typename B, typename W, typename T>
TF_ROIALIGN_INLINE void BlockSlope(const T* lo, const T* hi, int64_t first,
                                   int64_t second, W first_weight,
                                   W second_weight, BlockSums<B>& slope) {
  using L = typename B::L;
#pragma GCC unroll 16
  for (int v = 0; v < B::vectors; ++v) {
    const int64_t at = v * B::lanes;
    slope[v] =
        first_weight * (L::Load(hi + first + at) - L::Load(lo + first + at));
    if (second >= 0) {
      slope[v] += second_weight *
                  (L::Load(hi + second + at) - L::Load(lo + second + at));
    }
  }
}

template <typename T>
void MaxBoxGrad(const BoxSamples<Accumulator<T>>& samples, const T* grad_output,
                const T* image, int64_t row_stride, int64_t channels,
                double grad[4]) {
  using W = Accumulator<T>;
  double x1 = 0, y1 = 0, x2 = 0, y2 = 0;
  const int64_t bins = samples.pooled_height * samples.pooled_width;
  Fetcher window_ahead(samples.ahead.window, bins);
  Fetcher upstream_ahead(samples.ahead.upstream, bins);
  ForEachBlock<T, kMaxGradVectors>(channels, [&](auto block, int64_t c) {
    using B = decltype(block);
    using V = typename B::V;
    const T* bin = grad_output + c;
    for (int64_t p = 0; p < samples.pooled_height; ++p) {
      for (int64_t q = 0; q < samples.pooled_width; ++q, bin += channels) {
        window_ahead.FetchPart();
        upstream_ahead.FetchPart();
        V largest[B::vectors] = {};
        // Of the largest: by y1, y2, x1 and x2.
        V by_y1[B::vectors] = {}, by_y2[B::vectors] = {};
        V by_x1[B::vectors] = {}, by_x2[B::vectors] = {};
        ForEachSample<B>(
            samples, p, q, image + c, row_stride, channels,
            [&](int32_t number, const AxisSample<W, int64_t>& in_y,
                const AxisSample<W, int64_t>& in_x, const V* value) {
              V along_y[B::vectors] = {}, along_x[B::vectors] = {};
              if (in_y.lo >= 0 && in_x.lo >= 0) {
                const T* const upper = image + c + in_y.lo * row_stride;
                const T* const lower = image + c + in_y.hi * row_stride;
                if (in_y.hi >= 0) {
                  BlockSlope<B, W>(upper, lower, in_x.lo * channels,
                                   in_x.hi * channels, in_x.weight_lo,
                                   in_x.weight_hi, along_y);
                }
                if (in_x.hi >= 0) {
                  BlockSlope<B, W>(
                      upper + in_x.lo * channels, upper + in_x.hi * channels, 0,
                      in_y.hi < 0 ? -1 : (in_y.hi - in_y.lo) * row_stride,
                      in_y.weight_lo, in_y.weight_hi, along_x);
                }
              }
#pragma GCC unroll 16
              for (int v = 0; v < B::vectors; ++v) {
                auto is_larger = IsLarger(value[v], largest[v]);
                if (number == 0) is_larger = is_larger | ~is_larger;
                largest[v] = Select(is_larger, value[v], largest[v]);
                by_y1[v] =
                    Select(is_larger, in_y.slope1 * along_y[v], by_y1[v]);
                by_y2[v] =
                    Select(is_larger, in_y.slope2 * along_y[v], by_y2[v]);
                by_x1[v] =
                    Select(is_larger, in_x.slope1 * along_x[v], by_x1[v]);
                by_x2[v] =
                    Select(is_larger, in_x.slope2 * along_x[v], by_x2[v]);
              }
            });
        V sum_y1 = {}, sum_y2 = {}, sum_x1 = {}, sum_x2 = {};
#pragma GCC unroll 16
        for (int v = 0; v < B::vectors; ++v) {
          const V upstream = B::L::Load(bin + v * B::lanes);
          sum_y1 += upstream * by_y1[v];
          sum_y2 += upstream * by_y2[v];
          sum_x1 += upstream * by_x1[v];
          sum_x2 += upstream * by_x2[v];
        }
        x1 += Sum<W, B::lanes>(sum_x1);
        y1 += Sum<W, B::lanes>(sum_y1);
        x2 += Sum<W, B::lanes>(sum_x2);
        y2 += Sum<W, B::lanes>(sum_y2);
      }
    }
  });
  grad[0] = x1;
  grad[1] = y1;
  grad[2] = x2;
  grad[3] = y2;
}

}  // namespace
}  // namespace TF_ROIALIGN_LEVEL
}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CPU_SIMD_MAX_INL_H_
