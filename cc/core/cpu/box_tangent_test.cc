#include "cc/core/cpu/box_tangent.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "cc/core/cpu/roi_align_cpu.h"

namespace tf_roialign {
namespace {

constexpr Sizes kSizes = {2, 9, 11, 37, 5};
const std::vector<int64_t> kImage = {1, 0, 1, 1, 0};
// [K, 5]: the first number of a row is not read here.
const std::vector<double> kBoxes = {
    7, 1.13, 2.21, 6.37, 7.71,  // inside
    7, -3.3, -2.6, 4.47, 5.1,   // partly outside
    7, 20.2, 30.7, 25.3, 35.1,  // outside
    7, 6.61, 3.14, 2.23, 1.17,  // reversed
    7, NAN,  1.1,  3.3,  4.4,
};

std::vector<double> Random(int64_t count, int seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<double> normal;
  std::vector<double> values(count);
  for (double& value : values) value = normal(generator);
  return values;
}

class BoxTangent : public testing::TestWithParam<Layout> {
 protected:
  BoxTangent() {
    params_.pooled_height = 3;
    params_.pooled_width = 2;
    params_.spatial_scale = 0.9;
    params_.sampling_ratio = 2;
    params_.aligned = true;
    params_.layout = GetParam();
  }

  static BoxTable<double> Table(const std::vector<double>& rows) {
    return {rows.data(), 5, kSizes.boxes, kImage.data()};
  }

  std::vector<double> Forward(const std::vector<double>& rows,
                              const std::vector<double>& features) const {
    std::vector<double> output(kOutput);
    RoiAlignForward({parallel_}, params_, kSizes, Table(rows), features.data(),
                    output.data());
    return output;
  }

  std::vector<double> Tangent(const std::vector<double>& direction,
                              const std::vector<double>& features) const {
    std::vector<double> output(kOutput);
    RoiAlignBoxTangent({parallel_}, params_, kSizes, Table(kBoxes),
                       direction.data(), features.data(), output.data());
    return output;
  }

  static constexpr int64_t kFeatures = 2 * 9 * 11 * 37;
  static constexpr int64_t kBox = 3 * 2 * 37;
  static constexpr int64_t kOutput = 5 * kBox;

  const ParallelFor parallel_ = Serial;
  Params params_;
};

TEST_P(BoxTangent, IsTheLimitOfDifferences) {
  const std::vector<double> features = Random(kFeatures, 1);
  const std::vector<double> direction = Random(25, 2);
  const double step = 1e-6;
  std::vector<double> plus = kBoxes, minus = kBoxes;
  for (int i = 0; i < 25; ++i) {
    plus[i] += step * direction[i];
    minus[i] -= step * direction[i];
  }
  const auto got = Tangent(direction, features);
  const auto a = Forward(plus, features), b = Forward(minus, features);
  double largest = 0;
  for (int64_t i = 0; i < 4 * kBox; ++i) {
    const double expected = (a[i] - b[i]) / (2 * step);
    EXPECT_NEAR(got[i], expected, 1e-7) << i;
    largest = std::max(largest, std::abs(expected));
  }
  EXPECT_GT(largest, 0.1);
  for (int64_t i = 4 * kBox; i < kOutput; ++i) EXPECT_TRUE(std::isnan(got[i]));
}

TEST_P(BoxTangent, GradientIsTheTranspose) {
  const std::vector<double> features = Random(kFeatures, 1);
  const std::vector<double> direction = Random(25, 2);
  const std::vector<double> upstream = Random(kOutput, 3);
  std::vector<double> gradient(kFeatures, NAN);  // every element is written
  RoiAlignBoxTangentGrad({parallel_}, params_, kSizes, Table(kBoxes),
                         direction.data(), upstream.data(), gradient.data());
  const auto tangent = Tangent(direction, features);
  double left = 0, right = 0;
  for (int64_t i = 0; i < 4 * kBox; ++i) left += upstream[i] * tangent[i];
  for (int64_t i = 0; i < kFeatures; ++i) right += gradient[i] * features[i];
  EXPECT_NEAR(left, right, 1e-10);
  EXPECT_GT(std::abs(left), 0.1);
}

INSTANTIATE_TEST_SUITE_P(Layouts, BoxTangent,
                         testing::Values(Layout::kNHWC, Layout::kNCHW));

}  // namespace
}  // namespace tf_roialign
