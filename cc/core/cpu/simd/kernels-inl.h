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
#include <limits>
#include <type_traits>

#include "cc/core/cpu/simd/kernels.h"

#if defined(__SSE2__)
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

// Loads kLanes features as accumulators, and packs accumulators to the bits of
// features.
template <typename T, int kLanes>
struct Lanes {  // float, double
  using V = Vector<T, kLanes>;
  static TF_ROIALIGN_INLINE V Load(const T* from) { return LoadBits<V>(from); }
  static TF_ROIALIGN_INLINE V Pack(V v) { return v; }
};

template <int kLanes>
struct Lanes<BFloat16, kLanes> {
  using V = Vector<float, kLanes>;
  using U32 = Vector<uint32_t, kLanes>;
  using U16 = Vector<uint16_t, kLanes>;

  // GCC 12 converts a half vector at a time, unless it is told the instruction.
  static TF_ROIALIGN_INLINE U32 Widen(U16 v) {
#if defined(__AVX512F__)
    if constexpr (kLanes == 16) {
      return BitCast<U32>(
          _mm512_maskz_cvtepu16_epi32(0xffff, BitCast<__m256i>(v)));
    }
#endif
#if defined(__AVX2__)
    if constexpr (kLanes == 8) {
      return BitCast<U32>(_mm256_cvtepu16_epi32(BitCast<__m128i>(v)));
    }
#endif
    return Convert<U32>(v);
  }
  static TF_ROIALIGN_INLINE U16 Narrow(U32 v) {
#if defined(__AVX512F__)
    if constexpr (kLanes == 16) {
      return BitCast<U16>(
          _mm512_maskz_cvtepi32_epi16(0xffff, BitCast<__m512i>(v)));
    }
#endif
    return Convert<U16>(v);
  }

  static TF_ROIALIGN_INLINE V Load(const BFloat16* from) {
    return BitCast<V>(Widen(LoadBits<U16>(from)) << 16);
  }
  static TF_ROIALIGN_INLINE U16 Pack(V v) {
    const U32 bits = BitCast<U32>(v);
    const U32 is_nan = BitCast<U32>(v != v);
    const U32 rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    const U32 quiet = (bits >> 16) | 0x40u;
    return Narrow((is_nan & quiet) | (~is_nan & rounded));
  }
};

template <>
struct Lanes<BFloat16, 1> {
  using V = float;
  static TF_ROIALIGN_INLINE V Load(const BFloat16* from) {
    return ToFloat(*from);
  }
  static TF_ROIALIGN_INLINE BFloat16 Pack(V v) { return ToBFloat16(v); }
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
  static TF_ROIALIGN_INLINE U16 Pack(V v) {
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
    return Convert<U16>(half | sign);
  }
};

template <>
struct Lanes<Half, 1> {
  using V = float;
  static TF_ROIALIGN_INLINE V Load(const Half* from) { return ToFloat(*from); }
  static TF_ROIALIGN_INLINE Half Pack(V v) { return ToHalf(v); }
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
  static TF_ROIALIGN_INLINE int64_t Pack(V v) {
    return _mm_cvtsi128_si64(_mm_cvtps_ph(BitCast<__m128>(v), kNearestEven));
  }
};

template <>
struct Lanes<Half, 8> {
  using V = Vector<float, 8>;
  static TF_ROIALIGN_INLINE V Load(const Half* from) {
    return BitCast<V>(_mm256_cvtph_ps(
        _mm_loadu_si128(reinterpret_cast<const __m128i*>(from))));
  }
  static TF_ROIALIGN_INLINE __m128i Pack(V v) {
    return _mm256_cvtps_ph(BitCast<__m256>(v), kNearestEven);
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
  static TF_ROIALIGN_INLINE __m256i Pack(V v) {
    return _mm512_maskz_cvtps_ph(0xffff, BitCast<__m512>(v), kNearestEven);
  }
};
#endif

// Codes of 8 bits are floats in registers, those of 32 bits doubles.
template <typename T, int kLanes>
struct CodeLanes {
  using W = Accumulator<T>;
  using V = Vector<W, kLanes>;
  using Codes = Vector<T, kLanes>;
  static TF_ROIALIGN_INLINE V Load(const T* from) {
    return ToAccumulators(LoadBits<Codes>(from));
  }

