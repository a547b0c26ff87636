#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "cc/core/aligned_vector.h"
#include "cc/core/roi_align_cpu.h"
#include "cc/tests/naive_roi_align.h"
#include "gtest/gtest.h"

namespace tf_roialign {
namespace {

constexpr int64_t kBatch = 2, kHeight = 11, kWidth = 14, kBoxes = 30;

int64_t Index(Layout layout, int64_t n, int64_t place, int64_t places,
              int64_t c, int64_t channels) {
  return layout == Layout::kNHWC ? (n * places + place) * channels + c
                                 : (n * channels + c) * places + place;
}

template <typename T>
void ExpectNaiveCodes(Layout layout, int ratio, int64_t pooled,
                      int64_t channels, int zero_point) {
  std::mt19937 random(static_cast<unsigned>(7 + channels));
  std::uniform_int_distribution<int> code(std::numeric_limits<T>::min(),
                                          std::numeric_limits<T>::max());
  std::uniform_real_distribution<float> unit(0, 1);
  const Params params = {pooled, 3, 0.5, ratio, true, layout};
  const Sizes sizes = {kBatch, kHeight, kWidth, channels, kBoxes};
  std::vector<float> rows;
  std::vector<int64_t> image;
  for (int64_t k = 0; k < kBoxes; ++k) {
    const float x = unit(random) * 34 - 6, y = unit(random) * 30 - 6;
    const float side = k % 3 == 0 ? 60 : k % 3 == 1 ? 3 : 14;
    image.push_back(k % 2);
    for (const float v : {float(k % 2), x, y, x + unit(random) * side,
                          k == 5 ? INFINITY : y + unit(random) * side}) {
      rows.push_back(v);
    }
  }
  AlignedVector<T> features(kBatch * kHeight * kWidth * channels);
  for (T& feature : features) feature = static_cast<T>(code(random));

  const int64_t bins = pooled * 3;
  std::vector<double> expected(kBoxes * bins * channels, 0);
  for (int64_t k = 0; k < kBoxes; ++k) {
    if (k == 5) continue;
    VisitPixels(params, kHeight, kWidth, &rows[k * 5 + 1],
                [&](int64_t p, int64_t q, int64_t y, int64_t x, double weight) {
                  for (int64_t c = 0; c < channels; ++c) {
                    const T feature =
                        features[Index(layout, k % 2, y * kWidth + x,
                                       kHeight * kWidth, c, channels)];
                    expected[Index(layout, k, p * 3 + q, bins, c, channels)] +=
                        weight * (feature - zero_point);
                  }
                });
  }
  int on_the_fence = 0;
  for (const SimdLevel level : UsableSimdLevels()) {
    AlignedVector<T> output(expected.size(), 99);
    RoiAlignForwardQuantized(
        {Serial, level}, params, sizes,
        BoxTable<float>{rows.data(), 5, kBoxes, image.data()}, zero_point,
        features.data(), output.data());
    for (size_t i = 0; i < expected.size(); ++i) {
      const double value = std::clamp<double>(expected[i] + zero_point,
                                              std::numeric_limits<T>::min(),
                                              std::numeric_limits<T>::max());
      const double rounded = std::nearbyint(value);  // half to even
      const bool near_half =
          std::abs(std::abs(value - std::floor(value)) - 0.5) < 1e-4;
      on_the_fence += near_half;
      ASSERT_NEAR(output[i], rounded, near_half ? 1 : 0)
          << i << " " << value << " at " << SimdLevelName(level);
    }
  }
  EXPECT_LT(on_the_fence, int(expected.size() / 20 + 20));
}

TEST(Quantized, IsTheRoundedMean) {
  for (const Layout layout : {Layout::kNHWC, Layout::kNCHW}) {
    for (const int ratio : {-1, 1, 2}) {
      for (const int64_t channels : {1, 3, 21, 64, 300}) {
        ExpectNaiveCodes<int8_t>(layout, ratio, 2, channels, -61);
        ExpectNaiveCodes<uint8_t>(layout, ratio, 2, channels, 200);
      }
    }
    // Bins that share their pixels.
    ExpectNaiveCodes<int8_t>(layout, 3, 20, 37, 5);
  }
}

TEST(Quantized, RoundsHalfToEvenAndSaturates) {
  const Params params = {1, 1, 1.0, 1, false, Layout::kNHWC};
  const int64_t image[] = {0};
  // One sample, half way between the two pixels of a map of one row.
  const float box[] = {0, 0, -0.5f, 1, 1.5f};
  for (const SimdLevel level : UsableSimdLevels()) {
    for (const int64_t channels : {1, 4, 16, 64}) {
      const auto mean = [&](int a, int b) {
        std::vector<int8_t> features(channels, static_cast<int8_t>(a));
        features.insert(features.end(), channels, static_cast<int8_t>(b));
        std::vector<int8_t> output(channels, 99);
        RoiAlignForwardQuantized({Serial, level}, params,
                                 {1, 1, 2, channels, 1},
                                 BoxTable<float>{box, 5, 1, image}, 0,
                                 features.data(), output.data());
        for (const int8_t code : output) EXPECT_EQ(code, output[0]);
        return int(output[0]);
      };
      EXPECT_EQ(mean(0, 1), 0);
      EXPECT_EQ(mean(1, 2), 2);
      EXPECT_EQ(mean(2, 3), 2);
      EXPECT_EQ(mean(-1, -2), -2);
      EXPECT_EQ(mean(127, 127), 127);
      EXPECT_EQ(mean(-128, -128), -128);
    }
  }
}

}  // namespace
}  // namespace tf_roialign
