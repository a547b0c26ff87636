#include "cc/core/geometry/axis.h"

#include <cmath>
#include <random>

#include "gtest/gtest.h"

namespace tf_roialign {
namespace {

TEST(MakeAxis, FollowsTheFormulas) {
  const Axis<double> axis = MakeAxis(3.0, 17.0, 0.5, 7, 2, true);
  EXPECT_EQ(axis.start, 1.0);
  EXPECT_EQ(axis.bin, 1.0);
  EXPECT_EQ(axis.grid, 2);
  EXPECT_FALSE(axis.raised);
  EXPECT_EQ(SampleCoordinate(axis, 0, 0), 1.25);
  EXPECT_EQ(SampleCoordinate(axis, 6, 1), 7.75);
}

TEST(MakeAxis, RaisesSmallExtentsUnlessAligned) {
  const Axis<float> raised = MakeAxis(2.f, 2.5f, 1.f, 4, -1, false);
  EXPECT_TRUE(raised.raised);
  EXPECT_EQ(raised.bin, 0.25f);
  EXPECT_EQ(raised.grid, 1);
  const Axis<float> aligned = MakeAxis(2.f, 2.5f, 1.f, 4, -1, true);
  EXPECT_FALSE(aligned.raised);
  EXPECT_EQ(aligned.bin, 0.125f);
  // One that is large enough follows both of its corners.
  EXPECT_FALSE(MakeAxis(2.f, 3.f, 1.f, 4, -1, false).raised);
  EXPECT_TRUE(
      MakeAxis(2.f, std::nextafter(3.f, 2.f), 1.f, 4, -1, false).raised);
}

TEST(MakeAxis, AdaptiveGridIsTheBinRoundedUp) {
  EXPECT_EQ(MakeAxis(0.f, 14.f, 1.f, 7, -1, true).grid, 2);
  EXPECT_EQ(MakeAxis(0.f, 14.5f, 1.f, 7, 0, true).grid, 3);
  EXPECT_EQ(MakeAxis(5.f, 5.f, 1.f, 7, -1, true).grid, 0);
  EXPECT_EQ(MakeAxis(9.f, 5.f, 1.f, 7, -1, true).grid, 0);
}

TEST(MakeAxis, AdaptiveGridOfABoxBeyondAllMeasureIsEmpty) {
  EXPECT_EQ(MakeAxis(-3e37f, 3e37f, 1.f, 7, -1, true).grid, 0);
  EXPECT_EQ(MakeAxis(-1e300, 1e300, 1., 7, -1, true).grid, 0);
  EXPECT_GT(MakeAxis(-1e9f, 1e9f, 1.f, 7, -1, true).grid, 0);
}

TEST(MakeAxis, TellsWhatIsNotFinite) {
  const float nan = std::nanf(""), inf = INFINITY;
  for (const bool aligned : {false, true}) {
    for (const float bad : {nan, inf, -inf}) {
      EXPECT_FALSE(MakeAxis(bad, 1.f, 1.f, 7, 2, aligned).finite);
      EXPECT_FALSE(MakeAxis(1.f, bad, 1.f, 7, 2, aligned).finite);
      EXPECT_FALSE(MakeAxis(bad, bad, 1.f, 7, -1, aligned).finite);
    }
    // Finite coordinates whose extent or scaled value is not.
    EXPECT_FALSE(MakeAxis(-3e38f, 3e38f, 1.f, 7, 2, aligned).finite);
    EXPECT_FALSE(MakeAxis(0.f, 3e38f, 16.f, 7, 2, aligned).finite);
    EXPECT_TRUE(MakeAxis(0.f, 3e37f, 1.f, 7, 2, aligned).finite);
  }
}

TEST(Interpolate, ClampsToTheMap) {
  const LinearSample<float> below = Interpolate(-0.75f, 5);
  EXPECT_EQ(below.lo, 0);
  EXPECT_EQ(below.hi, 1);
  EXPECT_EQ(below.fraction, 0.f);
  EXPECT_FALSE(below.moves);

  const LinearSample<float> inside = Interpolate(2.25f, 5);
  EXPECT_EQ(inside.lo, 2);
  EXPECT_EQ(inside.hi, 3);
  EXPECT_EQ(inside.fraction, 0.25f);
  EXPECT_TRUE(inside.moves);

  for (const float v : {4.0f, 4.5f, 5.0f}) {
    const LinearSample<float> above = Interpolate(v, 5);
    EXPECT_EQ(above.lo, 4);
    EXPECT_EQ(above.hi, 4);
    EXPECT_EQ(above.fraction, 0.f);
    EXPECT_FALSE(above.moves);
  }
  EXPECT_EQ(Interpolate(0.5f, 1).hi, 0);
}

TEST(IsInside, CountsBothEnds) {
  EXPECT_TRUE(IsInside(-1.f, 5));
  EXPECT_TRUE(IsInside(5.f, 5));
  EXPECT_FALSE(IsInside(std::nextafter(-1.f, -2.f), 5));
  EXPECT_FALSE(IsInside(std::nextafter(5.f, 6.f), 5));
  EXPECT_FALSE(IsInside(std::nanf(""), 5));
}

template <typename T>
void ExpectRangeIsAllInsideSamples(T c1, T c2, int64_t pooled, int64_t ratio,
                                   bool aligned, int64_t length) {
  const Axis<T> axis = MakeAxis(c1, c2, T(0.25), pooled, ratio, aligned);
  for (int64_t p = 0; p < pooled; ++p) {
    const Span range = InsideSamples(axis, p, length);
    for (int64_t t = 0; t < axis.grid; ++t) {
      ASSERT_EQ(IsInside(SampleCoordinate(axis, p, t), length),
                range.begin <= t && t < range.end)
          << c1 << " " << c2 << " bin " << p << " sample " << t;
    }
  }
}

TEST(InsideSamples, IsWhatVisitingEverySampleFinds) {
  std::mt19937 random(7);
  std::uniform_real_distribution<double> coordinate(-300, 500);
  for (int i = 0; i < 3000; ++i) {
    const double c1 = coordinate(random), c2 = coordinate(random);
    for (const int ratio : {-1, 1, 2, 5}) {
      for (const bool aligned : {false, true}) {
        ExpectRangeIsAllInsideSamples<float>(c1, c2, 1 + i % 9, ratio, aligned,
                                             1 + i % 50);
        ExpectRangeIsAllInsideSamples<double>(c1, c2, 1 + i % 9, ratio, aligned,
                                              1 + i % 50);
      }
    }
  }
}

TEST(InsideSamples, OfAGiantBoxIsNoLongerThanTheMap) {
  for (const int pooled : {1, 7}) {
    const Axis<double> axis = MakeAxis(-1e9, 1e9, 1.0, pooled, -1, true);
    int64_t visited = 0;
    for (int64_t p = 0; p < pooled; ++p) {
      const Span range = InsideSamples(axis, p, 100);
      visited += range.length();
    }
    EXPECT_GE(visited, 101);
    EXPECT_LE(visited, 103);
  }
}

TEST(SampleSlope, IsTheDerivativeOfTheCoordinate) {
  const double step = 1e-4;
  for (const bool raised : {false, true}) {
    const double c1 = 10.3, c2 = raised ? 11.1 : 60.7, scale = 0.5;
    const auto coordinate = [&](double a, double b) {
      return SampleCoordinate(MakeAxis(a, b, scale, 5, 3, !raised), 3, 1);
    };
    const Axis<double> axis = MakeAxis(c1, c2, scale, 5, 3, !raised);
    ASSERT_EQ(axis.raised, raised);
    const CoordinateSlope<double> slope = SampleSlope(axis, scale, 5, 3, 1);
    EXPECT_NEAR(
        slope.c1,
        (coordinate(c1 + step, c2) - coordinate(c1 - step, c2)) / (2 * step),
        1e-8);
    EXPECT_NEAR(
        slope.c2,
        (coordinate(c1, c2 + step) - coordinate(c1, c2 - step)) / (2 * step),
        1e-8);
  }
}

}  // namespace
}  // namespace tf_roialign
