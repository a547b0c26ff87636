// The inner loops on CPU, compiled once for each SIMD level by a file that
// defines TF_ROIALIGN_LEVEL and is given that level's instruction set.
//
// Everything but Kernels() has internal linkage, and no function of another
// header with external linkage is used: otherwise the linker could pick the
// copy of one level for all.
//
// Vectors run over channels (GCC vector extensions, which every target
// lowers to what it has). Accumulators are explicit, so that they stay in
// registers.

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "cc/core/cpu_kernels.h"

#if defined(__F16C__)
#include <immintrin.h>
#endif

namespace tf_roialign {
namespace TF_ROIALIGN_LEVEL {
namespace {

#if defined(__AVX512F__)
constexpr int kRegisterBytes = 64;
constexpr int kBlockVectors = 16;  // of 32 registers
#elif defined(__AVX2__)
constexpr int kRegisterBytes = 32;
constexpr int kBlockVectors = 8;  // of 16 registers
#else
constexpr int kRegisterBytes = 16;
constexpr int kBlockVectors = 8;
#endif

#define TF_ROIALIGN_INLINE inline __attribute__((always_inline))

// ---- Vectors --------------------------------------------------------------

template <typename E, int kLanes>
struct VectorOf {
  typedef E type __attribute__((vector_size(sizeof(E) * kLanes)));
};
template <typename E>
struct VectorOf<E, 1> {
  using type = E;
};
template <typename E, int kLanes>
using Vector = typename VectorOf<E, kLanes>::type;

template <typename To, typename From>
TF_ROIALIGN_INLINE To BitCast(const From& from) {
  static_assert(sizeof(To) == sizeof(From), "");
  To to;
  std::memcpy(&to, &from, sizeof(to));
  return to;
}

template <typename V>
TF_ROIALIGN_INLINE V LoadBits(const void* from) {
  V v;
  std::memcpy(&v, from, sizeof(v));
  return v;
}

template <typename To, typename From>
TF_ROIALIGN_INLINE To Convert(From from) {
  return __builtin_convertvector(from, To);
}

// Loads and stores kLanes features as accumulators.
template <typename T, int kLanes>
struct Lanes {  // float, double
  using V = Vector<T, kLanes>;
  static TF_ROIALIGN_INLINE V Load(const T* from) { return LoadBits<V>(from); }
  static TF_ROIALIGN_INLINE void Store(V v, T* to) {
    std::memcpy(to, &v, sizeof(v));
  }
};

template <int kLanes>
struct Lanes<BFloat16, kLanes> {
  using V = Vector<float, kLanes>;
  using U32 = Vector<uint32_t, kLanes>;
  using U16 = Vector<uint16_t, kLanes>;
  static TF_ROIALIGN_INLINE V Load(const BFloat16* from) {
    return BitCast<V>(Convert<U32>(LoadBits<U16>(from)) << 16);
  }
  static TF_ROIALIGN_INLINE void Store(V v, BFloat16* to) {
    const U32 bits = BitCast<U32>(v);
    const U32 is_nan = BitCast<U32>(v != v);
    const U32 rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    const U32 quiet = (bits >> 16) | 0x40u;
    const U16 result = Convert<U16>((is_nan & quiet) | (~is_nan & rounded));
    std::memcpy(to, &result, sizeof(result));
  }
};

template <>
struct Lanes<BFloat16, 1> {
  using V = float;
  static TF_ROIALIGN_INLINE V Load(const BFloat16* from) {
    return ToFloat(*from);
  }
  static TF_ROIALIGN_INLINE void Store(V v, BFloat16* to) {
    *to = ToBFloat16(v);
  }
};

// The vector form of ToFloat(Half) and ToHalf, for targets without F16C.
template <int kLanes>
struct Lanes<Half, kLanes> {
  using V = Vector<float, kLanes>;
  using U32 = Vector<uint32_t, kLanes>;
  using I32 = Vector<int32_t, kLanes>;
  using U16 = Vector<uint16_t, kLanes>;
  static TF_ROIALIGN_INLINE V Load(const Half* from) {
    const U32 half = Convert<U32>(LoadBits<U16>(from));
    const U32 magnitude = half & 0x7fffu;
    const U32 is_special = BitCast<U32>(magnitude >= 0x7c00u);
    const U32 is_subnormal = BitCast<U32>(magnitude < 0x0400u);
    const U32 special = (magnitude << 13) | 0x7f800000u;
    const U32 subnormal =
        BitCast<U32>(Convert<V>(BitCast<I32>(magnitude)) * 0x1p-24f);
    const U32 normal = (magnitude << 13) + (112u << 23);
    const U32 bits = (is_special & special) | (is_subnormal & subnormal) |
                     (~(is_special | is_subnormal) & normal);
    return BitCast<V>(bits | ((half & 0x8000u) << 16));
  }
  static TF_ROIALIGN_INLINE void Store(V v, Half* to) {
    const U32 all = BitCast<U32>(v);
    const U32 sign = (all >> 16) & 0x8000u;
    const U32 bits = all & 0x7fffffffu;
    const U32 is_nan = BitCast<U32>(bits > 0x7f800000u);
    const U32 is_huge = BitCast<U32>(bits >= 0x477ff000u);
    const U32 is_small = BitCast<U32>(bits < 0x38800000u);
    const U32 small = BitCast<U32>(BitCast<V>(bits) + 0.5f) - 0x3f000000u;
    const U32 normal =
        (bits + 0xfffu + ((bits >> 13) & 1u) - 0x38000000u) >> 13;
    U32 half = (is_small & small) | (~is_small & normal);
    half = (is_huge & 0x7c00u) | (~is_huge & half);
    half = (is_nan & 0x7e00u) | (~is_nan & half);
    const U16 result = Convert<U16>(half | sign);
    std::memcpy(to, &result, sizeof(result));
  }
};

template <>
struct Lanes<Half, 1> {
  using V = float;
  static TF_ROIALIGN_INLINE V Load(const Half* from) { return ToFloat(*from); }
  static TF_ROIALIGN_INLINE void Store(V v, Half* to) { *to = ToHalf(v); }
};

#if defined(__F16C__)
constexpr int kNearestEven = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;

template <>
struct Lanes<Half, 4> {
  using V = Vector<float, 4>;
  static TF_ROIALIGN_INLINE V Load(const Half* from) {
    return BitCast<V>(
        _mm_cvtph_ps(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from))));
  }
  static TF_ROIALIGN_INLINE void Store(V v, Half* to) {
    _mm_storel_epi64(reinterpret_cast<__m128i*>(to),
                     _mm_cvtps_ph(BitCast<__m128>(v), kNearestEven));
  }
};

template <>
struct Lanes<Half, 8> {
  using V = Vector<float, 8>;
  static TF_ROIALIGN_INLINE V Load(const Half* from) {
    return BitCast<V>(_mm256_cvtph_ps(
        _mm_loadu_si128(reinterpret_cast<const __m128i*>(from))));
  }
  static TF_ROIALIGN_INLINE void Store(V v, Half* to) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to),
                     _mm256_cvtps_ph(BitCast<__m256>(v), kNearestEven));
  }
};
#endif

