#include "cc/core/cpu/sweep.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "cc/core/cpu/box_schedule.h"
#include "cc/core/cpu/tuning.h"
#include "cc/core/dtypes/dtypes.h"
#include "cc/core/testing/any_dtype.h"
#include "cc/core/testing/cpu_call.h"
#include "cc/core/testing/expect.h"
#include "cc/core/testing/naive_roi_align.h"
#include "cc/core/testing/threads.h"
#include "gtest/gtest.h"

namespace tf_roialign {
namespace {

// Large boxes on a map of 70 x 90: inside, over its rim, over all of it and
// more, reversed, flat, far away; and a few small ones between them.
template <typename T>
Call<T, float> LargeBoxes(Layout layout, bool aligned, int ratio,
                          int64_t channels) {
  Call<T, float> call = RandomCall<T, float>(
      3, {{3, 2}, ratio, aligned, layout}, {2, channels, 24}, {{70, 90, 1, 1}});
  std::mt19937 random(5);
  std::uniform_real_distribution<float> unit(0, 1);
  for (int64_t k = 0; k < call.sizes.boxes; ++k) {
    float* row = &call.rows[k * 5];
    const float x = unit(random) * 60 - 20, y = unit(random) * 40 - 20;
    const float w = 40 + unit(random) * 70, h = 40 + unit(random) * 70;
    const float box[] = {x, y, x + w, y + h};
    std::copy_n(box, 4, row + 1);
    if (k % 8 == 1) std::swap(row[1], row[3]);
    if (k % 8 == 2) std::swap(row[2], row[4]);
    if (k % 8 == 3) row[4] = row[2];
    if (k % 8 == 4) row[3] = row[1] + 7, row[4] = row[2] + 5;
    if (k == 13) row[1] = row[2] = -1e6f, row[3] = row[4] = 1e6f;
    if (k == 14) row[2] = -300, row[4] = 140;  // the first bins are above
    if (k == 15) row[2] = 40, row[4] = 400;    // the last ones below
    if (k == 16) row[1] = -300, row[3] = 140;
    if (k == 21) row[2] = 500, row[4] = 900;
    if (k == 22) row[3] = INFINITY;
  }
  return call;
}

template <typename T>
BoxSchedule ScheduleOf(const Call<T, float>& call, int64_t threads) {
  const MapSize& size = call.maps[0];
  const FeatureMap<const T> map = {call.features[0].data(), size.height,
                                   size.width, size.scale_y, size.scale_x};
  BoxTable<float> table;
  ExpectOk(table.Init(call.boxes(), call.sizes.batch, 1));
  return BoxSchedule(Serial, call.params, call.sizes, FeatureMaps<const T>(map),
                     table, threads);
}

// How many boxes go into a sweep.
template <typename T>
int64_t CountSwept(const Call<T, float>& call) {
  return ScheduleOf(call, 1).swept();
}

class SweepTest
    : public testing::TestWithParam<std::tuple<bool, int, int64_t>> {
 protected:
  template <typename T>
  Call<T, float> Make(Layout layout = Layout::kNHWC) const {
    const auto [aligned, ratio, channels] = GetParam();
    return LargeBoxes<T>(layout, aligned, ratio, channels);
  }

  template <typename T>
  void ExpectNaive() const {
    const Call<T, float> call = Make<T>();
    EXPECT_GE(CountSwept(call), 6);
    std::vector<double> expected(call.grad_output.size(), 0);
    for (int64_t k = 0; k < call.sizes.boxes; ++k) {
      const float* box = &call.rows[k * 5 + 1];
      if (std::isinf(box[2])) {
        const int64_t size = call.bins() * call.sizes.channels;
        std::fill_n(&expected[k * size], size, NAN);
        continue;
      }
      if (box[2] > 1e5f) continue;  // too many samples for naivety
      VisitPixels(
          call.params, call.maps[0], box,
          [&](int64_t p, int64_t q, int64_t y, int64_t x, double weight) {
            for (int64_t c = 0; c < call.sizes.channels; ++c) {
              expected[call.bin(k, p, q, c)] +=
                  weight *
                  ToDouble(
                      call.features[0][call.pixel(0, call.image(k), y, x, c)]);
            }
          });
    }
    for (const SimdLevel level : UsableSimdLevels()) {
      SCOPED_TRACE(SimdLevelName(level));
      const std::vector<T> got = Forward(call, level);
      const int64_t size = call.bins() * call.sizes.channels;
      for (int64_t i = 0; i < int64_t(got.size()); ++i) {
        if (i / size == 13) continue;
        if (std::isnan(expected[i])) {
          ASSERT_TRUE(std::isnan(ToDouble(got[i]))) << i;
        } else {
          ASSERT_NEAR(ToDouble(got[i]), expected[i], Tolerance<T>()) << i;
        }
      }
      ExpectAlone<T>(call, got, [&](const Call<T, float>& one) {
        return Forward(one, level);
      });
    }
  }

  // A box gets the same bits without the others.
  template <typename T, typename Number, typename Run>
  static void ExpectAlone(const Call<T, float>& call,
                          const std::vector<Number>& together, const Run& run) {
    const int64_t size = int64_t(together.size()) / call.sizes.boxes;
    for (int64_t k = 0; k < call.sizes.boxes; ++k) {
      const std::vector<Number> alone = run(Only(call, {k}));
      EXPECT_TRUE(SameBits(RowsOf(together, {k}, size), alone)) << k;
    }
  }

  template <typename Number>
  static bool SameBits(const std::vector<Number>& a,
                       const std::vector<Number>& b) {
    return a.size() == b.size() &&
           std::memcmp(a.data(), b.data(), a.size() * sizeof(Number)) == 0;
  }
};

TEST_P(SweepTest, Float) { ExpectNaive<float>(); }
TEST_P(SweepTest, Double) { ExpectNaive<double>(); }
TEST_P(SweepTest, Half) { ExpectNaive<Half>(); }
TEST_P(SweepTest, BFloat16) { ExpectNaive<BFloat16>(); }

// NCHW has no sweeps.
TEST_P(SweepTest, CodesAreThoseOfNchw) {
  const Call<int8_t, float> call = Make<int8_t>();
  EXPECT_GE(CountSwept(call), 1);
  Call<int8_t, float> planes = Make<int8_t>(Layout::kNCHW);
  for (int64_t n = 0; n < 2; ++n) {
    for (int64_t i = 0; i < 70 * 90; ++i) {
      for (int64_t c = 0; c < call.sizes.channels; ++c) {
        planes.features[0][planes.pixel(0, n, i / 90, i % 90, c)] =
            call.features[0][call.pixel(0, n, i / 90, i % 90, c)];
      }
    }
  }
  for (const SimdLevel level : UsableSimdLevels()) {
    SCOPED_TRACE(SimdLevelName(level));
    const auto got = ForwardQuantized(call, 0.5f, 7, level);
    const auto expected = ForwardQuantized(planes, 0.5f, 7, level);
    for (int64_t k = 0; k < call.sizes.boxes; ++k) {
      for (int64_t b = 0; b < call.bins(); ++b) {
        for (int64_t c = 0; c < call.sizes.channels; ++c) {
          ASSERT_EQ(got[call.bin(k, b / 2, b % 2, c)],
                    expected[planes.bin(k, b / 2, b % 2, c)]);
        }
      }
    }
    ExpectAlone<int8_t>(call, got, [&](const Call<int8_t, float>& one) {
      return ForwardQuantized(one, 0.5f, 7, level);
    });
  }
}

template <typename T>
Call<T, float> OneChannel(const Call<T, float>& call, int64_t c) {
  Call<T, float> one = call;
  one.sizes.channels = 1;
  const auto pick = [&](const std::vector<T>& from) {
    std::vector<T> picked;
    for (size_t i = c; i < from.size(); i += call.sizes.channels) {
      picked.push_back(from[i]);
    }
    return picked;
  };
  one.features = {pick(call.features[0])};
  one.grad_output = pick(call.grad_output);
  return one;
}

// The sum of those of single channels, whose windows are too small for a sweep.
TEST_P(SweepTest, BoxGradient) {
  const Call<double, float> call = Make<double>();
  Call<float, float> single = Make<float>();
  const auto narrow = [](const std::vector<double>& from) {
    return std::vector<float>(from.begin(), from.end());
  };
  single.features = {narrow(call.features[0])};
  single.grad_output = narrow(call.grad_output);
  EXPECT_GE(CountSwept(single), 6);
  EXPECT_EQ(CountSwept(OneChannel(call, 0)), 0);
  for (const SimdLevel level : UsableSimdLevels()) {
    SCOPED_TRACE(SimdLevelName(level));
    const std::vector<float> exact = BoxGrad(call, level);
    const std::vector<float> got = BoxGrad(single, level);
    std::vector<double> sums(exact.size(), 0);
    for (int64_t c = 0; c < call.sizes.channels; ++c) {
      const std::vector<float> part = BoxGrad(OneChannel(call, c), level);
      for (size_t i = 0; i < part.size(); ++i) sums[i] += part[i];
    }
    for (size_t i = 0; i < exact.size(); ++i) {
      if (std::isnan(sums[i])) {
        EXPECT_TRUE(std::isnan(exact[i]) && std::isnan(got[i])) << i;
        continue;
      }
      const double scale = 1 + std::abs(sums[i]);
      EXPECT_NEAR(exact[i], sums[i], 1e-5 * scale) << i;
      EXPECT_NEAR(got[i], sums[i], 1e-4 * scale) << i;
    }
    ExpectAlone<float>(single, got, [&](const Call<float, float>& one) {
      return BoxGrad(one, level);
    });
  }
}

// Threads share rows and channels. One box has no meaning, some are not swept.
TEST_P(SweepTest, BitsDoNotDependOnThreads) {
  const auto few = Make<float>();
  // As many as threads are woken for.
  std::vector<int64_t> boxes;
  for (int64_t i = 0; i < 240; ++i) boxes.push_back(i % few.sizes.boxes);
  const auto call = Only(few, boxes);
  EXPECT_LT(CountSwept(call), call.sizes.boxes);
  const int64_t blocks = (call.sizes.channels + 63) / 64;
  for (const int threads : {1, 2, 32}) {
    const BoxSchedule schedule = ScheduleOf(call, threads);
    EXPECT_EQ(schedule.channel_blocks(), blocks);
    if (threads == 1) EXPECT_EQ(schedule.sweeps(), 2 * blocks);  // two images
    if (threads == 32) EXPECT_GT(schedule.sweeps(), 2 * blocks);
  }
  // Threads are not woken for a single box, and more strips read more.
  for (int64_t k = 0; k < few.sizes.boxes; ++k) {
    EXPECT_LE(ScheduleOf(Only(few, {k}), 32).sweeps(), blocks);
  }
  for (const SimdLevel level : UsableSimdLevels()) {
    SCOPED_TRACE(SimdLevelName(level));
    const auto output = Forward(call, level);
    const auto grad = BoxGrad(call, level);
    for (const int threads : {2, 3, 32}) {
      EXPECT_TRUE(SameBits(Forward(call, level, Threads(threads)), output));
      EXPECT_TRUE(SameBits(BoxGrad(call, level, Threads(threads)), grad));
    }
  }
}

// More taps than a sweep holds: it runs in between.
TEST(SweepOfManyBoxes, EachIsAsAlone) {
  Call<float, float> call = LargeBoxes<float>(Layout::kNHWC, true, 0, 60);
  std::vector<int64_t> boxes;
  for (int64_t i = 0; i < 8000; ++i) boxes.push_back(i % call.sizes.boxes);
  const Call<float, float> many = Only(call, boxes);
  EXPECT_GT(CountSwept(many) * 130, kSweptTapsHeld);
  const SimdLevel level = CurrentSimdLevel();
  const std::vector<float> few = Forward(call, level);
  const std::vector<float> got = Forward(many, level);
  const std::vector<float> few_grads = BoxGrad(call, level);
  const std::vector<float> grads = BoxGrad(many, level);
  const int64_t size = call.bins() * call.sizes.channels;
  for (size_t i = 0; i < boxes.size(); ++i) {
    ASSERT_EQ(std::memcmp(&got[i * size], &few[boxes[i] * size],
                          size * sizeof(float)),
              0)
        << i;
    ASSERT_EQ(
        std::memcmp(&grads[i * 5], &few_grads[boxes[i] * 5], 5 * sizeof(float)),
        0)
        << i;
  }
}

// A row of a wide map would take too much memory.
TEST(SweepOfWideMaps, DoesNotPay) {
  const Params params = {{1, 1}, 0, true, Layout::kNHWC};
  const Span rows = {0, 100}, columns = {0, 1000};
  EXPECT_TRUE(
      SweepPays<float>(params, {nullptr, 100, 4096, 1, 1}, rows, columns, 256));
  EXPECT_FALSE(
      SweepPays<float>(params, {nullptr, 100, 4097, 1, 1}, rows, columns, 256));
}

std::string NameOf(
    const testing::TestParamInfo<std::tuple<bool, int, int64_t>>& info) {
  const auto [aligned, ratio, channels] = info.param;
  return std::string(aligned ? "Aligned" : "NotAligned") +
         (ratio > 0 ? "Ratio" + std::to_string(ratio) : "Adaptive") +
         "Channels" + std::to_string(channels);
}

INSTANTIATE_TEST_SUITE_P(, SweepTest,
                         testing::Combine(testing::Bool(),
                                          testing::Values(0, 9),
                                          testing::Values(60, 130)),
                         NameOf);

}  // namespace
}  // namespace tf_roialign
