#include "cc/core/geometry/taps.h"

#include <cstdint>

#include "cc/core/dtypes/dtypes.h"
#include "cc/core/testing/random_axes.h"
#include "gtest/gtest.h"

namespace tf_roialign {
namespace {

constexpr int64_t kAxes = 3000;

// Lists are made with room for so many.
template <typename B>
void ExpectFewTaps() {
  RandomAxes<B> random(2);
  for (int64_t i = 0; i < kAxes; ++i) {
    const AxisOnMap<B, int64_t> box = random.Next();
    for (int64_t p = 0; p < box.pooled; ++p) {
      const BinTaps bin = FindBinTaps(box, p);
      ASSERT_LE(bin.count, box.length);
      if (box.axis.grid <= kManySamples) {
        ASSERT_LE(bin.count, 2 * box.axis.grid);
      }
    }
  }
}

TEST(FindBinTaps, GivesNoMoreThanPixelsOrTwiceTheSamples) {
#define TF_ROIALIGN_EXPECT(B) ExpectFewTaps<B>();
  TF_ROIALIGN_FOR_EACH_BOX_TYPE(TF_ROIALIGN_EXPECT)
#undef TF_ROIALIGN_EXPECT
}

template <typename B>
void ExpectBinsOfPixels() {
  RandomAxes<B> random(3);
  for (int64_t i = 0; i < kAxes; ++i) {
    const AxisOnMap<B, int64_t> box = random.Next();
    for (int64_t pixel = 0; pixel < box.length; ++pixel) {
      const Span bins = FindPixelBins(box, pixel);
      ASSERT_GE(bins.begin, 0);
      ASSERT_LE(bins.end, box.pooled);
      int64_t in_vain = 0;
      for (int64_t p = 0; p < box.pooled; ++p) {
        const bool listed = bins.begin <= p && p < bins.end;
        const bool touches =
            SumPixel<false>(box, p, pixel, HasManySamples(box, p)).touched;
        ASSERT_TRUE(listed || !touches)
            << "pixel " << pixel << " of " << box.length << ", bin " << p
            << ", start " << box.axis.start << ", bin " << box.axis.bin;
        in_vain += listed && !touches;
      }
      // One that passes over the pixel.
      ASSERT_TRUE(in_vain == 0 || bins.length() == 1);
    }
  }
}

TEST(FindPixelBins, FindsThoseThatTouchThePixel) {
#define TF_ROIALIGN_EXPECT(B) ExpectBinsOfPixels<B>();
  TF_ROIALIGN_FOR_EACH_BOX_TYPE(TF_ROIALIGN_EXPECT)
#undef TF_ROIALIGN_EXPECT
}

}  // namespace
}  // namespace tf_roialign