#if defined(__AVX512F__)
template <>
struct Lanes<Half, 16> {
  using V = Vector<float, 16>;
  static TF_ROIALIGN_INLINE V Load(const Half* from) {
    // The masked forms: GCC 12 warns about the plain ones' undefined operand.
    return BitCast<V>(_mm512_maskz_cvtph_ps(
        0xffff, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from))));
  }
  static TF_ROIALIGN_INLINE void Store(V v, Half* to) {
    _mm256_storeu_si256(
        reinterpret_cast<__m256i*>(to),
        _mm512_maskz_cvtps_ph(0xffff, BitCast<__m512>(v), kNearestEven));
  }
};
#endif

template <typename W, int kLanes>
TF_ROIALIGN_INLINE W Sum(Vector<W, kLanes> v) {
  if constexpr (kLanes == 1) {
    return v;
  } else {
    W sum = 0;
    for (int i = 0; i < kLanes; ++i) sum += v[i];
    return sum;
  }
}

// ---- Channel blocks -------------------------------------------------------

template <typename T, int kLanes, int kVectors>
struct Block {
  using L = Lanes<T, kLanes>;
  using V = typename L::V;
  static constexpr int lanes = kLanes;
  static constexpr int vectors = kVectors;
};

template <typename T>
constexpr int kFullLanes = kRegisterBytes / int(sizeof(Accumulator<T>));

