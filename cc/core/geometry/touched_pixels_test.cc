#include "cc/core/geometry/touched_pixels.h"

#include <algorithm>
#include <cstdint>

#include "cc/core/dtypes/dtypes.h"
#include "cc/core/geometry/taps.h"
#include "cc/core/testing/random_axes.h"
#include "gtest/gtest.h"

namespace tf_roialign {
namespace {

// Samples of a bin are monotone, so its first and last inside ones tell.
template <typename B>
Span PixelsOfBin(const AxisOnMap<B, int64_t>& box, int64_t p) {
  const Span inside = InsideSamples(box.axis, p, box.length);
  if (inside.empty()) return {};
  const auto at = [&](int64_t t) {
    return Interpolate(SampleCoordinate(box.axis, p, t), box.length);
  };
  const LinearSample<B> a = at(inside.begin), b = at(inside.end - 1);
  return {std::min(a.lo, b.lo), std::max(a.hi, b.hi) + 1};
}

template <typename B>
void ExpectAllPixelsWithin(int64_t axes) {
  RandomAxes<B> random(1);
  int64_t touching = 0, wasted = 0, spans = 0;
  for (int64_t i = 0; i < axes; ++i) {
    const AxisOnMap<B, int64_t> box = random.Next();
    const Span touched = TouchedPixels(box.axis, box.pooled, box.length);
    ASSERT_GE(touched.begin, 0);
    ASSERT_LE(touched.end, box.length);
    Span all = {box.length, 0};
    for (int64_t p = 0; p < box.pooled; ++p) {
      const Span pixels = PixelsOfBin(box, p);
      if (pixels.empty()) continue;
      all = {std::min(all.begin, pixels.begin), std::max(all.end, pixels.end)};
    }
    if (all.empty()) continue;
    ++touching;
    ASSERT_LE(touched.begin, all.begin)
        << box.axis.start << " " << box.axis.bin << " " << box.length;
    ASSERT_GE(touched.end, all.end)
        << box.axis.start << " " << box.axis.bin << " " << box.length;
    wasted += touched.length() - all.length();
    spans += all.length();
  }
  EXPECT_GT(touching, axes / 4);
  EXPECT_LT(wasted, spans / 2);  // and it says more than "any"
}

TEST(TouchedPixels, HoldAllTaps) {
#define TF_ROIALIGN_EXPECT(B) ExpectAllPixelsWithin<B>(200000);
  TF_ROIALIGN_FOR_EACH_BOX_TYPE(TF_ROIALIGN_EXPECT)
#undef TF_ROIALIGN_EXPECT
}

TEST(TouchedPixels, AreNoneWithoutSamplesOnTheMap) {
  // Of no extent, far to either side, without meaning.
  EXPECT_TRUE(
      TouchedPixels(MakeAxis(5.f, 5.f, 1.f, 7, -1, true), 7, 9).empty());
  EXPECT_TRUE(
      TouchedPixels(MakeAxis(-50.f, -40.f, 1.f, 7, 2, true), 7, 9).empty());
  EXPECT_TRUE(
      TouchedPixels(MakeAxis(40.f, 50.f, 1.f, 7, 2, true), 7, 9).empty());
  EXPECT_TRUE(
      TouchedPixels(MakeAxis(NAN, 50.f, 1.f, 7, 2, true), 7, 9).empty());
}

}  // namespace
}  // namespace tf_roialign
