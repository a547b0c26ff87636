// The two 16-bit floating types, as storage. Arithmetic is in float.
//
// The functions are static: this header is compiled for several instruction
// sets, and the linker must not pick one set's copy for all.

#ifndef TF_ROIALIGN_CC_CORE_DTYPES_FLOAT16_H_
#define TF_ROIALIGN_CC_CORE_DTYPES_FLOAT16_H_

#include <cstdint>
#include <cstring>

namespace tf_roialign {

struct Half {  // IEEE binary16
  uint16_t bits;
};

struct BFloat16 {  // the upper half of a binary32
  uint16_t bits;
};

// The type that weights, sums and gradients are computed in.
template <typename T>
struct AccumulatorOf {
  using type = float;
};
template <>
struct AccumulatorOf<double> {
  using type = double;
};
// Codes of 32 bits, which float does not hold.
template <>
struct AccumulatorOf<int32_t> {
  using type = double;
};
template <typename T>
using Accumulator = typename AccumulatorOf<T>::type;

static inline float ToFloat(BFloat16 value) {
  const uint32_t bits = uint32_t(value.bits) << 16;
  float result;
  std::memcpy(&result, &bits, sizeof(result));
  return result;
}

static inline float ToFloat(Half value) {
  const uint32_t sign = uint32_t(value.bits & 0x8000u) << 16;
  const uint32_t magnitude = value.bits & 0x7fffu;
  uint32_t bits;
  if (magnitude >= 0x7c00u) {  // infinity, NaN
    bits = (magnitude << 13) | 0x7f800000u;
  } else if (magnitude >= 0x0400u) {
    bits = (magnitude << 13) + (112u << 23);
  } else {
    // From an integer: a float subnormal on the way would be lost, as
    // TensorFlow's threads take those for zero.
    const float subnormal = static_cast<float>(magnitude) * 0x1p-24f;
    std::memcpy(&bits, &subnormal, sizeof(bits));
  }
  bits |= sign;
  float result;
  std::memcpy(&result, &bits, sizeof(result));
  return result;
}

// Both round to nearest, ties to even; NaN stays NaN.
static inline BFloat16 ToBFloat16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  if (value != value) return {uint16_t((bits >> 16) | 0x40u)};
  bits += 0x7fffu + ((bits >> 16) & 1u);
  return {uint16_t(bits >> 16)};
}

static inline Half ToHalf(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  const uint32_t sign = (bits >> 16) & 0x8000u;
  bits &= 0x7fffffffu;
  uint32_t result;
  if (bits > 0x7f800000u) {  // NaN
    result = 0x7e00u;
  } else if (bits >= 0x477ff000u) {  // 65520 and more round to infinity
    result = 0x7c00u;
  } else if (bits < 0x38800000u) {
    // Below 2^-14: adding 0.5 rounds at the subnormals' last place.
    float magnitude;
    std::memcpy(&magnitude, &bits, sizeof(magnitude));
    magnitude += 0.5f;
    std::memcpy(&result, &magnitude, sizeof(result));
    result -= 0x3f000000u;
  } else {
    bits += 0xfffu + ((bits >> 13) & 1u);
    result = (bits - 0x38000000u) >> 13;
  }
  return {uint16_t(sign | result)};
}

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_DTYPES_FLOAT16_H_