// Calls visit(block, first channel) for blocks that cover all channels: the
// widest first, single channels last.
template <typename T, typename Visit>
TF_ROIALIGN_INLINE void ForEachBlock(int64_t channels, const Visit& visit) {
  constexpr int kFull = kFullLanes<T>;
  int64_t c = 0;
  for (; c + kFull * kBlockVectors <= channels; c += kFull * kBlockVectors) {
    visit(Block<T, kFull, kBlockVectors>(), c);
  }
  for (; c + kFull * 4 <= channels; c += kFull * 4) {
    visit(Block<T, kFull, 4>(), c);
  }
  for (; c + kFull * 2 <= channels; c += kFull * 2) {
    visit(Block<T, kFull, 2>(), c);
  }
  for (; c + kFull <= channels; c += kFull) visit(Block<T, kFull, 1>(), c);
  if constexpr (kFull > 4) {
    for (; c + 4 <= channels; c += 4) visit(Block<T, 4, 1>(), c);
  }
  for (; c < channels; ++c) visit(Block<T, 1, 1>(), c);
}

// ---- Operators ------------------------------------------------------------

template <typename T>
void Forward(const BoxTaps<Accumulator<T>>& taps, const T* image,
             int64_t row_stride, int64_t channels, T* output) {
  using W = Accumulator<T>;
  const TapsView<W>& y = taps.y;
  const TapsView<W>& x = taps.x;
  // Blocks outermost: a block's window stays in cache from bin to bin.
  ForEachBlock<T>(channels, [&](auto block, int64_t c) {
    using B = decltype(block);
    using V = typename B::V;
    T* bin = output + c;
    for (int64_t p = 0; p < taps.pooled_height; ++p) {
      for (int64_t q = 0; q < taps.pooled_width; ++q, bin += channels) {
        V sums[B::vectors] = {};
        for (int64_t i = y.begin[p]; i < y.begin[p + 1]; ++i) {
          const T* row = image + y.pixel[i] * row_stride + c;
          for (int64_t j = x.begin[q]; j < x.begin[q + 1]; ++j) {
            const T* pixel = row + x.pixel[j] * channels;
            const W weight = y.weight[i] * x.weight[j];
#pragma GCC unroll 16
            for (int v = 0; v < B::vectors; ++v) {
              sums[v] += weight * B::L::Load(pixel + v * B::lanes);
            }
          }
        }
#pragma GCC unroll 16
        for (int v = 0; v < B::vectors; ++v) {
          B::L::Store(sums[v], bin + v * B::lanes);
        }
      }
    }
  });
}

