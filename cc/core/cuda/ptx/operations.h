// What the arithmetic instructions do with one lane's values.

#ifndef TF_ROIALIGN_CC_CORE_CUDA_PTX_OPERATIONS_H_
#define TF_ROIALIGN_CC_CORE_CUDA_PTX_OPERATIONS_H_

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

namespace tf_roialign {
namespace ptx {

// Integers wrap around: computed without a sign.
template <typename T>
using Unsigned = std::make_unsigned_t<T>;

struct Add {
  template <typename T>
  static T Of(T a, T b) {
    if constexpr (std::is_integral_v<T>) {
      return static_cast<T>(Unsigned<T>(a) + Unsigned<T>(b));
    } else {
      return a + b;
    }
  }
};
struct Subtract {
  template <typename T>
  static T Of(T a, T b) {
    if constexpr (std::is_integral_v<T>) {
      return static_cast<T>(Unsigned<T>(a) - Unsigned<T>(b));
    } else {
      return a - b;
    }
  }
};
// The lower half of an integer product.
struct Multiply {
  template <typename T>
  static T Of(T a, T b) {
    if constexpr (sizeof(T) == 4 && std::is_integral_v<T>) {
      return static_cast<T>(uint32_t(a) * uint32_t(b));
    } else if constexpr (std::is_integral_v<T>) {
      return static_cast<T>(uint64_t(a) * uint64_t(b));
    } else {
      return a * b;
    }
  }
};
struct MultiplyHigh {
  template <typename T>
  static T Of(T a, T b) {
    if constexpr (sizeof(T) < 8) {
      using Wide = std::conditional_t<std::is_signed_v<T>, int64_t, uint64_t>;
      return static_cast<T>((Wide(a) * Wide(b)) >> (8 * sizeof(T)));
    } else if constexpr (std::is_signed_v<T>) {
      return static_cast<T>((static_cast<__int128>(a) * b) >> 64);
    } else {
      return static_cast<T>((static_cast<unsigned __int128>(a) * b) >> 64);
    }
  }
};
template <typename D>
struct MultiplyWide {
  template <typename T>
  static D Of(T a, T b) {
    return static_cast<D>(a) * static_cast<D>(b);
  }
};
struct MultiplyAdd {
  template <typename T>
  static T Of(T a, T b, T c) {
    return Add::Of(Multiply::Of(a, b), c);
  }
};
template <typename D>
struct MultiplyAddWide {
  template <typename T>
  static D Of(T a, T b, D c) {
    return Add::Of(static_cast<D>(static_cast<D>(a) * static_cast<D>(b)), c);
  }
};
struct FusedMultiplyAdd {
  template <typename T>
  static T Of(T a, T b, T c) {
    return std::fma(a, b, c);
  }
};
// By zero: what came of it is a fault by then.
struct Divide {
  template <typename T>
  static T Of(T a, T b) {
    if constexpr (std::is_integral_v<T>) {
      if (b == 0) return static_cast<T>(-1);
      if (std::is_signed_v<T> && b == static_cast<T>(-1)) {
        return static_cast<T>(0 - Unsigned<T>(a));
      }
    }
    return a / b;
  }
};
struct Remainder {
  template <typename T>
  static T Of(T a, T b) {
    if (b == 0) return a;
    if (std::is_signed_v<T> && b == static_cast<T>(-1)) return 0;
    return a % b;
  }
};
struct Least {
  template <typename T>
  static T Of(T a, T b) {
    if constexpr (std::is_integral_v<T>) return b < a ? b : a;
    return std::fmin(a, b);
  }
};
struct Largest {
  template <typename T>
  static T Of(T a, T b) {
    if constexpr (std::is_integral_v<T>) return a < b ? b : a;
    return std::fmax(a, b);
  }
};
struct And {
  template <typename T>
  static T Of(T a, T b) {
    return a & b;
  }
};
struct Or {
  template <typename T>
  static T Of(T a, T b) {
    return a | b;
  }
};
struct Xor {
  template <typename T>
  static T Of(T a, T b) {
    return a ^ b;
  }
};
struct Not {
  template <typename T>
  static T Of(T a) {
    return ~a;
  }
};
struct NotPredicate {
  static uint8_t Of(uint8_t a) { return a ^ 1; }
};
struct Negate {
  template <typename T>
  static T Of(T a) {
    if constexpr (std::is_integral_v<T>) {
      return static_cast<T>(0 - Unsigned<T>(a));
    } else {
      return -a;
    }
  }
};
struct Absolute {
  template <typename T>
  static T Of(T a) {
    if constexpr (std::is_integral_v<T>) {
      return a < 0 ? Negate::Of(a) : a;
    } else {
      return std::fabs(a);
    }
  }
};
struct Same {
  template <typename T>
  static T Of(T a) {
    return a;
  }
};
struct SquareRoot {
  template <typename T>
  static T Of(T a) {
    return std::sqrt(a);
  }
};
struct Reciprocal {
  template <typename T>
  static T Of(T a) {
    return T(1) / a;
  }
};
struct CountOnes {
  template <typename T>
  static uint32_t Of(T a) {
    return static_cast<uint32_t>(__builtin_popcountll(a));
  }
};
struct CountLeadingZeros {
  template <typename T>
  static uint32_t Of(T a) {
    const int bits = 8 * sizeof(T);
    return a == 0 ? bits : __builtin_clzll(a) - (64 - bits);
  }
};
// Counts of shifts beyond the width are the width.
struct ShiftLeft {
  template <typename T>
  static T Of(T a, uint32_t count) {
    return count >= 8 * sizeof(T) ? T(0) : static_cast<T>(uint64_t(a) << count);
  }
};
struct ShiftRight {
  template <typename T>
  static T Of(T a, uint32_t count) {
    const uint32_t bits = 8 * sizeof(T);
    if (std::is_signed_v<T>) return a >> (count < bits ? count : bits - 1);
    return count < bits ? a >> count : T(0);
  }
};
// Of the 64 bits b:a, by a count modulo 32.
struct FunnelShiftLeft {
  static uint32_t Of(uint32_t a, uint32_t b, uint32_t count) {
    return static_cast<uint32_t>(((uint64_t(b) << 32 | a) << (count & 31)) >>
                                 32);
  }
};
struct FunnelShiftRight {
  static uint32_t Of(uint32_t a, uint32_t b, uint32_t count) {
    return static_cast<uint32_t>((uint64_t(b) << 32 | a) >> (count & 31));
  }
};
// Four bytes out of the eight of b:a; bit 3 of a selector repeats the sign.
struct Permute {
  static uint32_t Of(uint32_t a, uint32_t b, uint32_t selectors) {
    const uint64_t both = uint64_t(b) << 32 | a;
    uint32_t result = 0;
    for (int i = 0; i < 4; ++i) {
      const uint32_t selector = selectors >> (4 * i) & 15;
      uint32_t byte = both >> (8 * (selector & 7)) & 255;
      if (selector & 8) byte = byte & 128 ? 255 : 0;
      result |= byte << (8 * i);
    }
    return result;
  }
};
// A field of `length` bits from `first` on, with its sign where T has one.
struct ExtractBits {
  template <typename T>
  static T Of(T a, uint32_t first, uint32_t length) {
    const int bits = 8 * sizeof(T);
    first &= 255;
    length &= 255;
    T result = 0;
    for (int i = 0; i < bits; ++i) {
      const uint32_t at = first + i;
      const bool in = uint32_t(i) < length && at < uint32_t(bits);
      const uint32_t last = Least::Of<uint32_t>(first + length - 1, bits - 1);
      const bool sign = std::is_signed_v<T> && length > 0 && (a >> last & 1);
      const bool bit = in ? (Unsigned<T>(a) >> at & 1) : sign;
      result |= static_cast<T>(Unsigned<T>(bit) << i);
    }
    return result;
  }
};

enum class Comparison {
  kEqual,
  kNotEqual,
  kLess,
  kLessOrEqual,
  kGreater,
  kGreaterOrEqual,
  kNumbers,
  kNaN,
};

// kWithNaN: what it says where one of two floats is NaN.
template <Comparison kComparison, bool kWithNaN>
struct Compare {
  template <typename T>
  static uint8_t Of(T a, T b) {
    if constexpr (std::is_floating_point_v<T>) {
      const bool nan = a != a || b != b;
      if (kComparison == Comparison::kNaN) return nan;
      if (kComparison == Comparison::kNumbers) return !nan;
      return kWithNaN ? nan || OfNumbers(a, b) : !nan && OfNumbers(a, b);
    } else {
      return OfNumbers(a, b);
    }
  }

