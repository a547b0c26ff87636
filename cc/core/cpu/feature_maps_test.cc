// A call on many maps is a call on each of them with its boxes, bit by bit.

#include <cstdint>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include "cc/core/cpu/box_schedule.h"
#include "cc/core/cpu/box_table.h"
#include "cc/core/cpu/roi_align_cpu.h"
#include "cc/core/cpu/tuning.h"
#include "cc/core/dtypes/dtypes.h"
#include "cc/core/testing/any_dtype.h"
#include "cc/core/testing/cpu_call.h"
#include "cc/core/testing/expect.h"
#include "cc/core/testing/threads.h"
#include "gtest/gtest.h"

namespace tf_roialign {
namespace {

// The second is beyond kSmallPlane: it has other channel blocks in NCHW.
constexpr int kLarge = 1;
const std::vector<MapSize> kMaps = {
    {9, 13, 0.5, 0.45}, {128, 130, 7.1, 4.9}, {5, 7, 0.28, 0.31}};
// So that blocks of either width are more than one, and the last is smaller.
constexpr int64_t kChannels = 70;

// Boxes read the maps in no order.
template <typename T, typename B>
Call<T, B> CallOnMaps(Layout layout, bool aligned, int ratio, int64_t boxes) {
  Call<T, B> call = RandomCall<T, B>(8, {{3, 4}, ratio, aligned, layout},
                                     {2, kChannels, boxes}, kMaps);
  for (int64_t k = 0; k < boxes; ++k) {
    call.map_indices.push_back(static_cast<int32_t>(k * k % 7 % 3));
  }
  return call;
}

// The boxes of one map, and their call on that map.
template <typename T, typename B>
struct CallOnMap {
  std::vector<int64_t> boxes;
  Call<T, B> call;
};

template <typename T, typename B>
std::vector<CallOnMap<T, B>> MapByMap(const Call<T, B>& call) {
  std::vector<CallOnMap<T, B>> calls;
  for (int map = 0; map < int(call.maps.size()); ++map) {
    std::vector<int64_t> boxes;
    for (int64_t k = 0; k < call.sizes.boxes; ++k) {
      if (call.map(k) == map) boxes.push_back(k);
    }
    Call<T, B> one = Only(call, boxes);
    one.maps = {call.maps[map]};
    one.features = {call.features[map]};
    one.map_indices.clear();
    calls.push_back({boxes, one});
  }
  return calls;
}

// `rows`: what pool(call) made of the boxes of all maps.
template <typename Row, typename T, typename B, typename Pool>
void ExpectSameBoxes(const std::vector<Row>& rows,
                     const std::vector<CallOnMap<T, B>>& calls,
                     const Pool& pool) {
  size_t boxes = 0;
  for (const CallOnMap<T, B>& of_map : calls) boxes += of_map.boxes.size();
  const int64_t count = int64_t(rows.size() / boxes);
  for (const CallOnMap<T, B>& of_map : calls) {
    ExpectSameBits(RowsOf(rows, of_map.boxes, count), pool(of_map.call));
  }
}

// `maps`: what pool(call) made of all maps.
template <typename T, typename B, typename Pool>
void ExpectSameMaps(const std::vector<std::vector<T>>& maps,
                    const std::vector<CallOnMap<T, B>>& calls,
                    const Pool& pool) {
  ASSERT_EQ(maps.size(), calls.size());
  for (size_t map = 0; map < maps.size(); ++map) {
    SCOPED_TRACE("map " + std::to_string(map));
    ExpectSameBits(maps[map], pool(calls[map].call)[0]);
  }
}

template <typename T, typename B>
void ExpectFloatsMapByMap(const Call<T, B>& call,
                          const std::vector<CallOnMap<T, B>>& calls,
                          SimdLevel level, const ParallelFor& threads) {
  SCOPED_TRACE(SimdLevelName(level));
  const auto expect_boxes = [&](const auto& pool) {
    ExpectSameBoxes(pool(call), calls, pool);
  };
  const auto expect_maps = [&](const auto& pool) {
    ExpectSameMaps(pool(call), calls, pool);
  };
  using AnyCall = Call<T, B>;
  expect_boxes([&](const AnyCall& c) { return Forward(c, level, threads); });
  expect_boxes([&](const AnyCall& c) { return BoxGrad(c, level, threads); });
  expect_boxes([&](const AnyCall& c) { return BoxTangent(c, level, threads); });
  expect_maps([&](const AnyCall& c) { return FeatureGrad(c, level, threads); });
  expect_maps(
      [&](const AnyCall& c) { return BoxTangentGrad(c, level, threads); });
}

template <typename T, typename B>
void ExpectCodesMapByMap(const Call<T, B>& call,
                         const std::vector<CallOnMap<T, B>>& calls,
                         SimdLevel level, const ParallelFor& threads) {
  SCOPED_TRACE(SimdLevelName(level));
  const auto pool = [&](const Call<T, B>& c) {
    return ForwardQuantized(c, 0.3f, 5, level, threads);
  };
  ExpectSameBoxes(pool(call), calls, pool);
}

// Calls check(level, threads).
template <typename Check>
void ForEachLevelAndThreads(const Check& check) {
  for (const SimdLevel level : UsableSimdLevels()) check(level, Serial);
  check(CurrentSimdLevel(), Threads(5));
}

constexpr int64_t kFewBoxes = 11, kManyBoxes = 150;

// Whether NCHW takes each box's window, or the maps.
template <typename T, typename B>
bool TakesWindows(const Call<T, B>& call) {
  BoxTable<B> table;
  ExpectOk(table.Init(call.boxes(), call.sizes.batch, int(call.maps.size())));
  bool windows = false;
  WithFeatures(call, nullptr, [&](const FeatureMaps<const T>& maps) {
    double pixels = 0;
    for (const auto& map : maps) {
      pixels += double(call.sizes.batch * map.pixels());
    }
    windows = BoxSchedule(Serial, call.params, call.sizes, maps, table)
                  .window_pixels() < kWindowsPay * pixels;
    return Status();
  });
  return windows;
}

class FeatureMapsOf
    : public testing::TestWithParam<std::tuple<Layout, int64_t>> {
 protected:
  template <typename T, typename B>
  static void ExpectMapByMap(bool aligned, int ratio) {
    const auto [layout, boxes] = GetParam();
    const auto call = CallOnMaps<T, B>(layout, aligned, ratio, boxes);
    const auto calls = MapByMap(call);
    ForEachLevelAndThreads([&](SimdLevel level, const ParallelFor& threads) {
      if constexpr (kIsCode<T>) {
        ExpectCodesMapByMap(call, calls, level, threads);
      } else {
        ExpectFloatsMapByMap(call, calls, level, threads);
      }
    });
  }
};

#define TF_ROIALIGN_TEST(T, ...)          \
  TEST_P(FeatureMapsOf, T) {              \
    ExpectMapByMap<T, float>(true, 2);    \
    ExpectMapByMap<T, double>(false, -1); \
  }
TF_ROIALIGN_FOR_EACH_FLOAT(TF_ROIALIGN_TEST)
TF_ROIALIGN_FOR_EACH_CODE(TF_ROIALIGN_TEST)
#undef TF_ROIALIGN_TEST

INSTANTIATE_TEST_SUITE_P(
    , FeatureMapsOf,
    testing::Combine(testing::Values(Layout::kNHWC, Layout::kNCHW),
                     testing::Values(kFewBoxes, kManyBoxes)),
    [](const auto& info) {
      return std::string(std::get<0>(info.param) == Layout::kNHWC ? "Nhwc"
                                                                  : "Nchw") +
             (std::get<1>(info.param) == kFewBoxes ? "FewBoxes" : "ManyBoxes");
    });

// That the calls above are of all kinds.
TEST(FeatureMaps, AreTakenInWindowsOrWhole) {
  EXPECT_GT(kMaps[kLarge].pixels(), kSmallPlane);
  for (const int ratio : {-1, 2}) {
    const auto takes_windows = [&](int64_t boxes) {
      return TakesWindows(
          CallOnMaps<float, float>(Layout::kNCHW, ratio > 0, ratio, boxes));
    };
    EXPECT_TRUE(takes_windows(kFewBoxes));
    EXPECT_FALSE(takes_windows(kManyBoxes));
  }
}

// On a plane, a sample is the plane's value there.
TEST(FeatureMaps, AWindowIsReadWhereItIs) {
  auto call = RandomCall<float, float>(1, {{1, 1}, 1, true, Layout::kNCHW},
                                       {1, 2, 1}, {{40, 60, 1, 1}});
  for (size_t i = 0; i < call.features[0].size(); ++i) {
    call.features[0][i] = float(i % (40 * 60));
  }
  call.rows = {0, 30, 20, 34, 26};
  for (const SimdLevel level : UsableSimdLevels()) {
    for (const float value : Forward(call, level)) {
      EXPECT_EQ(value, 22.5 * 60 + 31.5);
    }
  }
}

// Also with maps among them that no box reads, one of which is empty.
template <typename T>
void ExpectUnreadMapsDoNotShow(Layout layout, int64_t boxes) {
  const auto call = CallOnMaps<T, float>(layout, true, 2, boxes);
  // 0, 1 and 2 become 1, 4 and 5.
  const int place[] = {1, 4, 5};
  auto more = call;
  more.maps.assign(6, {4, 6, 0.3, 0.3});
  more.maps[2] = {0, 5, 0.3, 0.3};
  more.maps[3] = {5, 0, 0.3, 0.3};
  more.features.clear();
  std::mt19937 random(1);
  for (int i = 0; i < 3; ++i) more.maps[place[i]] = call.maps[i];
  for (const MapSize& map : more.maps) {
    more.features.push_back(
        RandomNumbers<T>(call.sizes.batch * map.pixels() * kChannels, &random));
  }
  for (int i = 0; i < 3; ++i) more.features[place[i]] = call.features[i];
  for (int32_t& map : more.map_indices) map = place[map];

  const SimdLevel level = CurrentSimdLevel();
  ExpectSameBits(Forward(more, level), Forward(call, level));
  ExpectSameBits(BoxGrad(more, level), BoxGrad(call, level));
  ExpectSameBits(BoxTangent(more, level), BoxTangent(call, level));
  const auto expect_maps = [&](const std::vector<std::vector<T>>& got,
                               const std::vector<std::vector<T>>& expected) {
    for (int i = 0; i < 3; ++i) ExpectSameBits(got[place[i]], expected[i]);
    for (const int unread : {0, 2, 3}) {
      ExpectSameBits(got[unread], std::vector<T>(got[unread].size()));
    }
  };
  expect_maps(FeatureGrad(more, level), FeatureGrad(call, level));
  expect_maps(BoxTangentGrad(more, level), BoxTangentGrad(call, level));
}

TEST(FeatureMaps, ThatNoBoxReadsGetAZeroGradient) {
  for (const Layout layout : {Layout::kNHWC, Layout::kNCHW}) {
    for (const int64_t boxes : {kFewBoxes, kManyBoxes}) {
#define TF_ROIALIGN_EXPECT(T, ...) ExpectUnreadMapsDoNotShow<T>(layout, boxes);
      TF_ROIALIGN_FOR_EACH_FLOAT(TF_ROIALIGN_EXPECT)
#undef TF_ROIALIGN_EXPECT
    }
  }
}

TEST(FeatureMaps, GetAZeroGradientOfNoBoxes) {
  for (const Layout layout : {Layout::kNHWC, Layout::kNCHW}) {
    const auto call =
        Only(CallOnMaps<float, float>(layout, true, 2, kFewBoxes), {});
    for (const auto& grads : {FeatureGrad(call, CurrentSimdLevel()),
                              BoxTangentGrad(call, CurrentSimdLevel())}) {
      for (const auto& grad : grads) {
        ExpectSameBits(grad, std::vector<float>(grad.size()));
      }
    }
  }
}

}  // namespace
}  // namespace tf_roialign