// Two passes, row by row: first the rows of bins that touch a row of the map
// are summed to one, then each of the row's pixels takes its share of it. A
// pixel is loaded and stored once, however many bins touch it.
template <typename T>
void FeatureGrad(const BoxPixelTaps<Accumulator<T>>& taps, const T* grad_output,
                 int64_t channels, int64_t row_first, int64_t row_last,
                 int64_t row_stride, Accumulator<T>* band,
                 Accumulator<T>* scratch) {
  using W = Accumulator<T>;
  const PixelTapsView<W>& y = taps.y;
  const PixelTapsView<W>& x = taps.x;
  const int64_t bin_row = taps.pooled_width * channels;
  int64_t first = 0, last = y.count;
  while (first < last && y.pixel[first] < row_first) ++first;
  while (first < last && y.pixel[last - 1] >= row_last) --last;
  ForEachBlock<T>(channels, [&](auto block, int64_t c) {
    using B = decltype(block);
    using V = typename B::V;
    using A = Lanes<W, B::lanes>;
    constexpr int kBlock = B::lanes * B::vectors;
    static_assert(kBlock <= kMaxBlockChannels, "");
    for (int64_t i = first; i < last; ++i) {
      const T* bin = grad_output + c;
      W* summed = scratch;
      for (int64_t q = 0; q < taps.pooled_width; ++q) {
        V sums[B::vectors] = {};
        for (int64_t t = y.begin[i]; t < y.begin[i + 1]; ++t) {
          const T* from = bin + y.bin[t] * bin_row;
#pragma GCC unroll 16
          for (int v = 0; v < B::vectors; ++v) {
            sums[v] += y.weight[t] * B::L::Load(from + v * B::lanes);
          }
        }
#pragma GCC unroll 16
        for (int v = 0; v < B::vectors; ++v) {
          A::Store(sums[v], summed + v * B::lanes);
        }
        bin += channels;
        summed += kBlock;
      }
      W* row = band + (y.pixel[i] - row_first) * row_stride + c;
      for (int64_t j = 0; j < x.count; ++j) {
        W* pixel = row + x.pixel[j] * channels;
        V sums[B::vectors];
#pragma GCC unroll 16
        for (int v = 0; v < B::vectors; ++v) {
          sums[v] = A::Load(pixel + v * B::lanes);
        }
        for (int64_t t = x.begin[j]; t < x.begin[j + 1]; ++t) {
          const W* from = scratch + x.bin[t] * kBlock;
#pragma GCC unroll 16
          for (int v = 0; v < B::vectors; ++v) {
            sums[v] += x.weight[t] * A::Load(from + v * B::lanes);
          }
        }
#pragma GCC unroll 16
        for (int v = 0; v < B::vectors; ++v) {
          A::Store(sums[v], pixel + v * B::lanes);
        }
      }
    }
  });
}

// <a, b> over channels.
template <typename T>
TF_ROIALIGN_INLINE double Dot(const T* a, const T* b, int64_t channels) {
  double sum = 0;
  ForEachBlock<T>(channels, [&](auto block, int64_t c) {
    using B = decltype(block);
    constexpr int kSums = B::vectors < 4 ? B::vectors : 4;
    typename B::V sums[kSums] = {};
#pragma GCC unroll 16
    for (int v = 0; v < B::vectors; ++v) {
      sums[v % kSums] +=
          B::L::Load(a + c + v * B::lanes) * B::L::Load(b + c + v * B::lanes);
    }
    typename B::V total = sums[0];
    for (int s = 1; s < kSums; ++s) total += sums[s];
    sum += Sum<Accumulator<T>, B::lanes>(total);
  });
  return sum;
}

// Collects g^T (dA / d box) f from the products of one upstream bin with the
// pixels that it touches.
struct BoxGradSum {
  double x1 = 0, y1 = 0, x2 = 0, y2 = 0;

  template <typename W>
  TF_ROIALIGN_INLINE void Add(const BoxTaps<W>& taps, int64_t i, int64_t j,
                              double product) {
    const double along_y = taps.y.weight[i] * product;
    const double along_x = taps.x.weight[j] * product;
    x1 += along_y * taps.x.slope1[j];
    x2 += along_y * taps.x.slope2[j];
    y1 += along_x * taps.y.slope1[i];
    y2 += along_x * taps.y.slope2[i];
  }

  void Store(double grad[4]) const {
    grad[0] = x1;
    grad[1] = y1;
    grad[2] = x2;
    grad[3] = y2;
  }
};

