#include "cc/core/dtypes/float16.h"

#include <cmath>
#include <cstring>
#include <vector>

#include "cc/core/cpu/simd/kernels.h"
#include "gtest/gtest.h"

#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

namespace tf_roialign {
namespace {

// The value by the format's definition.
double HalfValue(uint16_t bits) {
  const int exponent = (bits >> 10) & 31;
  const int mantissa = bits & 1023;
  const double sign = bits & 0x8000 ? -1 : 1;
  if (exponent == 31) return mantissa ? NAN : sign * INFINITY;
  if (exponent == 0) return sign * std::ldexp(mantissa, -24);
  return sign * std::ldexp(1024 + mantissa, exponent - 25);
}

TEST(Half, EveryValueConvertsAndReturns) {
  for (int bits = 0; bits < 65536; ++bits) {
    const Half half{static_cast<uint16_t>(bits)};
    const float value = ToFloat(half);
    if (std::isnan(HalfValue(half.bits))) {
      EXPECT_TRUE(std::isnan(value));
      EXPECT_TRUE(std::isnan(ToFloat(ToHalf(value))));
    } else {
      ASSERT_EQ(value, HalfValue(half.bits)) << bits;
      ASSERT_EQ(ToHalf(value).bits, half.bits) << bits;
    }
  }
}

TEST(Half, RoundsToNearestEven) {
  for (int bits = 0; bits < 0x7bff; ++bits) {
    const float low = ToFloat(Half{static_cast<uint16_t>(bits)});
    const float high = ToFloat(Half{static_cast<uint16_t>(bits + 1)});
    const float middle = low + (high - low) / 2;
    EXPECT_EQ(ToHalf(middle).bits, bits % 2 == 0 ? bits : bits + 1);
    EXPECT_EQ(ToHalf(std::nextafter(middle, low)).bits, bits);
    EXPECT_EQ(ToHalf(std::nextafter(middle, high)).bits, bits + 1);
  }
  EXPECT_EQ(ToHalf(65519.f).bits, 0x7bff);
  EXPECT_EQ(ToHalf(65520.f).bits, 0x7c00);
  EXPECT_EQ(ToHalf(-1e30f).bits, 0xfc00);
}

#if defined(__SSE2__)
// TensorFlow's threads take float subnormals for zero. Those of half are not.
TEST(Half, SubnormalsSurviveWhereFloatSubnormalsAreZero) {
  constexpr unsigned kFlushToZeroAndDenormalsAreZero = 0x8040;
  const unsigned before = _mm_getcsr();
  _mm_setcsr(before | kFlushToZeroAndDenormalsAreZero);
  std::vector<Half> halves(37, Half{3});
  std::vector<float> values;
  for (const Half half : halves) values.push_back(ToFloat(half));
  for (const SimdLevel level : UsableSimdLevels()) {
    std::vector<Half> rounded(values.size());
    GetCpuKernels<Half>(level).pack(values.data(), values.size(),
                                    /*stream=*/false, rounded.data());
    for (const Half half : rounded) EXPECT_EQ(half.bits, 3);
  }
  _mm_setcsr(before);
  EXPECT_EQ(values[0], 3 * 0x1p-24f);
}
#endif

TEST(BFloat16, RoundsToNearestEven) {
  EXPECT_EQ(ToBFloat16(1.0f).bits, 0x3f80);
  EXPECT_EQ(ToBFloat16(1.0f + 0x1p-8f).bits, 0x3f80);
  EXPECT_EQ(ToBFloat16(1.0f + 0x1.8p-7f).bits, 0x3f82);
  EXPECT_EQ(ToBFloat16(INFINITY).bits, 0x7f80);
  EXPECT_TRUE(std::isnan(ToFloat(ToBFloat16(NAN))));
}

// Values around every rounding boundary, in both signs.
std::vector<float> Interesting() {
  std::vector<float> values = {0.f,     -0.f,  INFINITY, -INFINITY,
                               65504.f, 1e30f, 1e-30f,   NAN};
  for (uint32_t bits = 0; bits < 0x7f800000u; bits += 0x3f7u * 0x21u) {
    float value;
    std::memcpy(&value, &bits, sizeof(value));
    values.push_back(value);
    values.push_back(-value);
  }
  return values;
}

template <typename T>
void ExpectLevelsRoundAlike(T (*convert)(float)) {
  const std::vector<float> values = Interesting();
  for (const SimdLevel level : UsableSimdLevels()) {
    std::vector<T> rounded(values.size());
    GetCpuKernels<T>(level).pack(values.data(), values.size(),
                                 /*stream=*/false, rounded.data());
    for (size_t i = 0; i < values.size(); ++i) {
      if (std::isnan(values[i])) {
        EXPECT_TRUE(std::isnan(ToFloat(rounded[i])));
      } else {
        ASSERT_EQ(rounded[i].bits, convert(values[i]).bits)
            << values[i] << " at " << SimdLevelName(level);
      }
    }
  }
}

TEST(Round, HalfIsTheSameAtEverySimdLevel) {
  ExpectLevelsRoundAlike<Half>(ToHalf);
}

TEST(Round, BFloat16IsTheSameAtEverySimdLevel) {
  ExpectLevelsRoundAlike<BFloat16>(ToBFloat16);
}

}  // namespace
}  // namespace tf_roialign
