#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "cc/core/cpu/aligned_vector.h"
#include "cc/core/cpu/roi_align_cpu.h"
#include "cc/core/cpu/simd/kernels.h"
#include "cc/core/dtypes/dtypes.h"
#include "cc/core/dtypes/quantization.h"
#include "cc/core/testing/cpu_call.h"
#include "cc/core/testing/expect.h"
#include "cc/core/testing/naive_roi_align.h"
#include "gtest/gtest.h"

namespace tf_roialign {
namespace {

// value / scale, in which a half goes to the even integer; then the zero point;
// then the limits.
template <typename T>
int64_t CodeOf(double value, int64_t zero_point) {
  return std::clamp<int64_t>(std::llrint(value) + zero_point,
                             std::numeric_limits<T>::min(),
                             std::numeric_limits<T>::max());
}

template <typename T>
void ExpectNaiveCodes(Layout layout, int ratio, int64_t pooled,
                      int64_t channels, int zero_point) {
  constexpr int kBad = 5;
  Call<T, float> call = RandomCall<T, float>(
      static_cast<int>(7 + channels), {{pooled, 3}, ratio, true, layout},
      {2, channels, 30}, {{11, 14, 0.5, 0.5}});
  call.rows[kBad * 5 + 4] = INFINITY;

  std::vector<double> expected(call.grad_output.size(), 0);
  for (int64_t k = 0; k < call.sizes.boxes; ++k) {
    if (k == kBad) continue;
    VisitPixels(call.params, call.maps[0], &call.rows[k * 5 + 1],
                [&](int64_t p, int64_t q, int64_t y, int64_t x, double weight) {
                  for (int64_t c = 0; c < channels; ++c) {
                    const T feature =
                        call.features[0][call.pixel(0, call.image(k), y, x, c)];
                    expected[call.bin(k, p, q, c)] +=
                        weight * (double(feature) - zero_point);
                  }
                });
  }
  int on_the_fence = 0;
  for (const SimdLevel level : UsableSimdLevels()) {
    const std::vector<T> output =
        ForwardQuantized(call, 0.3f, zero_point, level);
    for (size_t i = 0; i < expected.size(); ++i) {
      const double value = expected[i];
      const bool near_half =
          std::abs(std::abs(value - std::floor(value)) - 0.5) < 1e-4;
      on_the_fence += near_half;
      ASSERT_LE(std::abs(int64_t(output[i]) - CodeOf<T>(value, zero_point)),
                near_half ? 1 : 0)
          << i << " " << value << " at " << SimdLevelName(level);
    }
  }
  EXPECT_LT(on_the_fence, int(expected.size() / 20 + 20));
}

// At zero points of either half of the codes.
template <typename T>
void ExpectNaiveCodes(Layout layout) {
  for (const double part : {0.2125, 0.7843}) {
    const double lowest = std::numeric_limits<T>::min();
    const double highest = std::numeric_limits<T>::max();
    const int zero_point = static_cast<int>(lowest + part * (highest - lowest));
    for (const int ratio : {-1, 1, 2}) {
      for (const int64_t channels : {1, 3, 21, 64, 300}) {
        ExpectNaiveCodes<T>(layout, ratio, 2, channels, zero_point);
      }
    }
  }
  // Bins that share their pixels.
  ExpectNaiveCodes<T>(layout, 3, 20, 37, 5);
}

TEST(Quantized, IsTheRoundedMean) {
  for (const Layout layout : {Layout::kNHWC, Layout::kNCHW}) {
#define TF_ROIALIGN_EXPECT(T, ...) ExpectNaiveCodes<T>(layout);
    TF_ROIALIGN_FOR_EACH_CODE(TF_ROIALIGN_EXPECT)
#undef TF_ROIALIGN_EXPECT
  }
}

// A kernel alone, with weights that make halves and that leave the codes'
// limits.
template <typename T>
void ExpectRule(SimdLevel level, int64_t channels, int32_t zero_point,
                double weight, double samples, bool separable, bool stream) {
  using W = Accumulator<T>;
  // Bins of one pixel each; or more of them, which share two pixels an axis.
  const int64_t pooled = separable ? 8 : 1, taps = separable ? 2 : 1;
  const int64_t width = taps, bins = pooled * pooled;
  std::vector<int64_t> begin, pixel;
  std::vector<W> weights, ones;
  for (int64_t p = 0; p <= pooled; ++p) begin.push_back(p * taps);
  for (int64_t t = 0; t < pooled * taps; ++t) {
    pixel.push_back(t % taps);
    weights.push_back(static_cast<W>(weight));
    ones.push_back(1);
  }
  const BoxTaps<W> box = {
      pooled,
      pooled,
      {begin.data(), pixel.data(), weights.data(), nullptr, nullptr},
      {begin.data(), pixel.data(), ones.data(), nullptr, nullptr}};

  std::mt19937 random(static_cast<unsigned>(channels));
  std::uniform_int_distribution<int64_t> any(std::numeric_limits<T>::min(),
                                             std::numeric_limits<T>::max());
  std::uniform_int_distribution<int64_t> near(-9, 9);
  AlignedVector<T> image(taps * width * channels);
  for (T& code : image) {
    code = static_cast<T>(std::clamp<int64_t>(
        random() % 2 ? any(random) : zero_point + near(random),
        std::numeric_limits<T>::min(), std::numeric_limits<T>::max()));
  }
  AlignedVector<T> output(bins * channels, 99);
  const Requantization<W> to_codes =
      MakeQuantization<T>(0.25f, zero_point).OfBins(static_cast<W>(samples));
  GetCpuKernels<T>(level).forward(box, image.data(), width * channels, channels,
                                  to_codes, stream, output.data());

  // The same by way of NCHW: sums of accumulators, which become codes at last.
  AlignedVector<W> codes(image.begin(), image.end());
  AlignedVector<W> sums(bins * channels);
  AlignedVector<T> planes(bins * channels, 99);
  GetCpuKernels<W>(level).forward(box, codes.data(), width * channels, channels,
                                  to_codes, /*stream=*/false, sums.data());
  GetCpuKernels<T>(level).channels_first(sums.data(), bins, channels, to_codes,
                                         planes.data(), bins);

  for (int64_t c = 0; c < channels; ++c) {
    double sum = 0;
    for (int64_t i = 0; i < taps * width; ++i) {
      sum += double(image[i * channels + c]) - zero_point;
    }
    const int64_t code = CodeOf<T>(weight * sum / samples, zero_point);
    for (int64_t bin = 0; bin < bins; ++bin) {
      ASSERT_EQ(output[bin * channels + c], code)
          << c << " of " << channels << " with " << weight << " / " << samples
          << " and " << zero_point << " at " << SimdLevelName(level);
      ASSERT_EQ(planes[c * bins + bin], code) << SimdLevelName(level);
    }
  }
}

template <typename T>
void ExpectRule() {
  using Limits = std::numeric_limits<T>;
  for (const SimdLevel level : UsableSimdLevels()) {
    for (const int64_t channels : {1, 3, 4, 5, 8, 16, 21, 32, 64, 128, 300}) {
      for (const int64_t zero_point :
           {int64_t{Limits::min()}, int64_t{Limits::max()}, int64_t{0},
            int64_t{1}, int64_t{66}, int64_t{77}}) {
        for (const double weight : {0.25, 0.5, 1.5, 2.0}) {
          // Of halves there are some in thirds and sevenths, too.
          for (const double samples : {1, 2, 3, 7}) {
            ExpectRule<T>(level, channels, static_cast<int32_t>(zero_point),
                          weight, samples, /*separable=*/samples > 2,
                          /*stream=*/false);
          }
        }
        if (channels * sizeof(T) % kStreamAlignment == 0) {
          ExpectRule<T>(level, channels, static_cast<int32_t>(zero_point), 0.5,
                        1, /*separable=*/false, /*stream=*/true);
        }
      }
    }
  }
}

#define TF_ROIALIGN_TEST(T, ...) \
  TEST(FollowsTheRule, T) { ExpectRule<T>(); }
TF_ROIALIGN_FOR_EACH_CODE(TF_ROIALIGN_TEST)
#undef TF_ROIALIGN_TEST

TEST(Quantized, HalvesAreOfValueByScale) {
  const Params params = {{1, 1}, 1, false, Layout::kNHWC};
  // One sample, half way between the two pixels of a map of one row.
  const float box[] = {0, 0, -0.5f, 1, 1.5f};
  for (const SimdLevel level : UsableSimdLevels()) {
    for (const int64_t channels : {1, 4, 16, 64}) {
      const auto mean = [&](int a, int b, int zero_point) {
        std::vector<int8_t> features(channels, static_cast<int8_t>(a));
        features.insert(features.end(), channels, static_cast<int8_t>(b));
        std::vector<int8_t> output(channels, 99);
        const FeatureMap<const int8_t> map = {features.data(), 1, 2, 1, 1};
        ExpectOk(RoiAlignForwardQuantized(
            {Serial, level}, params, {1, channels, 1},
            Boxes<float>{BoxForm::kIndexed, box, 5, 1}, 1.0f, zero_point,
            FeatureMaps<const int8_t>(map), output.data()));
        for (const int8_t code : output) EXPECT_EQ(code, output[0]);
        return int(output[0]);
      };
      EXPECT_EQ(mean(0, 1, 0), 0);
      EXPECT_EQ(mean(1, 2, 0), 2);
      EXPECT_EQ(mean(2, 3, 0), 2);
      EXPECT_EQ(mean(-1, -2, 0), -2);
      EXPECT_EQ(mean(0, 1, 1), 1);
      EXPECT_EQ(mean(10, 11, 1), 11);
      EXPECT_EQ(mean(-1, -2, -1), -1);
      EXPECT_EQ(mean(-127, -128, 127), -127);
      EXPECT_EQ(mean(127, 127, 0), 127);
      EXPECT_EQ(mean(-128, -128, 0), -128);
    }
  }
}

// Neither overflows on the way, nor is the reciprocal infinite.
TEST(Quantized, AnyScaleMeansTheSame) {
  for (const float scale : {1e-38f, 1e-20f, 0.1f, 1e20f, 3e38f}) {
    const Quantization<float> q = MakeQuantization<int8_t>(scale, 3);
    EXPECT_GE(q.scale, 0.5f);
    EXPECT_LT(q.scale, 1.0f);
    EXPECT_NEAR(q.scale * q.inverse, 1.0f, 1e-6f);
  }
}

}  // namespace
}  // namespace tf_roialign
