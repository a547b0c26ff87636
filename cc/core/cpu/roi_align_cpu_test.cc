#include "cc/core/cpu/roi_align_cpu.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "cc/core/testing/naive_roi_align.h"
#include "gtest/gtest.h"

namespace tf_roialign {
namespace {

template <typename T>
double ToDouble(T value) {
  if constexpr (std::is_same_v<T, Half> || std::is_same_v<T, BFloat16>) {
    return ToFloat(value);
  } else {
    return value;
  }
}

template <typename T>
T FromDouble(double value) {
  if constexpr (std::is_same_v<T, Half>) {
    return ToHalf(static_cast<float>(value));
  } else if constexpr (std::is_same_v<T, BFloat16>) {
    return ToBFloat16(static_cast<float>(value));
  } else {
    return static_cast<T>(value);
  }
}

// Relative to values of about 1.
template <typename T>
double Tolerance() {
  if constexpr (std::is_same_v<T, Half>) return 2e-3;
  if constexpr (std::is_same_v<T, BFloat16>) return 1.6e-2;
  if constexpr (std::is_same_v<T, float>) return 2e-6;
  return 1e-14;
}

// Threads that take the units in pieces of any size.
ParallelFor Threads(int count) {
  return [count](int64_t units, int64_t /*cost*/,
                 const std::function<void(int64_t, int64_t)>& run) {
    std::vector<std::thread> threads;
    for (int i = 0; i < count; ++i) {
      const int64_t first = units * i / count;
      const int64_t last = units * (i + 1) / count;
      if (first < last) threads.emplace_back([=] { run(first, last); });
    }
    for (std::thread& thread : threads) thread.join();
  };
}

// One call's sizes and data.
template <typename T, typename B>
struct Call {
  Params params;
  Sizes sizes;
  std::vector<B> rows;  // [K, 5]
  std::vector<int64_t> image;
  std::vector<T> features;
  std::vector<T> grad_output;