  // The rule of quantization.h. `sums`: of code - zero.
  static TF_ROIALIGN_INLINE Codes FromSums(V sums,
                                           const Requantization<W>& to_codes) {
    return Saturate(Round(ByScale(sums, to_codes)) + Integer(to_codes.zero));
  }

#if defined(__SSE2__)
  // A register of codes at once, of the sums of four.
  static constexpr bool kFours = sizeof(T) == 1 && kLanes * 4 == kRegisterBytes;
  static TF_ROIALIGN_INLINE Vector<T, kLanes * 4> FromFourSums(
      const V* sums, const Requantization<W>& to_codes) {
    Integers i[4];
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) i[v] = Round(ByScale(sums[v], to_codes));
    const int16_t zero = static_cast<int16_t>(to_codes.zero);
    const Words zeros = Words{} + zero;
    return PackBytes(PackWords(i[0], i[1]) + zeros,
                     PackWords(i[2], i[3]) + zeros);
  }
#else
  static constexpr bool kFours = false;
#endif

 private:
  using Integer = std::conditional_t<sizeof(W) == 4, int32_t, int64_t>;
  using Integers = Vector<Integer, kLanes>;
  using Words = Vector<int16_t, kLanes * 2>;

  static TF_ROIALIGN_INLINE V ByScale(V sums,
                                      const Requantization<W>& to_codes) {
    V v = sums * to_codes.factor;
    if (to_codes.divisor != 1) v /= to_codes.divisor;
    if constexpr (sizeof(W) == 4) v *= to_codes.inverse;
    return v;
  }

  // GCC 12 needs to be told the instructions, as for bfloat16.
  static TF_ROIALIGN_INLINE V ToAccumulators(Codes codes) {
    if constexpr (sizeof(T) == 4) {
#if defined(__AVX512F__)
      if constexpr (kLanes == 8) {
        return BitCast<V>(
            _mm512_maskz_cvtepi32_pd(0xff, BitCast<__m256i>(codes)));
      }
#endif
#if defined(__AVX2__)
      if constexpr (kLanes == 4) {
        return BitCast<V>(_mm256_cvtepi32_pd(BitCast<__m128i>(codes)));
      }
#endif
      return Convert<V>(codes);
    } else {
#if defined(__AVX512F__)
      if constexpr (kLanes == 16) {
        const __m128i bytes = BitCast<__m128i>(codes);
        return BitCast<V>(_mm512_maskz_cvtepi32_ps(
            0xffff, std::is_signed_v<T>
                        ? _mm512_maskz_cvtepi8_epi32(0xffff, bytes)
                        : _mm512_maskz_cvtepu8_epi32(0xffff, bytes)));
      }
#endif
#if defined(__AVX2__)
      if constexpr (kLanes == 8) {
        const __m128i bytes = _mm_cvtsi64_si128(BitCast<int64_t>(codes));
        return BitCast<V>(_mm256_cvtepi32_ps(
            std::is_signed_v<T> ? _mm256_cvtepi8_epi32(bytes)
                                : _mm256_cvtepu8_epi32(bytes)));
      }
#endif
      return Convert<V>(Convert<Integers>(codes));
    }
  }
  // To the nearest, half to even. |v| is below 2^9 for codes of 8 bits, below
  // 2^33 for those of 32.
  static TF_ROIALIGN_INLINE Integers Round(V v) {
    if constexpr (sizeof(W) == 4) {
#if defined(__AVX512F__)
      if constexpr (kLanes == 16) {
        return BitCast<Integers>(
            _mm512_maskz_cvtps_epi32(0xffff, BitCast<__m512>(v)));
      }
#endif
#if defined(__AVX2__)
      if constexpr (kLanes == 8) {
        return BitCast<Integers>(_mm256_cvtps_epi32(BitCast<__m256>(v)));
      }
#endif
#if defined(__SSE2__)
      if constexpr (kLanes == 4) {
        return BitCast<Integers>(_mm_cvtps_epi32(BitCast<__m128>(v)));
      }
#endif
      // Nothing is beyond; but with this in between, the product that v is and
      // the sum below are not fused, and v is rounded as everywhere.
      const V limit = V{} + W(512);
      v = v > limit ? limit : v;
    }
    // The last place of the sum is that of 1. For codes of 32 bits v is a
    // quotient or an exact product: being fused changes nothing.
    constexpr W kRounder = sizeof(W) == 4 ? W(0x1.8p23) : W(0x1.8p52);
    return BitCast<Integers>(v + kRounder) - BitCast<Integer>(kRounder);
  }
  // To the limits of the codes.
  static TF_ROIALIGN_INLINE Codes Saturate(Integers v) {
    constexpr Integer kLow = std::numeric_limits<T>::min();
    constexpr Integer kHigh = std::numeric_limits<T>::max();
#if defined(__AVX512F__)
    if constexpr (sizeof(T) == 1 && kLanes == 16) {
      if constexpr (std::is_signed_v<T>) {
        return BitCast<Codes>(
            _mm512_maskz_cvtsepi32_epi8(0xffff, BitCast<__m512i>(v)));
      } else {
        v = v < kLow ? Integers{} + kLow : v;
        return BitCast<Codes>(
            _mm512_maskz_cvtusepi32_epi8(0xffff, BitCast<__m512i>(v)));
      }
    }
    if constexpr (sizeof(T) == 4 && kLanes == 8) {
      return BitCast<Codes>(
          _mm512_maskz_cvtsepi64_epi32(0xff, BitCast<__m512i>(v)));
    }
#endif
#if defined(__SSE2__)
    if constexpr (sizeof(T) == 1 && (kLanes == 4 || kLanes == 8)) {
      __m128i words;  // kLanes of them count
      if constexpr (kLanes == 4) {
        words = _mm_packs_epi32(BitCast<__m128i>(v), BitCast<__m128i>(v));
      } else {
        struct Halves {
          __m128i low, high;
        };
        const Halves halves = BitCast<Halves>(v);
        words = _mm_packs_epi32(halves.low, halves.high);
      }
      const __m128i bytes = std::is_signed_v<T>
                                ? _mm_packs_epi16(words, words)
                                : _mm_packus_epi16(words, words);
      if constexpr (kLanes == 4) {
        return BitCast<Codes>(_mm_cvtsi128_si32(bytes));
      } else {
        return BitCast<Codes>(_mm_cvtsi128_si64(bytes));
      }
    }
#endif
    v = v < kLow ? Integers{} + kLow : v;
    v = v > kHigh ? Integers{} + kHigh : v;
    return Convert<Codes>(v);
  }

