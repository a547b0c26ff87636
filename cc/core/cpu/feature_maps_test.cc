// Calls on a list of maps, against a call for each of them.

#include <cstdint>
#include <new>
#include <random>
#include <string>
#include <vector>

#include "cc/core/dtypes/dtypes.h"
#include "cc/core/testing/cpu_call.h"
#include "cc/core/testing/expect.h"
#include "cc/core/testing/threads.h"
#include "gtest/gtest.h"

namespace tf_roialign {
namespace {

// No box reads the last two; the last has no pixels. The second is beyond
// kSmallPlane, so that its channels are worked through in other blocks.
const std::vector<MapSize> kMaps = {{9, 13, 0.5, 0.4},
                                    {129, 140, 4, 6},
                                    {5, 4, 0.2, 0.25},
                                    {6, 7, 0.3, 0.3},
                                    {0, 7, 1, 1}};
constexpr int kReadMaps = 3;

template <typename T, typename B>
Call<T, B> MakeCall(Layout layout, int64_t boxes, int64_t ratio) {
  const Params params = {{3, 2}, ratio, true, layout};
  Call<T, B> call = RandomCall<T, B>(3, params, {2, 70, boxes}, kMaps);
  std::mt19937 random(5);
  for (int64_t k = 0; k < boxes; ++k) {
    call.map_indices.push_back(static_cast<int32_t>(random() % kReadMaps));
  }
  return call;
}

// The call on map `m` alone, with its boxes.
template <typename T, typename B>
Call<T, B> OfMap(const Call<T, B>& call, int m, std::vector<int64_t>* boxes) {
  boxes->clear();
  for (int64_t k = 0; k < call.sizes.boxes; ++k) {
    if (call.map(k) == m) boxes->push_back(k);
  }
  Call<T, B> alone = Only(call, *boxes);
  alone.map_indices.clear();
  alone.maps = {call.maps[m]};
  alone.features = {call.features[m]};
  return alone;
}

// The rows of `all` that belong to each map are what `run` makes of it alone.
template <typename T, typename B, typename Number, typename Run>
void ExpectRows(const Call<T, B>& call, const std::vector<Number>& all,
                int64_t count, const Run& run) {
  std::vector<int64_t> boxes;
  for (int m = 0; m < kReadMaps; ++m) {
    const Call<T, B> alone = OfMap(call, m, &boxes);
    ASSERT_FALSE(boxes.empty());
    ExpectSameBits(RowsOf(all, boxes, count), run(alone));
  }
}

template <typename T, typename B, typename Run>
void ExpectMaps(const Call<T, B>& call, const std::vector<std::vector<T>>& all,
                const Run& run) {
  std::vector<int64_t> boxes;
  for (size_t m = 0; m < kMaps.size(); ++m) {
    if (m < kReadMaps) {
      ExpectSameBits(all[m], run(OfMap(call, int(m), &boxes))[0]);
    } else {
      ExpectSameBits(all[m], std::vector<T>(all[m].size(), T{}));
    }
  }
}

template <typename T, typename B>
void ExpectLikeACallEach(const Call<T, B>& call, SimdLevel level,
                         const ParallelFor& threads) {
  const int64_t pooled = call.bins() * call.sizes.channels;
  ExpectRows(call, Forward(call, level, threads), pooled,
             [&](const Call<T, B>& c) { return Forward(c, level); });
  ExpectRows(call, BoxGrad(call, level, threads), 5,
             [&](const Call<T, B>& c) { return BoxGrad(c, level); });
  ExpectRows(call, BoxTangent(call, level, threads), pooled,
             [&](const Call<T, B>& c) { return BoxTangent(c, level); });
  ExpectMaps(call, FeatureGrad(call, level, threads),
             [&](const Call<T, B>& c) { return FeatureGrad(c, level); });
  ExpectMaps(call, BoxTangentGrad(call, level, threads),
             [&](const Call<T, B>& c) { return BoxTangentGrad(c, level); });
}

// Few boxes, whose windows NCHW takes by themselves, and many.
class FeatureMapsOfCall
    : public testing::TestWithParam<std::tuple<Layout, int64_t>> {};

#define TF_ROIALIGN_TEST(T, ...)                               \
  TEST_P(FeatureMapsOfCall, AreLikeACallEach_##T) {            \
    const auto [layout, boxes] = GetParam();                   \
    const auto call = MakeCall<T, float>(layout, boxes, -1);   \
    for (const SimdLevel level : UsableSimdLevels()) {         \
      ExpectLikeACallEach(call, level, Serial);                \
    }                                                          \
    ExpectLikeACallEach(MakeCall<T, double>(layout, boxes, 2), \
                        CurrentSimdLevel(), Threads(3));       \
  }
TF_ROIALIGN_FOR_EACH_FLOAT(TF_ROIALIGN_TEST)
#undef TF_ROIALIGN_TEST

#define TF_ROIALIGN_TEST(T, ...)                                           \
  TEST_P(FeatureMapsOfCall, AreLikeACallEach_##T) {                        \
    const auto [layout, boxes] = GetParam();                               \
    const auto call = MakeCall<T, float>(layout, boxes, -1);               \
    for (const SimdLevel level : UsableSimdLevels()) {                     \
      ExpectRows(call, ForwardQuantized(call, 0.1f, 3, level, Threads(2)), \
                 call.bins() * call.sizes.channels,                        \
                 [&](const Call<T, float>& c) {                            \
                   return ForwardQuantized(c, 0.1f, 3, level);             \
                 });                                                       \
    }                                                                      \
  }
TF_ROIALIGN_FOR_EACH_CODE(TF_ROIALIGN_TEST)
#undef TF_ROIALIGN_TEST

INSTANTIATE_TEST_SUITE_P(, FeatureMapsOfCall,
                         testing::Combine(testing::Values(Layout::kNHWC,
                                                          Layout::kNCHW),
                                          testing::Values(14, 120)));

TEST(FeatureMaps, WithoutBoxesGetZeros) {
  for (const Layout layout : {Layout::kNHWC, Layout::kNCHW}) {
    const auto call = MakeCall<float, float>(layout, 0, 2);
    for (const auto& grads : {FeatureGrad(call, CurrentSimdLevel()),
                              BoxTangentGrad(call, CurrentSimdLevel())}) {
      for (const std::vector<float>& grad : grads) {
        ExpectSameBits(grad, std::vector<float>(grad.size(), 0.f));
      }
    }
  }
}

TEST(FeatureMaps, BoxesNeedPixelsAndAMap) {
  auto call = MakeCall<float, float>(Layout::kNHWC, 8, 2);
  std::vector<FeatureMap<const float>> maps;
  for (size_t m = 0; m < kMaps.size(); ++m) {
    maps.push_back({call.features[m].data(), kMaps[m].height, kMaps[m].width,
                    kMaps[m].scale_y, kMaps[m].scale_x});
  }
  const ParallelFor threads = Serial;
  const auto forward = [&] {
    return RoiAlignForward<float, float>(
        {threads}, call.params, call.sizes, call.boxes(),
        {maps.data(), int(maps.size())}, call.grad_output.data());
  };
  call.map_indices[6] = 4;
  ExpectInvalidArgument(forward(),
                        "`features` must have a height and width of at least 1 "
                        "when there are boxes, got map 4 of shape [0, 7]");
  call.map_indices[6] = 5;
  ExpectInvalidArgument(forward(), "`map_indices[6]` must be in [0, 5), got 5");
}

TEST(FeatureMaps, LackOfMemoryIsAnError) {
  auto call = MakeCall<float, float>(Layout::kNCHW, 8, 2);
  const ParallelFor failing = [](int64_t, int64_t,
                                 const std::function<void(int64_t, int64_t)>&) {
    throw std::bad_alloc();
  };
  const FeatureMap<const float> map = {call.features[0].data(), 9, 13, 1, 1};
  call.map_indices.clear();
  const Status status =
      RoiAlignForward<float, float>({failing}, call.params, call.sizes,
                                    call.boxes(), map, call.grad_output.data());
  EXPECT_EQ(status.code(), ErrorCode::kResourceExhausted);
  EXPECT_EQ(status.text(),
            "There is not enough memory for the scratch space of RoIAlign with "
            "`output_size` [3, 2]");
}

}  // namespace
}  // namespace tf_roialign
