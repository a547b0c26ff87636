// Channel vectors: one load or store of up to 16 bytes, summed in float (double
// for double).

#ifndef TF_ROIALIGN_CC_CORE_CUDA_KERNELS_VECTORS_H_
#define TF_ROIALIGN_CC_CORE_CUDA_KERNELS_VECTORS_H_

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "cc/core/cuda/platform/portable.h"
#include "cc/core/dtypes/float16.h"

namespace tf_roialign {
namespace cuda {

TF_ROIALIGN_DEVICE float Widen(float value) { return value; }
TF_ROIALIGN_DEVICE double Widen(double value) { return value; }
TF_ROIALIGN_DEVICE float Widen(int8_t code) { return code; }
TF_ROIALIGN_DEVICE float Widen(uint8_t code) { return code; }
TF_ROIALIGN_DEVICE double Widen(int32_t code) { return code; }

// Conversions by instruction on the device; float16.h on the host.
#if defined(__CUDACC__)

TF_ROIALIGN_DEVICE float Widen(BFloat16 value) {
  return __uint_as_float(uint32_t(value.bits) << 16);
}
TF_ROIALIGN_DEVICE float Widen(Half value) {
  float result;
  asm("cvt.f32.f16 %0, %1;" : "=f"(result) : "h"(value.bits));
  return result;
}
TF_ROIALIGN_DEVICE void Narrow(float from, Half* to) {
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(to->bits) : "f"(from));
}
TF_ROIALIGN_DEVICE void Narrow(float from, BFloat16* to) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(to->bits) : "f"(from));
#else
  const uint32_t bits = __float_as_uint(from);
  to->bits = from != from
                 ? uint16_t((bits >> 16) | 0x40u)
                 : uint16_t((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
#endif
}

#else

inline float Widen(BFloat16 value) { return ToFloat(value); }
inline float Widen(Half value) { return ToFloat(value); }
inline void Narrow(float from, Half* to) { *to = ToHalf(from); }
inline void Narrow(float from, BFloat16* to) { *to = ToBFloat16(from); }

#endif

TF_ROIALIGN_DEVICE void Narrow(float from, float* to) { *to = from; }
TF_ROIALIGN_DEVICE void Narrow(double from, double* to) { *to = from; }

// Features as they lie in memory.
template <typename T, int V>
struct alignas(sizeof(T) * V) Packed {
  T e[V];
};

// How many make 16 bytes.
template <typename T>
constexpr int kWidest = 16 / static_cast<int>(sizeof(T));

template <int V, typename T>
TF_ROIALIGN_DEVICE Packed<T, V> Load(const T* from) {
  Packed<T, V> packed;
#if defined(__CUDA_ARCH__)
  // As numbers where there is such a vector, which saves moving bits.
  if constexpr (std::is_same_v<T, float> && V == 4) {
    const float4 v = __ldg(reinterpret_cast<const float4*>(from));
    packed = {v.x, v.y, v.z, v.w};
  } else if constexpr (std::is_same_v<T, double> && V == 2) {
    const double2 v = __ldg(reinterpret_cast<const double2*>(from));
    packed = {v.x, v.y};
  } else if constexpr ((std::is_same_v<T, float> ||
                        std::is_same_v<T, double>) &&
                       V == 1) {
    packed = {__ldg(from)};
  } else if constexpr (sizeof(packed) == 16) {
    const uint4 bits = __ldg(reinterpret_cast<const uint4*>(from));
    memcpy(&packed, &bits, sizeof(packed));
  } else if constexpr (sizeof(packed) == 8) {
    const uint2 bits = __ldg(reinterpret_cast<const uint2*>(from));
    memcpy(&packed, &bits, sizeof(packed));
  } else if constexpr (sizeof(packed) == 4) {
    const uint32_t bits = __ldg(reinterpret_cast<const uint32_t*>(from));
    memcpy(&packed, &bits, sizeof(packed));
  } else if constexpr (sizeof(packed) == 2) {
    const uint16_t bits = __ldg(reinterpret_cast<const uint16_t*>(from));
    memcpy(&packed, &bits, sizeof(packed));
  } else {
    static_assert(sizeof(packed) == 1, "");
    const uint8_t bits = __ldg(reinterpret_cast<const uint8_t*>(from));
    memcpy(&packed, &bits, sizeof(packed));
  }
#else
  packed = *reinterpret_cast<const Packed<T, V>*>(from);
#endif
  return packed;
}

// Stores what is not read again soon: it should not push out what is.
template <typename T, int V>
TF_ROIALIGN_DEVICE void StoreStreaming(const Packed<T, V>& packed, T* to) {
#if defined(__CUDA_ARCH__)
  if constexpr (std::is_same_v<T, float> && V == 4) {
    __stcs(reinterpret_cast<float4*>(to),
           make_float4(packed.e[0], packed.e[1], packed.e[2], packed.e[3]));
  } else if constexpr (std::is_same_v<T, double> && V == 2) {
    __stcs(reinterpret_cast<double2*>(to),
           make_double2(packed.e[0], packed.e[1]));
  } else if constexpr ((std::is_same_v<T, float> ||
                        std::is_same_v<T, double>) &&
                       V == 1) {
    __stcs(to, packed.e[0]);
  } else if constexpr (sizeof(packed) == 16) {
    uint4 bits;
    memcpy(&bits, &packed, sizeof(packed));
    __stcs(reinterpret_cast<uint4*>(to), bits);
  } else if constexpr (sizeof(packed) == 8) {
    uint2 bits;
    memcpy(&bits, &packed, sizeof(packed));
    __stcs(reinterpret_cast<uint2*>(to), bits);
  } else if constexpr (sizeof(packed) == 4) {
    uint32_t bits;
    memcpy(&bits, &packed, sizeof(packed));
    __stcs(reinterpret_cast<uint32_t*>(to), bits);
  } else if constexpr (sizeof(packed) == 2) {
    uint16_t bits;
    memcpy(&bits, &packed, sizeof(packed));
    __stcs(reinterpret_cast<uint16_t*>(to), bits);
  } else {
    static_assert(sizeof(packed) == 1, "");
    uint8_t bits;
    memcpy(&bits, &packed, sizeof(packed));
    __stcs(reinterpret_cast<unsigned char*>(to), bits);
  }
#else
  *reinterpret_cast<Packed<T, V>*>(to) = packed;
#endif
}

// Sums of V channels. Loops over them are unrolled, so that they stay in
// registers.
template <typename W, int V>
struct Sums {
  W e[V];

  TF_ROIALIGN_DEVICE void Clear() {
    TF_ROIALIGN_UNROLL
    for (int i = 0; i < V; ++i) e[i] = W(0);
  }
  template <typename T>
  TF_ROIALIGN_DEVICE void Add(W weight, const Packed<T, V>& packed) {
    TF_ROIALIGN_UNROLL
    for (int i = 0; i < V; ++i) e[i] += weight * Widen(packed.e[i]);
  }
  TF_ROIALIGN_DEVICE void Add(W weight, const Sums& other) {
    TF_ROIALIGN_UNROLL
    for (int i = 0; i < V; ++i) e[i] += weight * other.e[i];
  }
  template <typename T>
  TF_ROIALIGN_DEVICE W Dot(const Packed<T, V>& packed) const {
    W sum = W(0);
    TF_ROIALIGN_UNROLL
    for (int i = 0; i < V; ++i) sum += e[i] * Widen(packed.e[i]);
    return sum;
  }
  template <typename T>
  TF_ROIALIGN_DEVICE void StoreTo(T* to) const {
    Packed<T, V> packed;
    TF_ROIALIGN_UNROLL
    for (int i = 0; i < V; ++i) Narrow(e[i], &packed.e[i]);
    StoreStreaming(packed, to);
  }
};

// To and from shared memory, four floats at a time.
template <typename W, int V>
TF_ROIALIGN_DEVICE void StoreShared(const Sums<W, V>& sums, W* to) {
#if defined(__CUDA_ARCH__)
  if constexpr (std::is_same_v<W, float> && V == 4) {
    *reinterpret_cast<float4*>(to) =
        make_float4(sums.e[0], sums.e[1], sums.e[2], sums.e[3]);
  } else
#endif
  {
    TF_ROIALIGN_UNROLL
    for (int i = 0; i < V; ++i) to[i] = sums.e[i];
  }
}

template <int V, typename W>
TF_ROIALIGN_DEVICE Sums<W, V> LoadShared(const W* from) {
#if defined(__CUDA_ARCH__)
  if constexpr (std::is_same_v<W, float> && V == 4) {
    const float4 v = *reinterpret_cast<const float4*>(from);
    return {{v.x, v.y, v.z, v.w}};
  } else
#endif
  {
    Sums<W, V> sums;
    TF_ROIALIGN_UNROLL
    for (int i = 0; i < V; ++i) sums.e[i] = from[i];
    return sums;
  }
}

}  // namespace cuda
}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CUDA_KERNELS_VECTORS_H_