  // Both saturate. They keep to parts of 16 bytes: PackBytes brings the four
  // vectors' parts, 4 bytes each by now, into order.
#if defined(__SSE2__)
  static TF_ROIALIGN_INLINE Words PackWords(Integers a, Integers b) {
#if defined(__AVX512F__)
    if constexpr (kLanes == 16) {
      return BitCast<Words>(_mm512_maskz_packs_epi32(
          0xffffffff, BitCast<__m512i>(a), BitCast<__m512i>(b)));
    }
#endif
#if defined(__AVX2__)
    if constexpr (kLanes == 8) {
      return BitCast<Words>(
          _mm256_packs_epi32(BitCast<__m256i>(a), BitCast<__m256i>(b)));
    }
#endif
    if constexpr (kLanes == 4) {
      return BitCast<Words>(
          _mm_packs_epi32(BitCast<__m128i>(a), BitCast<__m128i>(b)));
    }
  }
  static TF_ROIALIGN_INLINE Vector<T, kLanes * 4> PackBytes(Words a, Words b) {
    using Bytes = Vector<T, kLanes * 4>;
    constexpr bool kSigned = std::is_signed_v<T>;
#if defined(__AVX512F__)
    if constexpr (kLanes == 16) {
      const __m512i low = BitCast<__m512i>(a), high = BitCast<__m512i>(b);
      const __m512i bytes =
          kSigned ? _mm512_maskz_packs_epi16(~__mmask64(0), low, high)
                  : _mm512_maskz_packus_epi16(~__mmask64(0), low, high);
      const __m512i order = _mm512_set_epi32(15, 11, 7, 3, 14, 10, 6, 2, 13, 9,
                                             5, 1, 12, 8, 4, 0);
      return BitCast<Bytes>(
          _mm512_maskz_permutexvar_epi32(0xffff, order, bytes));
    }
#endif
#if defined(__AVX2__)
    if constexpr (kLanes == 8) {
      const __m256i low = BitCast<__m256i>(a), high = BitCast<__m256i>(b);
      const __m256i bytes = kSigned ? _mm256_packs_epi16(low, high)
                                    : _mm256_packus_epi16(low, high);
      const __m256i order = _mm256_set_epi32(7, 3, 6, 2, 5, 1, 4, 0);
      return BitCast<Bytes>(_mm256_permutevar8x32_epi32(bytes, order));
    }
#endif
    if constexpr (kLanes == 4) {
      const __m128i low = BitCast<__m128i>(a), high = BitCast<__m128i>(b);
      return BitCast<Bytes>(kSigned ? _mm_packs_epi16(low, high)
                                    : _mm_packus_epi16(low, high));
    }
  }
#endif
};

