#include "cc/core/cpu/roi_align_cpu.h"

#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include "cc/core/dtypes/dtypes.h"
#include "cc/core/testing/any_dtype.h"
#include "cc/core/testing/cpu_call.h"
#include "cc/core/testing/expect.h"
#include "cc/core/testing/naive_roi_align.h"
#include "cc/core/testing/threads.h"
#include "gtest/gtest.h"

namespace tf_roialign {
namespace {

// Few boxes of a small map, each in 3 x 4 bins.
template <typename T, typename B>
Call<T, B> SmallCall(int seed, Layout layout, bool aligned, int ratio,
                     int64_t channels) {
  return RandomCall<T, B>(seed, {{3, 4}, ratio, aligned, layout},
                          {2, channels, 24}, {{9, 13, 0.5, 0.45}});
}

template <typename T, typename B>
void ExpectForwardAndGradientAreNaive(const Call<T, B>& call) {
  const std::vector<T>& features = call.features[0];
  std::vector<double> output(call.grad_output.size(), 0);
  std::vector<double> grad(features.size(), 0);
  std::vector<double> grad_scale(features.size(), 1);
  for (int64_t k = 0; k < call.sizes.boxes; ++k) {
    VisitPixels(call.params, call.maps[0], &call.rows[k * 5 + 1],
                [&](int64_t p, int64_t q, int64_t y, int64_t x, double weight) {
                  for (int64_t c = 0; c < call.sizes.channels; ++c) {
                    const int64_t pixel = call.pixel(0, call.image(k), y, x, c);
                    const int64_t bin = call.bin(k, p, q, c);
                    output[bin] += weight * ToDouble(features[pixel]);
                    const double term =
                        weight * ToDouble(call.grad_output[bin]);
                    grad[pixel] += term;
                    grad_scale[pixel] += std::abs(term);
                  }
                });
  }
  for (const SimdLevel level : UsableSimdLevels()) {
    SCOPED_TRACE(SimdLevelName(level));
    const std::vector<T> got = Forward(call, level);
    for (size_t i = 0; i < output.size(); ++i) {
      ASSERT_NEAR(ToDouble(got[i]), output[i], Tolerance<T>()) << i;
    }
    const std::vector<T> got_grad = FeatureGrad(call, level)[0];
    for (size_t i = 0; i < grad.size(); ++i) {
      ASSERT_NEAR(ToDouble(got_grad[i]), grad[i],
                  Tolerance<T>() * grad_scale[i])
          << i;
    }
  }
}

class RoiAlignCpu
    : public testing::TestWithParam<std::tuple<Layout, bool, int, int64_t>> {
 protected:
  template <typename T, typename B>
  Call<T, B> Make() const {
    const auto [layout, aligned, ratio, channels] = GetParam();
    return SmallCall<T, B>(11, layout, aligned, ratio, channels);
  }

  template <typename T>
  void ExpectNaive() const {
#define TF_ROIALIGN_EXPECT(B) ExpectForwardAndGradientAreNaive(Make<T, B>());
    TF_ROIALIGN_FOR_EACH_BOX_TYPE(TF_ROIALIGN_EXPECT)
#undef TF_ROIALIGN_EXPECT
  }
};

#define TF_ROIALIGN_TEST(T, ...) \
  TEST_P(RoiAlignCpu, T) { ExpectNaive<T>(); }
TF_ROIALIGN_FOR_EACH_FLOAT(TF_ROIALIGN_TEST)
#undef TF_ROIALIGN_TEST

TEST_P(RoiAlignCpu, BoxGradientIsThatOfTheForward) {
  const Call<double, double> call = Make<double, double>();
  const double step = 1e-6;
  for (const SimdLevel level : UsableSimdLevels()) {
    const std::vector<double> grad = BoxGrad(call, level);
    int compared = 0;
    for (int64_t k = 0; k < call.sizes.boxes; ++k) {
      EXPECT_EQ(grad[k * 5], 0);
      const Call<double, double> alone = Only(call, {k});
      for (int i = 1; i < 5; ++i) {
        const auto loss = [&](double shift) {
          Call<double, double> moved = alone;
          moved.rows[i] += shift;
          const std::vector<double> output = Forward(moved, level);
          double sum = 0;
          for (size_t j = 0; j < output.size(); ++j) {
            sum += output[j] * alone.grad_output[j];
          }
          return sum;
        };
        // A kink or a jump within the step shows as two unlike slopes; there
        // the gradient is one-sided and nothing is to be compared.
        const double middle = loss(0);
        const double left = (middle - loss(-step)) / step;
        const double right = (loss(step) - middle) / step;
        if (std::abs(left - right) > 1e-3 * (1 + std::abs(left))) continue;
        ASSERT_NEAR(grad[k * 5 + i], (left + right) / 2,
                    1e-5 * (1 + std::abs(left)))
            << "box " << k << " coordinate " << i << " at "
            << SimdLevelName(level);
        ++compared;
      }
    }
    EXPECT_GT(compared, call.sizes.boxes * 4 * 8 / 10);
  }
}

TEST_P(RoiAlignCpu, SimdLevelsAgreeOnTheBoxGradient) {
  const Call<float, float> call = Make<float, float>();
  const std::vector<float> baseline = BoxGrad(call, SimdLevel::kBaseline);
  for (const SimdLevel level : UsableSimdLevels()) {
    const std::vector<float> grad = BoxGrad(call, level);
    for (size_t i = 0; i < grad.size(); ++i) {
      ASSERT_NEAR(grad[i], baseline[i], 1e-5 * (1 + std::abs(baseline[i])));
    }
  }
}

template <typename T>
void ExpectThreadsDoNotShow(const Call<T, float>& call) {
  const SimdLevel level = CurrentSimdLevel();
  for (const int threads : {2, 3, 8}) {
    ExpectSameBits(Forward(call, level),
                   Forward(call, level, Threads(threads)));
    ExpectSameBits(FeatureGrad(call, level)[0],
                   FeatureGrad(call, level, Threads(threads))[0]);
    ExpectSameBits(BoxGrad(call, level),
                   BoxGrad(call, level, Threads(threads)));
  }
}

TEST_P(RoiAlignCpu, BitsDoNotDependOnThreads) {
#define TF_ROIALIGN_EXPECT(T, ...) ExpectThreadsDoNotShow(Make<T, float>());
  TF_ROIALIGN_FOR_EACH_FLOAT(TF_ROIALIGN_EXPECT)
#undef TF_ROIALIGN_EXPECT
}

// Threads that are many more than the processors, on a call that is cut in all
// the ways there are.
TEST(ManyThreads, GiveTheSameBits) {
  for (const Layout layout : {Layout::kNHWC, Layout::kNCHW}) {
    for (const int64_t channels : {37, 300}) {
      Call<float, float> call = RandomCall<float, float>(
          8, {{3, 4}, 0, true, layout}, {2, channels, 300},
          {{70, 90, 2.1, 1.9}, {35, 45, 1.1, 0.9}});
      for (int64_t k = 0; k < call.sizes.boxes; ++k) {
        call.map_indices.push_back(static_cast<int32_t>(k % 3 == 0));
      }
      const SimdLevel level = CurrentSimdLevel();
      const auto grads = FeatureGrad(call, level);
      for (const int threads : {3, 32}) {
        ExpectSameBits(Forward(call, level),
                       Forward(call, level, Threads(threads)));
        ExpectSameBits(BoxGrad(call, level),
                       BoxGrad(call, level, Threads(threads)));
        const auto shared = FeatureGrad(call, level, Threads(threads));
        for (size_t m = 0; m < grads.size(); ++m) {
          ExpectSameBits(grads[m], shared[m]);
        }
      }
    }
  }
}

std::string ParamName(
    const testing::TestParamInfo<RoiAlignCpu::ParamType>& info) {
  const auto [layout, aligned, ratio, channels] = info.param;
  return std::string(layout == Layout::kNHWC ? "Nhwc" : "Nchw") +
         (aligned ? "Aligned" : "NotAligned") +
         (ratio > 0 ? "Ratio" + std::to_string(ratio) : "Adaptive") +
         "Channels" + std::to_string(channels);
}

// 1 and 3 are single channels, 301 runs through every block size.
INSTANTIATE_TEST_SUITE_P(
    , RoiAlignCpu,
    testing::Combine(testing::Values(Layout::kNHWC, Layout::kNCHW),
                     testing::Bool(), testing::Values(-1, 1, 2, 3),
                     testing::Values(1, 3, 21, 301)),
    ParamName);

template <typename T>
void ExpectBadBoxIsAlone(Layout layout, float bad) {
  const Call<T, float> good = SmallCall<T, float>(5, layout, true, 2, 21);
  for (int coordinate = 1; coordinate < 5; ++coordinate) {
    Call<T, float> call = good;
    call.rows[3 * 5 + coordinate] = bad;
    const SimdLevel level = CurrentSimdLevel();
    const std::vector<T> output = Forward(call, level);
    const std::vector<T> expected = Forward(good, level);
    for (int64_t i = 0; i < static_cast<int64_t>(output.size()); ++i) {
      const int64_t k = i / (12 * 21);
      if (k == 3) {
        ASSERT_TRUE(std::isnan(ToDouble(output[i])));
      } else {
        ASSERT_EQ(ToDouble(output[i]), ToDouble(expected[i]));
      }
    }
    // Adds nothing: as if its upstream were zero.
    Call<T, float> silent = good;
    for (int64_t i = 0; i < 12 * 21; ++i) {
      silent.grad_output[3 * 12 * 21 + i] = FromDouble<T>(0);
    }
    const std::vector<T> grad = FeatureGrad(call, level)[0];
    const std::vector<T> grad_silent = FeatureGrad(silent, level)[0];
    for (size_t i = 0; i < grad.size(); ++i) {
      ASSERT_EQ(ToDouble(grad[i]), ToDouble(grad_silent[i]));
    }
    const std::vector<float> box_grad = BoxGrad(call, level);
    for (int i = 1; i < 5; ++i) {
      ASSERT_TRUE(std::isnan(box_grad[3 * 5 + i]));
    }
    ASSERT_EQ(box_grad[3 * 5], 0);
    ASSERT_TRUE(std::isfinite(box_grad[4 * 5 + 1]));
  }
}

TEST(BadBoxes, AreNaNAndTouchNoOther) {
  for (const Layout layout : {Layout::kNHWC, Layout::kNCHW}) {
    for (const float bad : {NAN, INFINITY, -INFINITY}) {
#define TF_ROIALIGN_EXPECT(T, ...) ExpectBadBoxIsAlone<T>(layout, bad);
      TF_ROIALIGN_FOR_EACH_FLOAT(TF_ROIALIGN_EXPECT)
#undef TF_ROIALIGN_EXPECT
    }
  }
}

// Any coordinates at all: nothing may be read or written out of bounds (run
// under the sanitizers) and no call may take long.
template <typename T, typename B>
void PoolAnything(Layout layout, int ratio, bool aligned) {
  Call<T, B> call = SmallCall<T, B>(1, layout, aligned, ratio, 5);
  std::mt19937_64 random(9);
  const double limits[] = {0,    -0.5,  0.5,  1e-30, -1e-30, 1,   -1,
                           13,   1e3,   -1e3, 1e6,   -1e6,   1e9, -1e9,
                           1e18, -1e18, 1e30, 3e38,  -3e38,  NAN, INFINITY};
  std::uniform_int_distribution<int> pick(0, std::size(limits) - 1);
  for (int round = 0; round < 60; ++round) {
    for (int64_t k = 0; k < call.sizes.boxes; ++k) {
      for (int i = 1; i < 5; ++i) {
        call.rows[k * 5 + i] = static_cast<B>(limits[pick(random)]);
      }
    }
    const SimdLevel level = CurrentSimdLevel();
    for (const T value : Forward(call, level)) {
      ASSERT_FALSE(std::abs(ToDouble(value)) > 1.01);
    }
    const std::vector<T> grad = FeatureGrad(call, level)[0];
    for (const T value : grad) {
      ASSERT_TRUE(std::isfinite(ToDouble(value)));
    }
    BoxGrad(call, level);
  }
}

TEST(AnyBoxes, StayInBounds) {
  for (const Layout layout : {Layout::kNHWC, Layout::kNCHW}) {
    for (const int ratio : {-1, 2}) {
      for (const bool aligned : {false, true}) {
#define TF_ROIALIGN_POOL(T, ...)                  \
  PoolAnything<T, float>(layout, ratio, aligned); \
  PoolAnything<T, double>(layout, ratio, aligned);
        TF_ROIALIGN_FOR_EACH_FLOAT(TF_ROIALIGN_POOL)
#undef TF_ROIALIGN_POOL
      }
    }
  }
}

TEST(OutsideSamples, AreZeroEvenOverNaN) {
  Call<float, float> call =
      SmallCall<float, float>(2, Layout::kNHWC, true, 2, 5);
  for (float& value : call.features[0]) value = NAN;
  for (int64_t k = 0; k < call.sizes.boxes; ++k) {
    const float outside[] = {-50, -60, -30, -20};
    for (int i = 1; i < 5; ++i) call.rows[k * 5 + i] = outside[i - 1];
  }
  for (const float value : Forward(call, CurrentSimdLevel())) {
    ASSERT_EQ(value, 0.f);
  }
}

TEST(NoBoxes, GiveAZeroGradient) {
  for (const Layout layout : {Layout::kNHWC, Layout::kNCHW}) {
    const Call<Half, float> call =
        Only(SmallCall<Half, float>(2, layout, true, 2, 5), {});
    for (const auto& grad : {FeatureGrad(call, CurrentSimdLevel())[0],
                             BoxTangentGrad(call, CurrentSimdLevel())[0]}) {
      for (const Half value : grad) ASSERT_EQ(value.bits, 0);
    }
  }
}

// With a zero among them, the other sizes may be any.
TEST(NoChannels, ArePooledToNothing) {
  for (const Layout layout : {Layout::kNHWC, Layout::kNCHW}) {
    Call<float, float> call = SmallCall<float, float>(2, layout, true, 2, 0);
    call.params.output_size = {INT64_C(2147483647), INT64_C(2147483647)};
    const SimdLevel level = CurrentSimdLevel();
    EXPECT_TRUE(Forward(call, level).empty());
    EXPECT_TRUE(FeatureGrad(call, level)[0].empty());
    EXPECT_TRUE(BoxTangent(call, level).empty());
    EXPECT_TRUE(BoxTangentGrad(call, level)[0].empty());
    const std::vector<float> grad = BoxGrad(call, level);
    for (const float value : grad) ASSERT_EQ(value, 0.f);
  }
}

}  // namespace
}  // namespace tf_roialign