 private:
  template <typename T>
  static bool OfNumbers(T a, T b) {
    switch (kComparison) {
      case Comparison::kEqual:
        return a == b;
      case Comparison::kNotEqual:
        return a != b;
      case Comparison::kLess:
        return a < b;
      case Comparison::kLessOrEqual:
        return a <= b;
      case Comparison::kGreater:
        return a > b;
      case Comparison::kGreaterOrEqual:
        return a >= b;
      default:
        return false;
    }
  }
};

struct Ceil {
  template <typename T>
  static T Of(T a) {
    return std::ceil(a);
  }
};
struct Floor {
  template <typename T>
  static T Of(T a) {
    return std::floor(a);
  }
};
struct RoundToEven {
  template <typename T>
  static T Of(T a) {
    return std::nearbyint(a);
  }
};
struct Truncate {
  template <typename T>
  static T Of(T a) {
    return std::trunc(a);
  }
};

// As a cast has it, integers wrapping around.
template <typename D>
struct To {
  template <typename S>
  static D Of(S a) {
    return static_cast<D>(a);
  }
};

// A float rounded by Round to an integer; what does not fit becomes the nearest
// that does. NaN becomes 0, or, where 64 bits are on either side, the highest
// bit alone.
template <typename D, typename Round>
struct ToInteger {
  template <typename S>
  static D Of(S a) {
    constexpr int kBits = 8 * sizeof(D);
    if (a != a) {
      return sizeof(S) == 8 || sizeof(D) == 8
                 ? static_cast<D>(uint64_t(1) << (kBits - 1))
                 : D(0);
    }
    const S rounded = Round::Of(a);
    const S least = std::is_signed_v<D> ? -std::ldexp(S(1), kBits - 1) : S(0);
    const S end = std::ldexp(S(1), std::is_signed_v<D> ? kBits - 1 : kBits);
    if (rounded < least) return std::numeric_limits<D>::min();
    if (rounded >= end) return std::numeric_limits<D>::max();
    return static_cast<D>(rounded);
  }
};

// The 16-bit floats here are bits, and their code shares nothing with
// cc/core/dtypes.
struct HalfToFloat {
  static float Of(uint16_t half) {
    const int exponent = half >> 10 & 31;
    const int fraction = half & 1023;
    float value = exponent == 0
                      ? std::ldexp(float(fraction), -24)
                      : std::ldexp(float(fraction + 1024), exponent - 25);
    if (exponent == 31) value = fraction == 0 ? INFINITY : NAN;
    return half & 0x8000 ? -value : value;
  }
};
struct FloatToHalf {
  static uint16_t Of(float value) {
    if (value != value) return 0x7fff;
    const uint16_t sign = std::signbit(value) ? 0x8000 : 0;
    const float a = std::fabs(value);
    if (a == 0) return sign;
    // From half way between the largest one and 2^16 on.
    if (a >= 65520.f) return sign | 0x7c00;
    int exponent = 0;
    std::frexp(a, &exponent);  // a < 2^exponent
    // Numbers below 2^-14 lie 2^-24 apart; others have 11 bits.
    const int unit = exponent - 11 < -24 ? -24 : exponent - 11;
    const int steps = static_cast<int>(std::nearbyint(std::ldexp(a, -unit)));
    // Steps of 2^-24 are the bits themselves; with each further exponent 1024
    // steps more lie below.
    return sign | static_cast<uint16_t>(steps + (unit + 24) * 1024);
  }
};
struct BFloat16ToFloat {
  static float Of(uint16_t bits) {
    const uint32_t wide = uint32_t(bits) << 16;
    float value;
    std::memcpy(&value, &wide, sizeof(value));
    return value;
  }
};
struct FloatToBFloat16 {
  static uint16_t Of(float value) {
    if (value != value) return 0x7fff;
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof(bits));
    return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
  }
};

}  // namespace ptx
}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CUDA_PTX_OPERATIONS_H_
