// The two ways to the taps of an axis, by index (geometry/taps.h) and in one
// walk (axis_taps.h), end at the same bits.

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "cc/core/cpu/axis_taps.h"
#include "cc/core/dtypes/dtypes.h"
#include "cc/core/geometry/taps.h"
#include "cc/core/testing/random_axes.h"
#include "gtest/gtest.h"

namespace tf_roialign {
namespace {

// More, for a long run: other seeds, each with as many axes.
int64_t Seeds() {
  const char* seeds = std::getenv("TF_ROIALIGN_TEST_SEEDS");
  return seeds == nullptr ? 1 : std::atoll(seeds);
}

template <typename W>
using Taps = std::vector<SlopeTap<W>>;

template <typename W>
std::string ToString(const Taps<W>& taps) {
  std::string text;
  char one[256];
  for (const SlopeTap<W>& tap : taps) {
    std::snprintf(one, sizeof(one), "\n  %d %a %a %a", tap.pixel,
                  double(tap.weight), double(tap.slope1), double(tap.slope2));
    text += one;
  }
  return text;
}

template <typename W>
bool SameBits(const Taps<W>& a, const Taps<W>& b) {
  const auto same = [](const SlopeTap<W>& one, const SlopeTap<W>& other) {
    const W numbers[] = {one.weight, one.slope1, one.slope2};
    const W others[] = {other.weight, other.slope1, other.slope2};
    return one.pixel == other.pixel &&
           std::memcmp(numbers, others, sizeof(numbers)) == 0;
  };
  return a.size() == b.size() &&
         std::equal(a.begin(), a.end(), b.begin(), same);
}

// Of bin `p`, by ascending pixel.
template <typename W, typename B, typename I>
Taps<W> ByIndex(const AxisOnMap<B, I>& box, int64_t p) {
  const BinTaps bin = FindBinTaps(box, p);
  Taps<W> taps;
  for (int i = 0; i < bin.count; ++i) {
    const SlopeTap<W> tap = TapAt<SlopeTap<W>>(box, p, bin, i);
    if (tap.pixel >= 0) taps.push_back(tap);
    const Tap<W> plain = TapAt<Tap<W>>(box, p, bin, i);
    EXPECT_EQ(plain.pixel, tap.pixel);
    if (tap.pixel >= 0) {
      EXPECT_EQ(std::memcmp(&plain.weight, &tap.weight, sizeof(W)), 0);
    }
  }
  EXPECT_EQ(TapAt<SlopeTap<W>>(box, p, bin, bin.count).pixel, -1);
  std::stable_sort(taps.begin(), taps.end(),
                   [](const SlopeTap<W>& a, const SlopeTap<W>& b) {
                     return a.pixel < b.pixel;
                   });
  return taps;
}

template <typename W>
Taps<W> Walked(const AxisTaps<W>& axis, int64_t p) {
  const TapsView<W> view = axis.view();
  Taps<W> taps;
  for (int64_t i = view.begin[p]; i < view.begin[p + 1]; ++i) {
    taps.push_back({static_cast<int>(view.pixel[i]), view.weight[i],
                    view.slope1[i], view.slope2[i]});
  }
  return taps;
}

struct Seen {
  int64_t axes = 0;
  int64_t bins = 0;
  int64_t samples = 0;  // inside the map
  int64_t taps = 0;
  int64_t sparse_bins = 0;
  int64_t bins_of_runs = 0;
};

template <typename W, typename B>
void ExpectSameTaps(const AxisOnMap<B, int64_t>& box, Seen* seen) {
  AxisTaps<W> walk;
  walk.BuildWithSlopes(box);
  const AxisOnMap<B, int> narrow = {box.axis, static_cast<int>(box.pooled),
                                    static_cast<int>(box.length), box.scale};
  ++seen->axes;
  for (int64_t p = 0; p < box.pooled; ++p) {
    const Taps<W> expected = Walked(walk, p);
    const Taps<W> got = ByIndex<W>(narrow, p);
    ASSERT_TRUE(SameBits(got, expected))
        << "bin " << p << " of " << box.pooled << ", start "
        << testing::PrintToString(box.axis.start) << ", bin "
        << testing::PrintToString(box.axis.bin) << ", grid " << box.axis.grid
        << ", length " << box.length << "\nby index:" << ToString(got)
        << "\nwalked:" << ToString(expected);
    ++seen->bins;
    seen->taps += int64_t(got.size());
    const int64_t inside = InsideSamples(box.axis, p, box.length).length();
    seen->samples += inside;
    seen->sparse_bins += FindBinTaps(box, p).by_sample;
    seen->bins_of_runs += inside > kManySamples;
  }
}

template <typename W, typename B>
void ExpectSameTapsOfRandomAxes(uint64_t seed, int64_t axes, Seen* seen) {
  RandomAxes<B> random(seed);
  for (int64_t i = 0; i < axes && !testing::Test::HasFailure(); ++i) {
    ExpectSameTaps<W>(random.Next(), seen);
  }
}

TEST(TapsAgree, BitByBit) {
  constexpr int64_t kAxes = 60000;
  Seen seen;
  for (int64_t seed = 0; seed < Seeds(); ++seed) {
#define TF_ROIALIGN_EXPECT(B)                               \
  ExpectSameTapsOfRandomAxes<float, B>(seed, kAxes, &seen); \
  ExpectSameTapsOfRandomAxes<double, B>(seed, kAxes, &seen);
    TF_ROIALIGN_FOR_EACH_BOX_TYPE(TF_ROIALIGN_EXPECT)
#undef TF_ROIALIGN_EXPECT
    if (HasFailure()) return;
  }
  std::printf(
      "%lld axes, %lld bins (%lld sparse, %lld summed in runs), %lld samples, "
      "%lld taps\n",
      (long long)seen.axes, (long long)seen.bins, (long long)seen.sparse_bins,
      (long long)seen.bins_of_runs, (long long)seen.samples,
      (long long)seen.taps);
  // Of each kind there were some.
  EXPECT_GT(seen.sparse_bins, seen.bins / 100);
  EXPECT_GT(seen.bins_of_runs, seen.bins / 100);
  EXPECT_GT(seen.taps, seen.bins);
}

// So far out that several samples, whose spacing is more than two pixels, come
// to lie on the same coordinate, and so many that they are summed in runs.
TEST(TapsAgree, BitByBitWhereCoordinatesAreCoarse) {
  Seen seen;
  for (const int64_t ratio : {INT64_C(150000000), INT64_C(240000000)}) {
    for (const float reach : {2.5e8f, -2.5e8f}) {
      for (const int64_t pooled : {1, 2, 3}) {
        const AxisOnMap<float, int64_t> box = {
            MakeAxis(-reach, reach + 1000, 1.f, pooled, ratio, true), pooled,
            5000, 1.f};
        ExpectSameTaps<float>(box, &seen);
        ExpectSameTaps<double>(box, &seen);
      }
    }
  }
  EXPECT_GT(seen.bins_of_runs, 0);
}

}  // namespace
}  // namespace tf_roialign
