// Vectors of an instruction set: GCC's vector extensions, which every target
// lowers to what it has.
//
// The -inl.h files are compiled once for each SIMD level, which
// TF_ROIALIGN_LEVEL names, by one_level.cc. Everything in them has internal
// linkage, and no function of another header with external linkage is called
// that a compiler might not inline: otherwise the linker could pick the copy of
// one level for all.

#ifndef TF_ROIALIGN_CC_CORE_CPU_SIMD_VECTORS_INL_H_
#define TF_ROIALIGN_CC_CORE_CPU_SIMD_VECTORS_INL_H_

#include <cstdint>
#include <cstring>

#include "cc/core/base/span.h"

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

// Of a Span: its own methods have external linkage.
TF_ROIALIGN_INLINE int64_t Length(const Span& span) {
  return span.end - span.begin;
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

}  // namespace
}  // namespace TF_ROIALIGN_LEVEL
}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CPU_SIMD_VECTORS_INL_H_
