#include "cc/core/cpu/box_tangent.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "cc/core/cpu/tuning.h"
#include "cc/core/testing/cpu_call.h"
#include "cc/core/testing/expect.h"
#include "cc/core/testing/threads.h"
#include "gtest/gtest.h"

namespace tf_roialign {
namespace {

const std::vector<double> kBoxes = {
    1, 1.13, 2.21, 6.37, 7.71,  // inside
    0, -3.3, -2.6, 4.47, 5.1,   // partly outside
    1, 20.2, 30.7, 25.3, 35.1,  // outside
    1, 6.61, 3.14, 2.23, 1.17,  // reversed
    0, NAN,  1.1,  3.3,  4.4,
};

class Tangent : public testing::TestWithParam<Layout> {
 protected:
  Tangent()
      : call_(RandomCall<double, double>(1, {{3, 2}, 2, true, GetParam()},
                                         {2, 37, 5}, {{9, 11, 0.9, 0.8}})) {
    call_.rows = kBoxes;
    // The first number of a row is not read.
    for (int64_t k = 0; k < 5; ++k) call_.direction[k * 5] = NAN;
  }

  std::vector<double> ForwardAt(double step) const {
    Call<double, double> moved = call_;
    for (int64_t k = 0; k < 5; ++k) {
      for (int64_t i = k * 5 + 1; i < k * 5 + 5; ++i) {
        moved.rows[i] += step * moved.direction[i];
      }
    }
    return Forward(moved, CurrentSimdLevel());
  }

  static constexpr int64_t kBox = 3 * 2 * 37;
  static constexpr int64_t kOutput = 5 * kBox;

  Call<double, double> call_;
};

TEST_P(Tangent, IsTheLimitOfDifferences) {
  const double step = 1e-6;
  const auto a = ForwardAt(step), b = ForwardAt(-step);
  for (const SimdLevel level : UsableSimdLevels()) {
    const auto got = BoxTangent(call_, level);
    double largest = 0;
    for (int64_t i = 0; i < 4 * kBox; ++i) {
      const double expected = (a[i] - b[i]) / (2 * step);
      EXPECT_NEAR(got[i], expected, 1e-7) << i;
      largest = std::max(largest, std::abs(expected));
    }
    EXPECT_GT(largest, 0.1);
    for (int64_t i = 4 * kBox; i < kOutput; ++i) {
      EXPECT_TRUE(std::isnan(got[i]));
    }
  }
}

TEST_P(Tangent, GradientIsTheTranspose) {
  for (const SimdLevel level : UsableSimdLevels()) {
    const auto gradient = BoxTangentGrad(call_, level)[0];
    const auto tangent = BoxTangent(call_, level);
    const std::vector<double>& features = call_.features[0];
    double left = 0, right = 0;
    for (int64_t i = 0; i < 4 * kBox; ++i) {
      left += call_.grad_output[i] * tangent[i];
    }
    for (size_t i = 0; i < gradient.size(); ++i) {
      right += gradient[i] * features[i];
    }
    EXPECT_NEAR(left, right, 1e-10);
    EXPECT_GT(std::abs(left), 0.1);
  }
}

// Taps of more boxes than are kept for all owners.
TEST_P(Tangent, GradientOfManyBoxesIsTheTranspose) {
  const Params params = {{1, 300}, -1, true, GetParam()};
  const auto call =
      RandomCall<double, double>(3, params, {1, 2, 1500}, {{18, 26, 0.9, 0.8}});
  ASSERT_GT(double(call.sizes.boxes) * 301 * 2 * kPixelTapBytes,
            kTapTableBytes);
  const SimdLevel level = CurrentSimdLevel();
  const auto gradient = BoxTangentGrad(call, level, Threads(3))[0];
  const auto tangent = BoxTangent(call, level);
  double left = 0, right = 0, terms = 0;
  for (size_t i = 0; i < tangent.size(); ++i) {
    left += call.grad_output[i] * tangent[i];
    terms += std::abs(call.grad_output[i] * tangent[i]);
  }
  for (size_t i = 0; i < gradient.size(); ++i) {
    right += gradient[i] * call.features[0][i];
  }
  EXPECT_NEAR(left, right, 1e-13 * terms);
  EXPECT_GT(std::abs(left), 1e-4 * terms);
}

// One image, so that its threads have to share it, and two; cut for as many
// threads as there are.
template <typename T>
void ExpectThreadsDoNotShow(Layout layout, int64_t batch, int64_t channels) {
  Call<T, float> call =
      RandomCall<T, float>(8, {{3, 4}, 0, true, layout}, {batch, channels, 150},
                           {{40, 50, 1.2, 1.1}, {20, 25, 0.6, 0.5}});
  for (int64_t k = 0; k < call.sizes.boxes; ++k) {
    call.map_indices.push_back(static_cast<int32_t>(k % 3 == 0));
  }
  const auto run = [&](int count) {
    const ParallelFor threads =
        count == 1 ? ParallelFor(Serial) : Threads(count);
    const CpuContext context = {threads, CurrentSimdLevel(), count};
    std::vector<std::vector<T>> grad =
        MakeFeatureGrad(call, nullptr, [&](const FeatureMaps<T>& to) {
          return RoiAlignBoxTangentGrad(context, call.params, call.sizes,
                                        call.boxes(), call.direction.data(),
                                        call.grad_output.data(), to);
        });
    std::vector<T> tangent(call.grad_output.size());
    WithFeatures(call, nullptr, [&](const FeatureMaps<const T>& features) {
      return RoiAlignBoxTangent(context, call.params, call.sizes, call.boxes(),
                                call.direction.data(), features,
                                tangent.data());
    });
    grad.push_back(tangent);
    return grad;
  };
  const auto expected = run(1);
  for (const int count : {2, 8, 32}) {
    const auto got = run(count);
    for (size_t i = 0; i < got.size(); ++i) ExpectSameBits(got[i], expected[i]);
  }
}

TEST_P(Tangent, BitsDoNotDependOnThreads) {
  for (const int64_t batch : {1, 2}) {
    for (const int64_t channels : {5, 300}) {
      ExpectThreadsDoNotShow<float>(GetParam(), batch, channels);
      ExpectThreadsDoNotShow<Half>(GetParam(), batch, channels);
    }
  }
}

// Threads have something to do where images and boxes are fewer.
TEST_P(Tangent, OneImageIsShared) {
  const Call<float, float> call = RandomCall<float, float>(
      8, {{7, 7}, 2, true, GetParam()}, {1, 256, 3}, {{50, 60, 1, 1}});
  int64_t most_units = 0;
  const ParallelFor threads =
      [&](int64_t units, int64_t,
          const std::function<void(int64_t, int64_t)>& run) {
        most_units = std::max(most_units, units);
        run(0, units);
      };
  MakeFeatureGrad(call, nullptr, [&](const FeatureMaps<float>& to) {
    const Status status = RoiAlignBoxTangentGrad(
        {threads, CurrentSimdLevel(), 8}, call.params, call.sizes, call.boxes(),
        call.direction.data(), call.grad_output.data(), to);
    EXPECT_GE(most_units, 8);
    return status;
  });
}

INSTANTIATE_TEST_SUITE_P(Layouts, Tangent,
                         testing::Values(Layout::kNHWC, Layout::kNCHW));

}  // namespace
}  // namespace tf_roialign
