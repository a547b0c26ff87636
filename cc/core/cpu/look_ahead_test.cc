#include "cc/core/cpu/look_ahead.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <utility>
#include <vector>

namespace tf_roialign {
namespace {

constexpr int64_t kHeight = 20, kWidth = 30, kChannels = 8;

BoxSchedule::Entry EntryOf(int64_t image, const Span& rows,
                           const Span& columns) {
  BoxSchedule::Entry entry = {};
  entry.image = image;
  entry.finite = true;
  entry.rows = rows;
  entry.columns = columns;
  return entry;
}

class WindowAheadOf : public testing::Test {
 protected:
  MemoryAhead Get(const BoxSchedule::Entry* next) const {
    const FeatureMap<const float> map = {features_.data(), kHeight, kWidth, 1,
                                         1};
    return WindowAhead(FeatureMaps<const float>(&map, 1), kChannels, next);
  }

  std::vector<float> features_ =
      std::vector<float>(2 * kHeight * kWidth * kChannels);
};

TEST_F(WindowAheadOf, IsTheWindow) {
  const auto entry = EntryOf(1, {3, 7}, {5, 15});
  const MemoryAhead window = Get(&entry);
  EXPECT_EQ(window.first, &features_[((kHeight + 3) * kWidth + 5) * kChannels]);
  EXPECT_EQ(window.rows, 4);
  EXPECT_EQ(window.bytes, 10 * kChannels * 4);
  EXPECT_EQ(window.stride, kWidth * kChannels * 4);
}

TEST_F(WindowAheadOf, IsNothingWhereNothingIsRead) {
  EXPECT_EQ(Get(nullptr).rows, 0);
  auto entry = EntryOf(0, {3, 3}, {5, 15});
  EXPECT_EQ(Get(&entry).rows, 0);
  entry = EntryOf(0, {3, 7}, {5, 15});
  entry.is_swept = true;
  EXPECT_EQ(Get(&entry).rows, 0);
  entry.is_swept = false;
  entry.finite = false;
  entry.map = -1;
  EXPECT_EQ(Get(&entry).rows, 0);
}

TEST(WindowAhead, IsNoMoreThanTheCacheTakes) {
  const float* const image = nullptr;
  const auto entry = EntryOf(0, {0, 1000}, {0, 100});
  const MemoryAhead window = WindowAhead(image, 200 * 64, 64, &entry);
  EXPECT_GT(window.rows, 0);
  EXPECT_LT(window.rows, 1000);
  EXPECT_LE(window.rows * window.bytes, kAheadBytes);
}

TEST(ForEachWithNext, TellsTheNextOne) {
  for (int count = 0; count < 4; ++count) {
    std::vector<BoxSchedule::Entry> entries(count);
    for (int i = 0; i < count; ++i) entries[i].box = i;
    std::vector<std::pair<int64_t, int64_t>> seen;
    ForEachWithNext(entries, [&](const BoxSchedule::Entry& entry,
                                 const BoxSchedule::Entry* next) {
      seen.emplace_back(entry.box, next == nullptr ? -1 : next->box);
    });
    ASSERT_EQ(int(seen.size()), count);
    for (int i = 0; i < count; ++i) {
      EXPECT_EQ(seen[i], std::make_pair(int64_t(i),
                                        int64_t(i + 1 < count ? i + 1 : -1)));
    }
  }
}

}  // namespace
}  // namespace tf_roialign
