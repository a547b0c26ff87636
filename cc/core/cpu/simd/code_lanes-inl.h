// How codes become accumulators, and sums codes.

#ifndef TF_ROIALIGN_CC_CORE_CPU_SIMD_CODE_LANES_INL_H_
#define TF_ROIALIGN_CC_CORE_CPU_SIMD_CODE_LANES_INL_H_

#include <cstdint>
#include <limits>
#include <type_traits>

#include "cc/core/cpu/simd/float_lanes-inl.h"
#include "cc/core/cpu/simd/vectors-inl.h"
#include "cc/core/dtypes/float16.h"
#include "cc/core/dtypes/quantization.h"

#if defined(__SSE2__)
#include <immintrin.h>
#endif

namespace tf_roialign {
namespace TF_ROIALIGN_LEVEL {
namespace {

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

}  // namespace
}  // namespace TF_ROIALIGN_LEVEL
}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CPU_SIMD_CODE_LANES_INL_H_
