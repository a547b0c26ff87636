#include "cc/core/cpu/axis_taps.h"

#include <map>
#include <random>
#include <utility>

#include "gtest/gtest.h"

namespace tf_roialign {
namespace {

struct Expected {
  double weight = 0, slope1 = 0, slope2 = 0;
};

// The pixels of one bin, sample by sample.
std::map<int64_t, Expected> VisitSamples(const AxisOnMap<double, int64_t>& box,
                                         int64_t p) {
  const Axis<double>& axis = box.axis;
  std::map<int64_t, Expected> pixels;
  for (int64_t t = 0; t < axis.grid; ++t) {
    const double v = SampleCoordinate(axis, p, t);
    if (v < -1 || v > box.length) continue;
    const LinearSample<double> sample = Interpolate(v, box.length);
    pixels[sample.lo].weight += (1 - sample.fraction) / axis.grid;
    pixels[sample.hi].weight += sample.fraction / axis.grid;
    if (!sample.moves) continue;
    const CoordinateSlope<double> slope =
        SampleSlope(axis, box.scale, box.pooled, p, t);
    pixels[sample.lo].slope1 -= slope.c1 / axis.grid;
    pixels[sample.hi].slope1 += slope.c1 / axis.grid;
    pixels[sample.lo].slope2 -= slope.c2 / axis.grid;
    pixels[sample.hi].slope2 += slope.c2 / axis.grid;
  }
  return pixels;
}

TEST(AxisTaps, MergeTheSamplesOfEveryBin) {
  std::mt19937 random(3);
  std::uniform_real_distribution<double> coordinate(-30, 60);
  AxisTaps<double> taps;  // reused: what an earlier box left must not show
  for (int i = 0; i < 2000; ++i) {
    const double c1 = coordinate(random), c2 = coordinate(random);
    const int64_t pooled = 1 + i % 8, length = 1 + i % 31;
    const int64_t ratio = i % 4 == 0 ? -1 : i % 4;
    const bool aligned = i % 3 == 0;
    const double scale = 0.7;
    const AxisOnMap<double, int64_t> box = {
        MakeAxis(c1, c2, scale, pooled, ratio, aligned), pooled, length, scale};
    taps.BuildWithSlopes(box);
    const TapsView<double> view = taps.view();
    EXPECT_EQ(view.begin[0], 0);
    for (int64_t p = 0; p < pooled; ++p) {
      const auto expected = VisitSamples(box, p);
      ASSERT_EQ(view.begin[p + 1] - view.begin[p],
                static_cast<int64_t>(expected.size()))
          << c1 << " " << c2;
      int64_t tap = view.begin[p];
      for (const auto& [pixel, sums] : expected) {
        ASSERT_EQ(view.pixel[tap], pixel);
        EXPECT_NEAR(view.weight[tap], sums.weight, 1e-13);
        EXPECT_NEAR(view.slope1[tap], sums.slope1, 1e-13);
        EXPECT_NEAR(view.slope2[tap], sums.slope2, 1e-13);
        ++tap;
      }
    }
  }
}

TEST(AxisTaps, ManySamplesOfOnePixelAreFewTaps) {
  AxisTaps<float> taps;
  taps.Build<float>({MakeAxis(10.f, 10.5f, 1.f, 7, 50, true), 7, 40, 1.f});
  EXPECT_LE(taps.view().begin[7], 14 + 1);
}

// Where there are very many samples, runs of them are summed at once.
TEST(AxisTaps, VeryManySamplesAreThoseOfVisitingEach) {
  for (const bool aligned : {false, true}) {
    for (const auto& [c1, c2] : {std::pair<double, double>{-20.3, 31.7},
                                 {31.7, -20.3},
                                 {3.1, 3.2},
                                 {-200.0, 5.0}}) {
      const int64_t pooled = 3, length = 17;
      const double scale = 0.7;
      const AxisOnMap<double, int64_t> box = {
          MakeAxis(c1, c2, scale, pooled, 5000, aligned), pooled, length,
          scale};
      AxisTaps<double> taps;
      taps.BuildWithSlopes(box);
      const TapsView<double> view = taps.view();
      for (int64_t p = 0; p < pooled; ++p) {
        const auto expected = VisitSamples(box, p);
        ASSERT_EQ(view.begin[p + 1] - view.begin[p],
                  static_cast<int64_t>(expected.size()));
        int64_t tap = view.begin[p];
        for (const auto& [pixel, sums] : expected) {
          ASSERT_EQ(view.pixel[tap], pixel);
          EXPECT_NEAR(view.weight[tap], sums.weight, 1e-10);
          EXPECT_NEAR(view.slope1[tap], sums.slope1, 1e-10);
          EXPECT_NEAR(view.slope2[tap], sums.slope2, 1e-10);
          ++tap;
        }
      }
    }
  }
}

TEST(AxisTaps, AnyNumberOfSamplesIsSummed) {
  AxisTaps<float> taps;
  taps.Build<float>(
      {MakeAxis(2.f, 9.f, 1.f, 7, INT64_C(2147483647), true), 7, 40, 1.f});
  const TapsView<float> view = taps.view();
  EXPECT_LE(view.begin[7], 7 * 3);
  for (int p = 0; p < 7; ++p) {
    float sum = 0;
    for (int64_t i = view.begin[p]; i < view.begin[p + 1]; ++i) {
      sum += view.weight[i];
    }
    EXPECT_NEAR(sum, 1.0f, 1e-6f);
  }
}

TEST(AxisTaps, WeightsOfAnInsideBinSumToOne) {
  AxisTaps<float> taps;
  taps.Build<float>({MakeAxis(3.3f, 97.1f, 1.f, 7, -1, true), 7, 128, 1.f});
  const TapsView<float> view = taps.view();
  for (int p = 0; p < 7; ++p) {
    float sum = 0;
    for (int64_t i = view.begin[p]; i < view.begin[p + 1]; ++i) {
      sum += view.weight[i];
    }
    EXPECT_NEAR(sum, 1.0f, 1e-6f);
  }
}

}  // namespace
}  // namespace tf_roialign
