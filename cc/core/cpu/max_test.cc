// Mode "max" on CPU.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "cc/core/cpu/roi_align_cpu.h"
#include "cc/core/geometry/box_axes.h"
#include "cc/core/testing/cpu_call.h"
#include "cc/core/testing/threads.h"
#include "gtest/gtest.h"

namespace tf_roialign {
namespace {

const std::vector<MapSize> kMaps = {{18, 26, 1, 0.9}, {9, 13, 0.5, 0.45}};

Params MaxParams(int64_t ratio, bool aligned, Layout layout = Layout::kNHWC) {
  Params params;
  params.output_size = {3, 2};
  params.sampling_ratio = ratio;
  params.aligned = aligned;
  params.data_format = layout;
  params.mode = Mode::kMax;
  return params;
}

template <typename T, typename B>
Call<T, B> MaxCall(const Params& params, int64_t channels = 37) {
  Call<T, B> call = RandomCall<T, B>(7, params, {2, channels, 40}, kMaps);
  for (int64_t k = 0; k < 40; ++k) call.map_indices.push_back(k % 3 == 0);
  return call;
}

template <typename T, typename B>
std::vector<std::vector<T>> MaxFeatureGrad(
    const Call<T, B>& call, SimdLevel level,
    const ParallelFor& threads = Serial) {
  std::vector<std::vector<T>> result;
  WithFeatures(call, nullptr, [&](const FeatureMaps<const T>& features) {
    result = MakeFeatureGrad(call, nullptr, [&](const FeatureMaps<T>& grad) {
      return RoiAlignMaxFeatureGrad({threads, level}, call.params, call.sizes,
                                    call.boxes(), features,
                                    call.grad_output.data(), grad);
    });
    return Status();
  });
  return result;
}

// Sample by sample.
template <typename T, typename B>
double NaiveMax(const Call<T, B>& call, int64_t k, int64_t p, int64_t q,
                int64_t c) {
  const MapSize& size = call.maps[call.map(k)];
  const FeatureMap<const T> map = {call.features[call.map(k)].data(),
                                   size.height, size.width, size.scale_y,
                                   size.scale_x};
  const BoxAxes<B> axes =
      MakeBoxAxes(call.params, map, call.boxes().coordinates(k));
  bool is_first = true;
  double largest = 0;
  for (int64_t i = 0; i < axes.y.grid; ++i) {
    for (int64_t j = 0; j < axes.x.grid; ++j) {
      const B y = SampleCoordinate(axes.y, p, i);
      const B x = SampleCoordinate(axes.x, q, j);
      double value = 0;
      if (IsInside(y, size.height) && IsInside(x, size.width)) {
        const LinearSample<B> at_y = Interpolate(y, size.height);
        const LinearSample<B> at_x = Interpolate(x, size.width);
        const auto at = [&](int64_t row, int64_t column) {
          return ToDouble(call.features[call.map(k)][call.pixel(
              call.map(k), call.image(k), row, column, c)]);
        };
        const double fy = at_y.fraction, fx = at_x.fraction;
        value =
            (1 - fy) *
                ((1 - fx) * at(at_y.lo, at_x.lo) + fx * at(at_y.lo, at_x.hi)) +
            fy * ((1 - fx) * at(at_y.hi, at_x.lo) + fx * at(at_y.hi, at_x.hi));
      }
      if (is_first || value > largest) largest = value;
      is_first = false;
    }
  }
  return largest;
}

const std::vector<SimdLevel> kLevels = {SimdLevel::kBaseline, SimdLevel::kAvx2,
                                        SimdLevel::kAvx512};

template <typename Visit>
void ForEachCase(const Visit& visit) {
  for (const int64_t ratio : {-1, 1, 2, 9}) {
    for (const bool aligned : {false, true}) {
      for (const Layout layout : {Layout::kNHWC, Layout::kNCHW}) {
        for (const SimdLevel level : kLevels) {
          if (level > CurrentSimdLevel()) continue;
          visit(MaxParams(ratio, aligned, layout), level);
        }
      }
    }
  }
}

TEST(Max, IsTheLargestSample) {
  ForEachCase([](const Params& params, SimdLevel level) {
    const auto call = MaxCall<float, float>(params);
    const std::vector<float> output = Forward(call, level);
    for (int64_t k = 0; k < call.sizes.boxes; ++k) {
      for (int64_t p = 0; p < 3; ++p) {
        for (int64_t q = 0; q < 2; ++q) {
          for (int64_t c = 0; c < call.sizes.channels; c += 6) {
            ASSERT_NEAR(output[call.bin(k, p, q, c)],
                        NaiveMax(call, k, p, q, c), 2e-6);
          }
        }
      }
    }
  });
}

// The largest sample is a sum of pixels by weights, and the gradient has the
// same weights.
TEST(Max, GradientIsTheTransposeOfTheForward) {
  ForEachCase([](const Params& params, SimdLevel level) {
    const auto call = MaxCall<double, double>(params);
    const std::vector<double> output = Forward(call, level);
    double forward = 0, backward = 0;
    for (size_t i = 0; i < output.size(); ++i) {
      forward += output[i] * call.grad_output[i];
    }
    const auto grad = MaxFeatureGrad(call, level);
    for (size_t m = 0; m < grad.size(); ++m) {
      for (size_t i = 0; i < grad[m].size(); ++i) {
        backward += grad[m][i] * call.features[m][i];
      }
    }
    EXPECT_NEAR(forward, backward, 1e-10);
  });
}

// Levels have other ways to the same gradient: pixel by pixel where a vector
// holds the weights of all samples of a bin, else sample by sample.
TEST(Max, LevelsAgreeOnTheFeatureGradient) {
  for (const int64_t ratio : {-1, 1, 2, 3, 4, 5}) {
    for (const Layout layout : {Layout::kNHWC, Layout::kNCHW}) {
      Params params = MaxParams(ratio, true, layout);
      params.output_size = {3, 21};  // more bins than one pass has
      auto call = MaxCall<float, float>(params, 53);
      // Infinity goes to the pixels of the largest sample alone.
      for (size_t i = 0; i < call.grad_output.size(); i += 1009) {
        call.grad_output[i] = std::numeric_limits<float>::infinity();
      }
      const auto expected = MaxFeatureGrad(call, SimdLevel::kBaseline);
      int infinite = 0, finite = 0;
      for (const SimdLevel level : kLevels) {
        if (level > CurrentSimdLevel()) continue;
        const auto got = MaxFeatureGrad(call, level);
        for (size_t m = 0; m < got.size(); ++m) {
          for (size_t i = 0; i < got[m].size(); ++i) {
            if (std::isfinite(expected[m][i])) {
              ASSERT_NEAR(got[m][i], expected[m][i], 1e-5);
              ++finite;
            } else {
              ASSERT_FALSE(std::isfinite(got[m][i]));
              ++infinite;
            }
          }
        }
      }
      EXPECT_GT(infinite, 0);
      EXPECT_GT(finite, infinite);
    }
  }
}

TEST(Max, ThreadsChangeNoBit) {
  for (const Layout layout : {Layout::kNHWC, Layout::kNCHW}) {
    const auto call = MaxCall<float, double>(MaxParams(-1, true, layout), 130);
    const SimdLevel level = CurrentSimdLevel();
    EXPECT_EQ(Forward(call, level), Forward(call, level, Threads(5)));
    EXPECT_EQ(MaxFeatureGrad(call, level),
              MaxFeatureGrad(call, level, Threads(5)));
    EXPECT_EQ(BoxGrad(call, level), BoxGrad(call, level, Threads(5)));
  }
}

// Along a box, sampled so that no sample lies on a pixel.
TEST(Max, BoxGradientIsTheSlope) {
  for (const Layout layout : {Layout::kNHWC, Layout::kNCHW}) {
    for (const int64_t ratio : {2, 5}) {
      auto call = MaxCall<double, double>(MaxParams(ratio, true, layout), 9);
      const SimdLevel level = CurrentSimdLevel();
      const std::vector<double> grad = BoxGrad(call, level);
      const auto loss = [&](int64_t k) {
        const std::vector<double> output = Forward(call, level);
        const int64_t count = call.bins() * call.sizes.channels;
        double sum = 0;
        for (int64_t i = k * count; i < (k + 1) * count; ++i) {
          sum += output[i] * call.grad_output[i];
        }
        return sum;
      };
      int wrong = 0;
      for (int64_t k = 0; k < 12; ++k) {
        for (int64_t i = 1; i < 5; ++i) {
          double& coordinate = call.rows[k * 5 + i];
          const double at = coordinate, step = 1e-7;
          coordinate = at + step;
          const double above = loss(k);
          coordinate = at - step;
          const double below = loss(k);
          coordinate = at;
          const double slope = (above - below) / (2 * step);
          wrong += std::abs(slope - grad[k * 5 + i]) > 1e-5;
        }
      }
      EXPECT_LE(wrong, 1);  // where samples change places within the step
    }
  }
}

TEST(Max, ANumberOfSamplesThatTakesMoreThanAByte) {
  Params params = MaxParams(-1, false);
  params.output_size = {1, 1};
  Call<float, float> call =
      RandomCall<float, float>(3, params, {1, 21, 1}, {{30, 40, 1, 1}});
  call.rows = {0, 0, 0, 40, 30};
  const SimdLevel level = CurrentSimdLevel();
  const std::vector<float> output = Forward(call, level);
  const auto grad = MaxFeatureGrad(call, level);
  double forward = 0, backward = 0;
  for (int64_t c = 0; c < 21; ++c) {
    EXPECT_NEAR(output[c], NaiveMax(call, 0, 0, 0, c), 2e-6);
    forward += output[c] * call.grad_output[c];
  }
  for (size_t i = 0; i < grad[0].size(); ++i) {
    backward += grad[0][i] * call.features[0][i];
  }
  EXPECT_NEAR(forward, backward, 1e-5);
}

// The largest sample is the last, whose number a byte has, or does not.
TEST(Max, TheLastOfAsManySamplesAsAByteHasNumbers) {
  Params params = MaxParams(-1, false);
  params.output_size = {1, 1};
  for (const int64_t samples : {256, 257}) {
    Call<float, float> call =
        RandomCall<float, float>(3, params, {1, 3, 1}, {{300, 4, 1, 1}});
    call.rows = {0, 1, 0, 2, float(samples)};
    for (size_t i = 0; i < call.features[0].size(); ++i) {
      call.features[0][i] = float(i / 12);  // that is y
    }
    const auto grad = MaxFeatureGrad(call, CurrentSimdLevel())[0];
    for (int64_t c = 0; c < 3; ++c) {
      for (int64_t y : {samples - 1, samples}) {
        EXPECT_NEAR(grad[(y * 4 + 1) * 3 + c] + grad[(y * 4 + 2) * 3 + c],
                    call.grad_output[c] / 2, 1e-6)
            << samples << " samples";
      }
    }
  }
}

TEST(Max, ANaNIsTheLargest) {
  auto call = MaxCall<float, float>(MaxParams(2, false), 40);
  for (auto& map : call.features) {
    for (size_t i = 0; i < map.size(); i += 977) {
      map[i] = std::numeric_limits<float>::quiet_NaN();
    }
  }
  std::vector<bool> expected;
  for (const SimdLevel level : kLevels) {
    if (level > CurrentSimdLevel()) continue;
    std::vector<bool> is_nan;
    for (const float value : Forward(call, level)) {
      is_nan.push_back(value != value);
    }
    if (expected.empty()) expected = is_nan;
    EXPECT_EQ(is_nan, expected);
  }
  EXPECT_NE(std::count(expected.begin(), expected.end(), true), 0);
}

}  // namespace
}  // namespace tf_roialign