template <typename T>
struct CodeLanes<T, 1> {
  using V = Accumulator<T>;
  static TF_ROIALIGN_INLINE V Load(const T* from) {
    return static_cast<V>(*from);
  }
  static TF_ROIALIGN_INLINE T FromSums(V sum,
                                       const Requantization<V>& to_codes) {
    using Some = CodeLanes<T, 16 / sizeof(V)>;  // as many as all targets have
    return Some::FromSums(typename Some::V{} + sum, to_codes)[0];
  }
};

template <int kLanes>
struct Lanes<int8_t, kLanes> : CodeLanes<int8_t, kLanes> {};
template <int kLanes>
struct Lanes<uint8_t, kLanes> : CodeLanes<uint8_t, kLanes> {};
template <int kLanes>
struct Lanes<int32_t, kLanes> : CodeLanes<int32_t, kLanes> {};
template <>
struct Lanes<int8_t, 1> : CodeLanes<int8_t, 1> {};
template <>
struct Lanes<uint8_t, 1> : CodeLanes<uint8_t, 1> {};
template <>
struct Lanes<int32_t, 1> : CodeLanes<int32_t, 1> {};

// Past the caches, if kStream: for what is larger than they are and only
// written. Then `to` has to be aligned to a cache line, or to the vector.
template <bool kStream, typename Bits>
TF_ROIALIGN_INLINE void StoreBits(Bits bits, void* to) {
#if defined(__AVX512F__)
  if constexpr (kStream && sizeof(bits) == 64) {
    _mm512_stream_si512(static_cast<__m512i*>(to), BitCast<__m512i>(bits));
    return;
  }
#endif
#if defined(__AVX__)
  if constexpr (kStream && sizeof(bits) == 32) {
    _mm256_stream_si256(static_cast<__m256i*>(to), BitCast<__m256i>(bits));
    return;
  }
#endif
#if defined(__SSE2__)
  if constexpr (kStream && sizeof(bits) == 16) {
    _mm_stream_si128(static_cast<__m128i*>(to), BitCast<__m128i>(bits));
    return;
  }
#endif
  std::memcpy(to, &bits, sizeof(bits));
}

void StreamFence() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

template <typename T, int kLanes, bool kStream = false, typename V>
TF_ROIALIGN_INLINE void Store(V v, T* to) {
  StoreBits<kStream>(Lanes<T, kLanes>::Pack(v), to);
}

// A bin's value, of codes a bin's sum of code - zero.
template <typename T, int kLanes, typename V>
TF_ROIALIGN_INLINE void StoreBin(
    V v, [[maybe_unused]] const Requantization<Accumulator<T>>& to_codes,
    T* to) {
  if constexpr (kIsCode<T>) {
    StoreBits<false>(Lanes<T, kLanes>::FromSums(v, to_codes), to);
  } else {
    Store<T, kLanes>(v, to);
  }
}

template <typename B>
constexpr bool HasFours() {
  if constexpr (B::vectors % 4 == 0) {
    return B::L::kFours;
  } else {
    return false;
  }
}

