#include "cc/core/cuda/ptx/operations.h"

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#include "gtest/gtest.h"

namespace tf_roialign {
namespace ptx {
namespace {

TEST(Operations, IntegersWrapAround) {
  EXPECT_EQ(Add::Of(INT32_MAX, 1), INT32_MIN);
  EXPECT_EQ(Multiply::Of(uint32_t(0x10001), uint32_t(0x10001)), 0x20001u);
  EXPECT_EQ(Negate::Of(INT64_MIN), INT64_MIN);
  EXPECT_EQ(MultiplyHigh::Of(uint32_t(1) << 31, uint32_t(6)), 3u);
  EXPECT_EQ(MultiplyHigh::Of(int64_t(-1), int64_t(1)), -1);
  EXPECT_EQ(MultiplyWide<int64_t>::Of(INT32_MIN, INT32_MIN), int64_t(1) << 62);
  EXPECT_EQ(Divide::Of(INT32_MIN, -1), INT32_MIN);
  EXPECT_EQ(Divide::Of(-7, 2), -3);
  EXPECT_EQ(Remainder::Of(-7, 2), -1);
}

TEST(Operations, ShiftsBeyondTheWidth) {
  EXPECT_EQ(ShiftLeft::Of(uint32_t(1), 32), 0u);
  EXPECT_EQ(ShiftLeft::Of(uint32_t(1), 31), 0x80000000u);
  EXPECT_EQ(ShiftRight::Of(int32_t(-8), 40), -1);
  EXPECT_EQ(ShiftRight::Of(uint64_t(8), 64), 0u);
  EXPECT_EQ(FunnelShiftLeft::Of(0x80000000u, 1u, 1u), 3u);
  EXPECT_EQ(FunnelShiftRight::Of(0, 1u, 33u), 0x80000000u);
}

TEST(Operations, Bits) {
  EXPECT_EQ(CountOnes::Of(0xf0f0u), 8u);
  EXPECT_EQ(CountLeadingZeros::Of(uint32_t(1)), 31u);
  EXPECT_EQ(CountLeadingZeros::Of(uint64_t(0)), 64u);
  EXPECT_EQ(Permute::Of(0x33221100u, 0x77665544u, 0x7410u), 0x77441100u);
  EXPECT_EQ(Permute::Of(0x80, 0, 0x8888u), 0xffffffffu);
  EXPECT_EQ(ExtractBits::Of(uint32_t(0xabcd), 4u, 8u), 0xbcu);
  EXPECT_EQ(ExtractBits::Of(int32_t(0xabcd), 4u, 8u), int32_t(0xffffffbc));
  EXPECT_EQ(ExtractBits::Of(uint32_t(0xabcd), 4u, 0u), 0u);
}

TEST(Operations, ComparisonsWithNaN) {
  EXPECT_FALSE((Compare<Comparison::kNotEqual, false>::Of(NAN, 1.f)));
  EXPECT_TRUE((Compare<Comparison::kNotEqual, true>::Of(NAN, 1.f)));
  EXPECT_TRUE((Compare<Comparison::kLess, true>::Of(1.0, double(NAN))));
  EXPECT_FALSE((Compare<Comparison::kLess, false>::Of(1.0, double(NAN))));
  EXPECT_TRUE((Compare<Comparison::kNaN, false>::Of(NAN, 1.f)));
  EXPECT_EQ(Largest::Of(NAN, 2.f), 2.f);
}

TEST(Operations, FloatsToIntegersAreKeptInRange) {
  using Down = ToInteger<int32_t, Truncate>;
  EXPECT_EQ(Down::Of(-1.9f), -1);
  EXPECT_EQ(Down::Of(3e9f), INT32_MAX);
  EXPECT_EQ(Down::Of(-3e9f), INT32_MIN);
  EXPECT_EQ(Down::Of(NAN), 0);
  using Unsigned32 = ToInteger<uint32_t, Truncate>;
  EXPECT_EQ(Unsigned32::Of(-5.f), 0u);
  using Up = ToInteger<int64_t, Ceil>;
  EXPECT_EQ(Up::Of(1.1), 2);
  EXPECT_EQ(Up::Of(double(NAN)), INT64_MIN);
  using Even = ToInteger<int32_t, RoundToEven>;
  EXPECT_EQ(Even::Of(2.5f), 2);
}

// Every 16-bit number, there and back; and what lies between two of them.
TEST(Operations, HalvesRoundToTheNearest) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const uint16_t half = static_cast<uint16_t>(bits);
    const float value = HalfToFloat::Of(half);
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(HalfToFloat::Of(FloatToHalf::Of(value))));
    } else {
      ASSERT_EQ(FloatToHalf::Of(value), half) << bits;
    }
  }
  for (uint16_t half = 0; half < 0x7bff; ++half) {
    const float low = HalfToFloat::Of(half);
    const float high = HalfToFloat::Of(static_cast<uint16_t>(half + 1));
    const float middle = (low + high) / 2;
    const uint16_t even = half % 2 == 0 ? half : half + 1;
    ASSERT_EQ(FloatToHalf::Of(middle), even);
    ASSERT_EQ(FloatToHalf::Of(std::nextafter(middle, INFINITY)), half + 1);
  }
  EXPECT_EQ(FloatToHalf::Of(65520.f), 0x7c00);
  EXPECT_EQ(FloatToHalf::Of(65519.f), 0x7bff);
  EXPECT_EQ(FloatToHalf::Of(-1e30f), 0xfc00);
  EXPECT_EQ(FloatToHalf::Of(-0.f), 0x8000);
}

TEST(Operations, BFloat16RoundsToTheNearest) {
  EXPECT_EQ(FloatToBFloat16::Of(1.f), 0x3f80);
  EXPECT_EQ(FloatToBFloat16::Of(1.f + 1.f / 256), 0x3f80);
  EXPECT_EQ(FloatToBFloat16::Of(1.f + 3.f / 256), 0x3f82);
  EXPECT_EQ(FloatToBFloat16::Of(INFINITY), 0x7f80);
  EXPECT_EQ(FloatToBFloat16::Of(std::numeric_limits<float>::max()), 0x7f80);
  EXPECT_TRUE(std::isnan(BFloat16ToFloat::Of(FloatToBFloat16::Of(NAN))));
}

}  // namespace
}  // namespace ptx
}  // namespace tf_roialign