template <typename T>
void BoxGrad(const BoxTaps<Accumulator<T>>& taps, const T* grad_output,
             const T* image, int64_t row_stride, int64_t channels,
             double grad[4]) {
  const auto& y = taps.y;
  const auto& x = taps.x;
  BoxGradSum sum;
  const T* bin = grad_output;
  for (int64_t p = 0; p < taps.pooled_height; ++p) {
    for (int64_t q = 0; q < taps.pooled_width; ++q, bin += channels) {
      for (int64_t i = y.begin[p]; i < y.begin[p + 1]; ++i) {
        const T* row = image + y.pixel[i] * row_stride;
        for (int64_t j = x.begin[q]; j < x.begin[q + 1]; ++j) {
          sum.Add(taps, i, j, Dot(bin, row + x.pixel[j] * channels, channels));
        }
      }
    }
  }
  sum.Store(grad);
}

template <typename T>
void Round(const Accumulator<T>* from, int64_t count, T* to) {
  ForEachBlock<T>(count, [&](auto block, int64_t i) {
    using B = decltype(block);
    using A = Lanes<Accumulator<T>, B::lanes>;
#pragma GCC unroll 16
    for (int v = 0; v < B::vectors; ++v) {
      B::L::Store(A::Load(from + i + v * B::lanes), to + i + v * B::lanes);
    }
  });
}

// ---- Layouts --------------------------------------------------------------

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
      v[i] = __builtin_shuffle(a, b, low);
      v[i + step] = __builtin_shuffle(a, b, high);
    }
  }
}

// to[j * to_stride + i] = from[i * from_stride + j], squares first, the rim one
// by one.
template <typename From, typename To>
TF_ROIALIGN_INLINE void Transpose(const From* from, int64_t from_stride,
                                  int64_t rows, int64_t columns, To* to,
                                  int64_t to_stride) {
  using W = Accumulator<From>;
  constexpr int kLanes = kFullLanes<From>;
  int64_t i = 0;
  for (; i + kLanes <= rows; i += kLanes) {
    int64_t j = 0;
    for (; j + kLanes <= columns; j += kLanes) {
      Vector<W, kLanes> square[kLanes];
#pragma GCC unroll 16
      for (int r = 0; r < kLanes; ++r) {
        square[r] = Lanes<From, kLanes>::Load(from + (i + r) * from_stride + j);
      }
      TransposeSquare<W, kLanes>(square);
#pragma GCC unroll 16
      for (int r = 0; r < kLanes; ++r) {
        Lanes<To, kLanes>::Store(square[r], to + (j + r) * to_stride + i);
      }
    }
    for (; j < columns; ++j) {
      for (int64_t r = i; r < i + kLanes; ++r) {
        Lanes<To, 1>::Store(Lanes<From, 1>::Load(from + r * from_stride + j),
                            to + j * to_stride + r);
      }
    }
  }
  for (; i < rows; ++i) {
    for (int64_t j = 0; j < columns; ++j) {
      Lanes<To, 1>::Store(Lanes<From, 1>::Load(from + i * from_stride + j),
                          to + j * to_stride + i);
    }
  }
}

template <typename T>
void ChannelsLast(const T* from, int64_t from_stride, int64_t channels,
                  int64_t pixels, Accumulator<T>* to) {
  Transpose(from, from_stride, channels, pixels, to, channels);
}

template <typename T>
void ChannelsFirst(const Accumulator<T>* from, int64_t pixels, int64_t channels,
                   T* to, int64_t to_stride) {
  Transpose(from, channels, pixels, channels, to, to_stride);
}

}  // namespace

template <typename T>
const CpuKernels<T>& Kernels() {
  static const CpuKernels<T> kernels = {Forward<T>,      FeatureGrad<T>,
                                        BoxGrad<T>,      Round<T>,
                                        ChannelsLast<T>, ChannelsFirst<T>};
  return kernels;
}

template const CpuKernels<float>& Kernels<float>();
template const CpuKernels<double>& Kernels<double>();
template const CpuKernels<Half>& Kernels<Half>();
template const CpuKernels<BFloat16>& Kernels<BFloat16>();

#undef TF_ROIALIGN_INLINE

}  // namespace TF_ROIALIGN_LEVEL
}  // namespace tf_roialign