// The same for a block of channels.
template <typename B, bool kStream, typename T>
TF_ROIALIGN_INLINE void StoreBlock(
    const typename B::V (&sums)[B::vectors],
    [[maybe_unused]] const Requantization<Accumulator<T>>& to_codes, T* to) {
  constexpr int kLanes = B::lanes;
  if constexpr (!kIsCode<T>) {
#pragma GCC unroll 16
    for (int v = 0; v < B::vectors; ++v) {
      Store<T, kLanes, kStream>(sums[v], to + v * kLanes);
    }
  } else if constexpr (HasFours<B>()) {
#pragma GCC unroll 4
    for (int v = 0; v < B::vectors; v += 4) {
      StoreBits<kStream>(B::L::FromFourSums(sums + v, to_codes),
                         to + v * kLanes);
    }
  } else {
#pragma GCC unroll 16
    for (int v = 0; v < B::vectors; ++v) {
      StoreBits<kStream>(B::L::FromSums(sums[v], to_codes), to + v * kLanes);
    }
  }
}

// By halves.
template <typename W, int kLanes>
TF_ROIALIGN_INLINE W Sum(Vector<W, kLanes> v) {
  if constexpr (kLanes == 1) {
    return v;
  } else {
    struct Halves {
      Vector<W, kLanes / 2> low, high;
    };
    const Halves halves = BitCast<Halves>(v);
    return Sum<W, kLanes / 2>(halves.low + halves.high);
  }
}

// ---- Channel blocks -------------------------------------------------------

template <typename T, int kLanes, int kVectors>
struct Block {
  using L = Lanes<T, kLanes>;
  using V = typename L::V;
  static constexpr int lanes = kLanes;
  static constexpr int vectors = kVectors;
  static constexpr int bytes = kVectors * kLanes * sizeof(T);
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

// Half a first cache. What is prefetched beyond that would be gone again.
constexpr int64_t kPrefetchBytes = 24 * 1024;

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
  if ((rows.end - rows.begin) * width * pixel_bytes > kPrefetchBytes) {
    return {0, 0};
  }
  return rows;
}

template <typename B>
TF_ROIALIGN_INLINE void Prefetch(const void* pixel) {
#pragma GCC unroll 16
  for (int b = 0; b < B::bytes; b += 64) {
    __builtin_prefetch(static_cast<const char*>(pixel) + b);
  }
}

