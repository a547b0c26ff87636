#include "cc/core/cpu/sweep_strips.h"

#include <cstdint>
#include <vector>

#include "cc/core/geometry/axis.h"
#include "cc/core/geometry/touched_pixels.h"
#include "gtest/gtest.h"

namespace tf_roialign {
namespace {

constexpr int64_t kHeight = 50;

// Every row of bins is in one strip, however the map is cut, and none of its
// taps lies before it.
TEST(BinRowsIn, CutABoxWithoutOverlap) {
  const float boxes[][2] = {{3, 40},   {40, 3},    {-30, 80}, {80, -30},
                            {-200, 9}, {20, 20.5}, {45, 300}, {300, 45},
                            {10, 10},  {-1e6, 1e6}};
  const std::vector<std::vector<int64_t>> cuts = {
      {0, 50}, {0, 25, 50}, {0, 1, 2, 3, 47, 48, 49, 50}, {0, 10, 11, 30, 50}};
  for (const auto& box : boxes) {
    for (const int64_t pooled : {1, 2, 7, 100}) {
      for (const int64_t ratio : {0, 1, 5}) {
        const Axis<float> axis =
            MakeAxis(box[0], box[1], 1.f, pooled, ratio, true);
        const Span touched = TouchedPixels(axis, pooled, kHeight);
        if (touched.empty()) continue;
        for (const std::vector<int64_t>& cut : cuts) {
          std::vector<int> times(pooled, 0);
          for (size_t i = 0; i + 1 < cut.size(); ++i) {
            const Span strip = {cut[i], cut[i + 1]};
            const Span rows = BinRowsIn(strip, axis, pooled, touched);
            for (int64_t p = rows.begin; p < rows.end; ++p) {
              ++times[p];
              // What is below the map is clamped to it.
              const float first = SampleCoordinate(axis, p, Ascending(axis, 0));
              if (first < float(kHeight - 1)) {
                EXPECT_LT(first, float(strip.end));
              }
              if (first >= 0) EXPECT_GE(int64_t(first), strip.begin);
            }
          }
          EXPECT_EQ(times, std::vector<int>(pooled, 1));
        }
      }
    }
  }
}

std::vector<Span> RunsOf(const RowCosts& costs, int64_t count) {
  std::vector<Span> runs;
  costs.ForEachRun(count, [&](const Span& run) { runs.push_back(run); });
  return runs;
}

// All rows are in some run, one after the other.
void ExpectWhole(const std::vector<Span>& runs) {
  ASSERT_FALSE(runs.empty());
  EXPECT_EQ(runs.front().begin, 0);
  for (size_t i = 0; i + 1 < runs.size(); ++i) {
    EXPECT_EQ(runs[i].end, runs[i + 1].begin);
    EXPECT_FALSE(runs[i].empty());
  }
  EXPECT_EQ(runs.back().end, kHeight);
}

TEST(RowCosts, CutWhereBinsBegin) {
  RowCosts costs(kHeight);
  costs.Add({10, 30}, 2, 6);  // at rows 10 and 20
  costs.Add({20, 21}, 1, 3);
  EXPECT_EQ(costs.total(), 9);
  for (const int64_t count : {1, 2, 3, 1000}) ExpectWhole(RunsOf(costs, count));
  EXPECT_EQ(RunsOf(costs, 1).size(), 1u);
  // Two thirds lie at row 20, and nothing behind it.
  for (const int64_t count : {3, 1000}) {
    const std::vector<Span> runs = RunsOf(costs, count);
    ASSERT_EQ(runs.size(), 2u);
    EXPECT_EQ(runs[0].end, 11);
  }
}

// Bins of less than a row, down to the last one of the map.
TEST(RowCosts, CutWhereBinsAreManyToARow) {
  RowCosts costs(kHeight);
  costs.Add({kHeight - 3, kHeight}, 7, 7);
  const std::vector<Span> runs = RunsOf(costs, 2);
  ExpectWhole(runs);
  ASSERT_EQ(runs.size(), 2u);
  EXPECT_EQ(runs[1].begin, kHeight - 1);  // 3, 2 and 2 bins
}

// The last one does not read on, by the 10 rows of a bin.
TEST(RowCosts, CutEqualRowsEvenly) {
  RowCosts costs(kHeight);
  costs.Add({0, kHeight}, 5, 0);
  costs.AddToEach(2);
  EXPECT_EQ(costs.total(), 2 * kHeight);
  const std::vector<Span> runs = RunsOf(costs, 4);
  ExpectWhole(runs);
  ASSERT_EQ(runs.size(), 4u);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(runs[i].length(), 10);
  EXPECT_EQ(runs[3].length(), 20);
}

}  // namespace
}  // namespace tf_roialign
