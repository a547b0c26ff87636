// Accumulators to features, and channels first to channels last and back.

#ifndef TF_ROIALIGN_CC_CORE_CPU_SIMD_LAYOUTS_INL_H_
#define TF_ROIALIGN_CC_CORE_CPU_SIMD_LAYOUTS_INL_H_

#include <cstdint>
#include <type_traits>

#include "cc/core/cpu/simd/blocks-inl.h"
#include "cc/core/cpu/simd/code_lanes-inl.h"
#include "cc/core/cpu/simd/float_lanes-inl.h"
#include "cc/core/cpu/simd/vectors-inl.h"
#include "cc/core/dtypes/float16.h"
#include "cc/core/dtypes/quantization.h"

namespace tf_roialign {
namespace TF_ROIALIGN_LEVEL {
namespace {

template <typename T, bool kStream>
TF_ROIALIGN_INLINE void PackAll(const Accumulator<T>* from, int64_t count,
                                T* to) {
  ForEachBlock<T>(count, [&](auto block, int64_t i) {
    using B = decltype(block);
    PackBlock<B, kStream>(from + i, to + i);
  });
}

template <typename T>
void Pack(const Accumulator<T>* from, int64_t count, bool stream, T* to) {
  if (stream) {
    PackAll<T, true>(from, count, to);
  } else {
    PackAll<T, false>(from, count, to);
  }
}

// Lane j is the one that index[j] says, of a and then b.
template <typename V, typename Index>
TF_ROIALIGN_INLINE V Shuffle(V a, V b, Index index) {
#if defined(__clang__)  // only fuzzed (cc/core/fuzz)
  constexpr int kLanes = sizeof(V) / sizeof(a[0]);
  V result = a;
  for (int j = 0; j < kLanes; ++j) {
    result[j] = index[j] < kLanes ? a[index[j]] : b[index[j] - kLanes];
  }
  return result;
#else
  return __builtin_shuffle(a, b, index);
#endif
}

// v[i][j] becomes v[j][i]: halves are swapped at distances 1, 2, 4, ...
template <typename W, int kLanes>
TF_ROIALIGN_INLINE void TransposeSquare(Vector<W, kLanes> (&v)[kLanes]) {
  using Index = std::conditional_t<sizeof(W) == 8, int64_t, int32_t>;
#pragma GCC unroll 4
  for (int step = 1; step < kLanes; step *= 2) {
    Vector<Index, kLanes> low, high;
#pragma GCC unroll 16
    for (int j = 0; j < kLanes; ++j) {
      low[j] = j & step ? kLanes + (j ^ step) : j;
      high[j] = j & step ? kLanes + j : j ^ step;
    }
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i) {
      if (i & step) continue;
      const Vector<W, kLanes> a = v[i], b = v[i + step];
      v[i] = Shuffle(a, b, low);
      v[i + step] = Shuffle(a, b, high);
    }
  }
}

// Writes accumulators, or what planes of T hold of them.
template <typename T>
struct FromPlanes {
  using From = T;
  using To = Accumulator<T>;

  template <int kLanes, typename V>
  TF_ROIALIGN_INLINE void Write(V v, To* to) const {
    Store<To, kLanes>(v, to);
  }
};

template <typename T>
struct ToPlanes {
  using From = Accumulator<T>;
  using To = T;
  Requantization<From> to_codes;

  template <int kLanes, typename V>
  TF_ROIALIGN_INLINE void Write(V v, To* to) const {
    StoreBin<T, kLanes>(v, to_codes, to);
  }
};

template <int kLanes, typename Move>
TF_ROIALIGN_INLINE void MoveSquare(const Move& move,
                                   const typename Move::From* from,
                                   int64_t from_stride, typename Move::To* to,
                                   int64_t to_stride) {
  using From = typename Move::From;
  using W = Accumulator<From>;
  Vector<W, kLanes> square[kLanes];
#pragma GCC unroll 16
  for (int r = 0; r < kLanes; ++r) {
    square[r] = Lanes<From, kLanes>::Load(from + r * from_stride);
  }
  TransposeSquare<W, kLanes>(square);
#pragma GCC unroll 16
  for (int r = 0; r < kLanes; ++r) {
    move.template Write<kLanes>(square[r], to + r * to_stride);
  }
}

// to[j * to_stride + i] becomes what `move` makes of from[i * from_stride + j],
// `strip` columns at a time.
template <typename Move>
TF_ROIALIGN_INLINE void Transpose(const Move& move,
                                  const typename Move::From* from,
                                  int64_t from_stride, int64_t rows,
                                  int64_t columns, int64_t strip,
                                  typename Move::To* to, int64_t to_stride) {
  using From = typename Move::From;
  constexpr int kLanes = kFullLanes<From>;
  if (rows < kLanes || columns < kLanes) {
    for (int64_t i = 0; i < rows; ++i) {
      for (int64_t j = 0; j < columns; ++j) {
        move.template Write<1>(Lanes<From, 1>::Load(from + i * from_stride + j),
                               to + j * to_stride + i);
      }
    }
    return;
  }
  // At the rim a square overlaps the one before, and writes the same again.
  const auto at_most = [](int64_t i, int64_t last) {
    return i < last ? i : last;
  };
  for (int64_t first = 0; first < columns; first += strip) {
    const int64_t last = at_most(first + strip, columns);
    for (int64_t row = 0; row < rows; row += kLanes) {
      const int64_t i = at_most(row, rows - kLanes);
      for (int64_t column = first; column < last; column += kLanes) {
        const int64_t j = at_most(column, columns - kLanes);
        MoveSquare<kLanes>(move, from + i * from_stride + j, from_stride,
                           to + j * to_stride + i, to_stride);
      }
    }
  }
}

template <typename T>
void ChannelsLast(const T* from, int64_t from_stride, int64_t channels,
                  int64_t pixels, Accumulator<T>* to) {
  // All channels of these pixels are written before they leave the cache.
  constexpr int64_t kStrip = 128;
  Transpose(FromPlanes<T>(), from, from_stride, channels, pixels, kStrip, to,
            channels);
}

template <typename T>
void ChannelsFirst(const Accumulator<T>* from, int64_t pixels, int64_t channels,
                   const Requantization<Accumulator<T>>& to_codes, T* to,
                   int64_t to_stride) {
  // A channel's pixels are written in one go.
  constexpr int64_t kStrip = kFullLanes<T>;
  Transpose(ToPlanes<T>{to_codes}, from, channels, pixels, channels, kStrip, to,
            to_stride);
}

}  // namespace
}  // namespace TF_ROIALIGN_LEVEL
}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CPU_SIMD_LAYOUTS_INL_H_