  BoxTable<B> boxes() const {
    return {rows.data(), 5, sizes.boxes, image.data()};
  }
  int64_t pixel(int64_t n, int64_t y, int64_t x, int64_t c) const {
    return params.layout == Layout::kNHWC
               ? ((n * sizes.height + y) * sizes.width + x) * sizes.channels + c
               : ((n * sizes.channels + c) * sizes.height + y) * sizes.width +
                     x;
  }
  int64_t bin(int64_t k, int64_t p, int64_t q, int64_t c) const {
    const int64_t ph = params.pooled_height, pw = params.pooled_width;
    return params.layout == Layout::kNHWC
               ? ((k * ph + p) * pw + q) * sizes.channels + c
               : ((k * sizes.channels + c) * ph + p) * pw + q;
  }
};

// Boxes inside, on the border, outside, tiny, reversed and large.
template <typename T, typename B>
Call<T, B> MakeCall(int seed, Layout layout, bool aligned, int ratio,
                    int64_t channels) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<double> unit(0, 1), value(-1, 1);
  Call<T, B> call;
  call.params = {3, 4, 0.5, ratio, aligned, layout};
  call.sizes = {2, 9, 13, channels, 24};
  for (int64_t k = 0; k < call.sizes.boxes; ++k) {
    const double x = unit(random) * 40 - 7, y = unit(random) * 30 - 6;
    const double side = k % 4 == 0 ? 1 : k % 4 == 1 ? 60 : 14;
    const double w = (unit(random) - (k % 5 == 0 ? 0.7 : 0)) * side;
    const double h = (unit(random) - (k % 7 == 0 ? 0.7 : 0)) * side;
    call.image.push_back(k % 2);
    for (const double number : {double(k % 2), x, y, x + w, y + h}) {
      call.rows.push_back(static_cast<B>(number));
    }
  }
  const int64_t pixels = 2 * 9 * 13 * channels;
  for (int64_t i = 0; i < pixels; ++i) {
    call.features.push_back(FromDouble<T>(value(random)));
  }
  for (int64_t i = 0; i < call.sizes.boxes * 12 * channels; ++i) {
    call.grad_output.push_back(FromDouble<T>(value(random)));
  }
  return call;
}

template <typename T, typename B>
std::vector<T> Forward(const Call<T, B>& call, SimdLevel level,
                       const ParallelFor& threads = Serial) {
  std::vector<T> output(call.grad_output.size());
  RoiAlignForward({threads, level}, call.params, call.sizes, call.boxes(),
                  call.features.data(), output.data());
  return output;
}

template <typename T, typename B>
std::vector<T> FeatureGrad(const Call<T, B>& call, SimdLevel level,
                           const ParallelFor& threads = Serial) {
  // Not zero before: every element has to be written.
  std::vector<T> grad(call.features.size(), FromDouble<T>(77));
  RoiAlignFeatureGrad({threads, level}, call.params, call.sizes, call.boxes(),
                      call.grad_output.data(), grad.data());
  return grad;
}

template <typename T, typename B>
std::vector<B> BoxGrad(const Call<T, B>& call, SimdLevel level) {
  std::vector<B> grad(call.rows.size(), B(77));
  RoiAlignBoxGrad({Serial, level}, call.params, call.sizes, call.boxes(),
                  call.features.data(), call.grad_output.data(), grad.data());
  return grad;
}

template <typename T, typename B>
void VisitBox(const Call<T, B>& call, int64_t k,
              const std::function<void(int64_t, int64_t, int64_t, int64_t,
                                       double)>& visit) {
  VisitPixels(call.params, call.sizes.height, call.sizes.width,
              &call.rows[k * 5 + 1], visit);
}

template <typename T, typename B>
void ExpectForwardAndGradientAreNaive(const Call<T, B>& call) {
  std::vector<double> output(call.grad_output.size(), 0);
  std::vector<double> grad(call.features.size(), 0);
  std::vector<double> grad_scale(call.features.size(), 1);
  for (int64_t k = 0; k < call.sizes.boxes; ++k) {
    VisitBox(call, k,
             [&](int64_t p, int64_t q, int64_t y, int64_t x, double weight) {
               for (int64_t c = 0; c < call.sizes.channels; ++c) {
                 const int64_t pixel = call.pixel(call.image[k], y, x, c);
                 const int64_t bin = call.bin(k, p, q, c);
                 output[bin] += weight * ToDouble(call.features[pixel]);
                 const double term = weight * ToDouble(call.grad_output[bin]);
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
    const std::vector<T> got_grad = FeatureGrad(call, level);
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
    return MakeCall<T, B>(11, layout, aligned, ratio, channels);
  }
};

TEST_P(RoiAlignCpu, Float) {
  ExpectForwardAndGradientAreNaive(Make<float, float>());
}

TEST_P(RoiAlignCpu, Double) {
  ExpectForwardAndGradientAreNaive(Make<double, double>());
}

TEST_P(RoiAlignCpu, MixedBoxDtypes) {
  ExpectForwardAndGradientAreNaive(Make<double, float>());
  ExpectForwardAndGradientAreNaive(Make<float, double>());
}

TEST_P(RoiAlignCpu, Half) {
  ExpectForwardAndGradientAreNaive(Make<Half, float>());
}

TEST_P(RoiAlignCpu, BFloat16) {
  ExpectForwardAndGradientAreNaive(Make<BFloat16, float>());
}

TEST_P(RoiAlignCpu, BoxGradientIsThatOfTheForward) {
  const Call<double, double> call = Make<double, double>();
  const double step = 1e-6;
  for (const SimdLevel level : UsableSimdLevels()) {
    const std::vector<double> grad = BoxGrad(call, level);
    int compared = 0;
    for (int64_t k = 0; k < call.sizes.boxes; ++k) {
      EXPECT_EQ(grad[k * 5], 0);
      for (int i = 1; i < 5; ++i) {
        const auto loss = [&](double shift) {
          Call<double, double> moved = call;
          moved.rows[k * 5 + i] += shift;
          const std::vector<double> output = Forward(moved, level);
          double sum = 0;
          for (size_t j = 0; j < output.size(); ++j) {
            sum += output[j] * call.grad_output[j];
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
void ExpectSameBits(const std::vector<T>& a, const std::vector<T>& b) {
  ASSERT_EQ(a.size(), b.size());
  EXPECT_EQ(std::memcmp(a.data(), b.data(), a.size() * sizeof(T)), 0);
}

TEST_P(RoiAlignCpu, BitsDoNotDependOnThreads) {
  const Call<float, float> call = Make<float, float>();
  const Call<BFloat16, float> narrow = Make<BFloat16, float>();
  const SimdLevel level = CurrentSimdLevel();
  for (const int threads : {2, 3, 8}) {
    ExpectSameBits(Forward(call, level),
                   Forward(call, level, Threads(threads)));
    ExpectSameBits(FeatureGrad(call, level),
                   FeatureGrad(call, level, Threads(threads)));
    ExpectSameBits(FeatureGrad(narrow, level),
                   FeatureGrad(narrow, level, Threads(threads)));
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
  const Call<T, float> good = MakeCall<T, float>(5, layout, true, 2, 21);
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
    const std::vector<T> grad = FeatureGrad(call, level);
    const std::vector<T> grad_silent = FeatureGrad(silent, level);
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
      ExpectBadBoxIsAlone<float>(layout, bad);
      ExpectBadBoxIsAlone<Half>(layout, bad);
    }
  }
}

// Any coordinates at all: nothing may be read or written out of bounds (run
// under the sanitizers) and no call may take long.
template <typename T, typename B>
void PoolAnything(Layout layout, int ratio, bool aligned) {
  Call<T, B> call = MakeCall<T, B>(1, layout, aligned, ratio, 5);
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
    for (const T value : FeatureGrad(call, level)) {
      ASSERT_TRUE(std::isfinite(ToDouble(value)));
    }
    BoxGrad(call, level);
  }
}

TEST(AnyBoxes, StayInBounds) {
  for (const Layout layout : {Layout::kNHWC, Layout::kNCHW}) {
    for (const int ratio : {-1, 2}) {
      for (const bool aligned : {false, true}) {
        PoolAnything<float, float>(layout, ratio, aligned);
        PoolAnything<float, double>(layout, ratio, aligned);
        PoolAnything<BFloat16, float>(layout, ratio, aligned);
      }
    }
  }
}

TEST(OutsideSamples, AreZeroEvenOverNaN) {
  Call<float, float> call =
      MakeCall<float, float>(2, Layout::kNHWC, true, 2, 5);
  for (float& value : call.features) value = NAN;
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
    Call<Half, float> call = MakeCall<Half, float>(2, layout, true, 2, 5);
    call.sizes.boxes = 0;
    for (const Half value : FeatureGrad(call, CurrentSimdLevel())) {
      ASSERT_EQ(value.bits, 0);
    }
  }
}

TEST(ResolveImages, FindsTheFirstBadRow) {
  int64_t image[3];
  const int32_t* none = nullptr;
  const float good[] = {0, 1, 1, 1, 1, 1.9f, 1, 1, 1, 1};
  EXPECT_EQ(ResolveImages(BoxForm::kIndexed, good, 2, none, 2, image), -1);
  EXPECT_EQ(image[0], 0);
  EXPECT_EQ(image[1], 1);
  for (const float bad : {-1.f, -0.5f, 2.f, 1e30f, NAN, INFINITY, -INFINITY}) {
    const float rows[] = {0, 1, 1, 1, 1, bad, 1, 1, 1, 1};
    EXPECT_EQ(ResolveImages(BoxForm::kIndexed, rows, 2, none, 2, image), 1);
  }
  const int64_t indices[] = {1, 0, 2};
  EXPECT_EQ(ResolveImages(BoxForm::kSeparate, good, 2, indices, 2, image), -1);
  EXPECT_EQ(ResolveImages(BoxForm::kSeparate, good, 3, indices, 2, image), 2);
}

TEST(ResolveImages, SpreadsDenseBoxesOverImages) {
  int64_t image[6];
  const float rows[24] = {};
  const int32_t* none = nullptr;
  EXPECT_EQ(ResolveImages(BoxForm::kDense, rows, 6, none, 2, image), -1);
  EXPECT_EQ(image[2], 0);
  EXPECT_EQ(image[3], 1);
  EXPECT_EQ(ResolveImages(BoxForm::kDense, rows, 0, none, 0, image), -1);
}

}  // namespace
}  // namespace tf_roialign