// kCodes: the pixels are codes, or hold them as T = float or double, and the
// zero point is taken off the sums. It counts as often as a code does: samples
// outside the map count in neither.
template <typename T, bool kStream, bool kCodes>
void ForwardBins(const BoxTaps<Accumulator<T>>& taps, const T* image,
                 int64_t row_stride, int64_t channels,
                 const Requantization<Accumulator<T>>& rule, T* output) {
  using W = Accumulator<T>;
  const TapsView<W>& y = taps.y;
  const TapsView<W>& x = taps.x;
  // A copy, which stores of codes cannot be taken to change.
  const Requantization<W> to_codes = rule;
  // Blocks outermost: a block's window stays in cache from bin to bin.
  ForEachBlock<T>(channels, [&](auto block, int64_t c) {
    using B = decltype(block);
    using V = typename B::V;
    T* bin = output + c;
    for (int64_t p = 0; p < taps.pooled_height; ++p) {
      const Span ahead =
          RowsToPrefetch(taps, p, B::lanes * B::vectors * sizeof(T));
      for (int64_t q = 0; q < taps.pooled_width; ++q, bin += channels) {
        V sums[B::vectors] = {};
        [[maybe_unused]] W weights = 0;
        if (ahead.begin < ahead.end) {
          const int64_t seen = x.begin[q] > 0 ? x.pixel[x.begin[q] - 1] : -1;
          for (int64_t i = ahead.begin; i < ahead.end; ++i) {
            const T* row = image + y.pixel[i] * row_stride + c;
            for (int64_t j = x.begin[q]; j < x.begin[q + 1]; ++j) {
              if (x.pixel[j] <= seen) continue;
              Prefetch<B>(row + x.pixel[j] * channels);
            }
          }
        }
        for (int64_t i = y.begin[p]; i < y.begin[p + 1]; ++i) {
          const T* row = image + y.pixel[i] * row_stride + c;
          for (int64_t j = x.begin[q]; j < x.begin[q + 1]; ++j) {
            const T* pixel = row + x.pixel[j] * channels;
            const W weight = y.weight[i] * x.weight[j];
            if constexpr (kCodes) weights += weight;
#pragma GCC unroll 16
            for (int v = 0; v < B::vectors; ++v) {
              sums[v] += weight * B::L::Load(pixel + v * B::lanes);
            }
          }
        }
        [[maybe_unused]] const W of_zero = to_codes.zero * weights;
        if constexpr (kCodes) {
#pragma GCC unroll 16
          for (int v = 0; v < B::vectors; ++v) sums[v] -= of_zero;
        }
        StoreBlock<B, kStream>(sums, to_codes, bin);
      }
    }
  });
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

// So that a row of sums stays in the first cache.
constexpr int64_t kMaxSummedColumns = 24;

// Whether it takes fewer loads and stores to sum the rows of a bin row first
// than to take each bin by itself: it does where bins share pixels, as those of
// a box smaller than its output.
template <typename W>
TF_ROIALIGN_INLINE bool SeparablePays(const BoxTaps<W>& taps,
                                      const Span& columns) {
  const int64_t width = columns.length();
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
  ForEachBlock<T>(channels, [&](auto block, int64_t c) {
    using B = decltype(block);
    using V = typename B::V;
    V summed[kMaxSummedColumns * B::vectors];
    T* bin = output + c;
    for (int64_t p = 0; p < taps.pooled_height; ++p) {
      for (int64_t column = 0; column < columns.length(); ++column) {
        const T* top = image + (columns.begin + column) * channels + c;
        V sums[B::vectors] = {};
        for (int64_t i = y.begin[p]; i < y.begin[p + 1]; ++i) {
          const T* pixel = top + y.pixel[i] * row_stride;
#pragma GCC unroll 16
          for (int v = 0; v < B::vectors; ++v) {
            sums[v] += y.weight[i] * B::L::Load(pixel + v * B::lanes);
          }
        }
#pragma GCC unroll 16
        for (int v = 0; v < B::vectors; ++v) {
          summed[column * B::vectors + v] = sums[v];
        }
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
        for (int64_t j = x.begin[q]; j < x.begin[q + 1]; ++j) {
          if constexpr (kCodes) weights += x.weight[j];
          const V* from = summed + (x.pixel[j] - columns.begin) * B::vectors;
#pragma GCC unroll 16
          for (int v = 0; v < B::vectors; ++v) {
            sums[v] += x.weight[j] * from[v];
          }
        }
        [[maybe_unused]] const W of_zero =
            to_codes.zero * (row_weights * weights);
        if constexpr (kCodes) {
#pragma GCC unroll 16
          for (int v = 0; v < B::vectors; ++v) sums[v] -= of_zero;
        }
        StoreBlock<B, kStream>(sums, to_codes, bin);
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

template <typename T>
void Forward(const BoxTaps<Accumulator<T>>& taps, const T* image,
             int64_t row_stride, int64_t channels,
             const Requantization<Accumulator<T>>& to_codes, bool stream,
             T* output) {
  if constexpr (std::is_same_v<T, Accumulator<T>>) {
    if (to_codes.zero != 0) {  // codes from NCHW
      ForwardBox<T, false, true>(taps, image, row_stride, channels, to_codes,
                                 output);
      return;
    }
  }
  (stream ? ForwardBox<T, true, kIsCode<T>>
          : ForwardBox<T, false, kIsCode<T>>)(taps, image, row_stride, channels,
                                              to_codes, output);
}

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
      last - first, of->bins.length()};
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
  ForEachBlock<T>(channels, [&](auto block, int64_t c) {
    using B = decltype(block);
    using V = typename B::V;
    using A = Lanes<W, B::lanes>;
    constexpr int kBlock = B::lanes * B::vectors;
    static_assert(kBlock <= kMaxBlockChannels, "");
    for (int64_t i = part.rows.begin; i < part.rows.end; ++i) {
      for (int64_t q = part.bins.begin; q < part.bins.end; ++q) {
        const T* bin = part.grad_output + q * channels + c;
        W* summed = scratch + q * kBlock;
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
          Store<W, B::lanes>(sums[v], summed + v * B::lanes);
        }
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
          Store<W, B::lanes>(sums[v], pixel + v * B::lanes);
        }
      }
    }
  });
}

// g^T (dA / d box) f. The products of a bin's upstream with the pixels that it
// touches stay vectors, weighed along x and then along y, until the bin is
// done.
template <typename T>
void BoxGrad(const BoxTaps<Accumulator<T>>& taps, const T* grad_output,
             const T* image, int64_t row_stride, int64_t channels,
             double grad[4]) {
  using W = Accumulator<T>;
  const TapsView<W>& y = taps.y;
  const TapsView<W>& x = taps.x;
  double x1 = 0, y1 = 0, x2 = 0, y2 = 0;
  ForEachBlock<T>(channels, [&](auto block, int64_t c) {
    using B = decltype(block);
    using V = typename B::V;
    constexpr int kSums = B::vectors < 4 ? B::vectors : 4;
    const T* bin = grad_output + c;
    for (int64_t p = 0; p < taps.pooled_height; ++p) {
      for (int64_t q = 0; q < taps.pooled_width; ++q, bin += channels) {
        Prefetch<B>(bin + 2 * channels);
        V upstream[B::vectors];
#pragma GCC unroll 16
        for (int v = 0; v < B::vectors; ++v) {
          upstream[v] = B::L::Load(bin + v * B::lanes);
        }
        V bin_x1 = {}, bin_x2 = {}, bin_y1 = {}, bin_y2 = {};
        for (int64_t i = y.begin[p]; i < y.begin[p + 1]; ++i) {
          const T* row = image + y.pixel[i] * row_stride + c;
          V row_x1 = {}, row_x2 = {}, row_y = {};
          for (int64_t j = x.begin[q]; j < x.begin[q + 1]; ++j) {
            const T* pixel = row + x.pixel[j] * channels;
            V products[kSums] = {};
#pragma GCC unroll 16
            for (int v = 0; v < B::vectors; ++v) {
              products[v % kSums] +=
                  upstream[v] * B::L::Load(pixel + v * B::lanes);
            }
#pragma GCC unroll 4
            for (int s = 1; s < kSums; ++s) products[0] += products[s];
            row_x1 += x.slope1[j] * products[0];
            row_x2 += x.slope2[j] * products[0];
            row_y += x.weight[j] * products[0];
          }
          bin_x1 += y.weight[i] * row_x1;
          bin_x2 += y.weight[i] * row_x2;
          bin_y1 += y.slope1[i] * row_y;
          bin_y2 += y.slope2[i] * row_y;
        }
        x1 += Sum<W, B::lanes>(bin_x1);
        y1 += Sum<W, B::lanes>(bin_y1);
        x2 += Sum<W, B::lanes>(bin_x2);
        y2 += Sum<W, B::lanes>(bin_y2);
      }
    }
  });
  grad[0] = x1;
  grad[1] = y1;
  grad[2] = x2;
  grad[3] = y2;
}

template <typename T, bool kStream>
TF_ROIALIGN_INLINE void PackAll(const Accumulator<T>* from, int64_t count,
                                T* to) {
  ForEachBlock<T>(count, [&](auto block, int64_t i) {
    using B = decltype(block);
    using A = Lanes<Accumulator<T>, B::lanes>;
#pragma GCC unroll 16
    for (int v = 0; v < B::vectors; ++v) {
      Store<T, B::lanes, kStream>(A::Load(from + i + v * B::lanes),
                                  to + i + v * B::lanes);
    }
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

template <typename T>
const CpuKernels<T>& Kernels() {
  if constexpr (kIsCode<T>) {
    static const CpuKernels<T> kernels = {
        Forward<T>,      nullptr,          nullptr,    nullptr,
        ChannelsLast<T>, ChannelsFirst<T>, StreamFence};
    return kernels;
  } else {
    static const CpuKernels<T> kernels = {
        Forward<T>,      FeatureGrad<T>,   BoxGrad<T>, Pack<T>,
        ChannelsLast<T>, ChannelsFirst<T>, StreamFence};
    return kernels;
  }
}

template const CpuKernels<float>& Kernels<float>();
template const CpuKernels<double>& Kernels<double>();
template const CpuKernels<Half>& Kernels<Half>();
template const CpuKernels<BFloat16>& Kernels<BFloat16>();
template const CpuKernels<int8_t>& Kernels<int8_t>();
template const CpuKernels<uint8_t>& Kernels<uint8_t>();
template const CpuKernels<int32_t>& Kernels<int32_t>();

#undef TF_ROIALIGN_INLINE

}  // namespace TF_ROIALIGN_LEVEL
}  // namespace tf_roialign
