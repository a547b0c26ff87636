// How floating-point features become accumulators, and accumulators features.

#ifndef TF_ROIALIGN_CC_CORE_CPU_SIMD_FLOAT_LANES_INL_H_
#define TF_ROIALIGN_CC_CORE_CPU_SIMD_FLOAT_LANES_INL_H_

#include <cstdint>

#include "cc/core/cpu/simd/vectors-inl.h"
#include "cc/core/dtypes/float16.h"

#if defined(__SSE2__)
#include <immintrin.h>
#endif

namespace tf_roialign {
namespace TF_ROIALIGN_LEVEL {
namespace {

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

template <typename T, int kLanes, bool kStream = false, typename V>
TF_ROIALIGN_INLINE void Store(V v, T* to) {
  StoreBits<kStream>(Lanes<T, kLanes>::Pack(v), to);
}

}  // namespace
}  // namespace TF_ROIALIGN_LEVEL
}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CPU_SIMD_FLOAT_LANES_INL_H_
