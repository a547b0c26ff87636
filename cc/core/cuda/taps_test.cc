// Taps that the blocks of the CUDA kernels make, run by the emulation, against
// the CPU's. Not run as device code: it is a kernel of its own.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "cc/core/cpu/axis_taps.h"
#include "cc/core/cuda/kernels/tap_lists.h"
#include "cc/core/cuda/kernels/tile.h"
#include "cc/core/cuda/launch/make_problem.h"
#include "cc/core/cuda/testing/kernel_call.h"
#include "gtest/gtest.h"

namespace tf_roialign {
namespace {

// A kernel that writes down what lists of taps a block makes of a box.
template <typename AnyTap>
struct ListTaps {
  using Taps = cuda::BoxTapLists<AnyTap>;
  static constexpr int kThreads = cuda::kBlockThreads;

  cuda::Problem problem;
  int capacity;  // of each list
  bool two_samples;
  // [boxes, bins of the axis, length of the axis]: by pixel; -1: none.
  AnyTap* y;
  AnyTap* x;
  int64_t first_unit;

  static int SharedBytes(int capacity) {
    return Taps::SharedBytes(capacity, capacity);
  }

  void operator()() const {
    cuda::SharedPieces shared;
    Taps taps(&shared, capacity, capacity);
    const int64_t k = first_unit + cuda::BlockIndex();
    const cuda::BoxOnMap box(problem, k);
    const int rows = problem.pooled_height(), bins = problem.pooled_width();
    if (two_samples) {
      taps.MakeTwoSamples(box, 0, rows, 0, bins, kThreads);
    } else {
      taps.Count(box, 0, rows, 0, bins, kThreads);
      taps.Make(box, 0, rows, 0, bins, 0, taps.y.begin(rows), 0,
                taps.x.begin(bins), kThreads);
      taps.Compact(rows, bins, kThreads);
    }
    if (cuda::ThreadIndex() > 0) return;
    Write(taps.y, rows, y + k * rows * box.map().height, box.map().height);
    Write(taps.x, bins, x + k * bins * box.map().width, box.map().width);
  }

 private:
  static void Write(const cuda::TapList<AnyTap>& list, int bins, AnyTap* to,
                    int length) {
    const cuda::PixelRange pixels = list.Pixels(bins);
    for (int i = 0; i < bins; ++i) {
      for (int j = list.begin(i); j < list.end(i); ++j) {
        const AnyTap tap = list.tap(j);
        ASSERT_GE(tap.pixel, pixels.begin);
        ASSERT_LT(tap.pixel, pixels.end);
        AnyTap& by_pixel = to[i * length + tap.pixel];
        ASSERT_EQ(by_pixel.pixel, -1) << "twice";
        by_pixel = tap;
      }
    }
  }
};

template <typename W>
bool HasBitsOf(const Tap<W>& tap, const TapsView<W>& view, int64_t i) {
  return std::memcmp(&tap.weight, &view.weight[i], sizeof(W)) == 0;
}
template <typename W>
bool HasBitsOf(const SlopeTap<W>& tap, const TapsView<W>& view, int64_t i) {
  return std::memcmp(&tap.weight, &view.weight[i], sizeof(W)) == 0 &&
         std::memcmp(&tap.slope1, &view.slope1[i], sizeof(W)) == 0 &&
         std::memcmp(&tap.slope2, &view.slope2[i], sizeof(W)) == 0;
}

// Taps of an axis on CPU.
template <typename W, typename B>
struct CpuTaps {
  AxisOnMap<B, int64_t> box;
  AxisTaps<W> taps;

  explicit CpuTaps(const AxisOnMap<B, int64_t>& axis) : box(axis) {
    taps.BuildWithSlopes(box);
  }

  // `list`: [bins, length].
  template <typename AnyTap>
  void ExpectSame(const AnyTap* list) const {
    const TapsView<W> view = taps.view();
    int64_t found = 0;
    for (int64_t p = 0; p < box.pooled; ++p) {
      for (int64_t i = view.begin[p]; i < view.begin[p + 1]; ++i) {
        const AnyTap& tap = list[p * box.length + view.pixel[i]];
        ASSERT_EQ(tap.pixel, view.pixel[i]) << "of bin " << p;
        ASSERT_TRUE(HasBitsOf(tap, view, i))
            << "bin " << p << ", pixel " << tap.pixel;
      }
    }
    for (int64_t i = 0; i < box.pooled * box.length; ++i) {
      found += list[i].pixel >= 0;
    }
    EXPECT_EQ(found, view.begin[box.pooled]);
  }

  // What the gather of the feature gradient says of each pixel.
  void ExpectSameRecords(B c1, B c2, const Params& params) const {
    const TapsView<W> view = taps.view();
    const cuda::AxisCorners<B> corners = {c1, c2, box.scale, int(box.pooled),
                                          int(box.length)};
    int64_t found = 0;
    for (int pixel = 0; pixel < box.length; ++pixel) {
      cuda::PixelRecord<W> record;
      cuda::MakeRecord(corners, params.sampling_ratio, params.aligned, pixel,
                       &record);
      for (int i = 0; i < record.count; ++i) {
        const int p = record.begin + i;
        W again;
        if (!cuda::WeightAgain(corners, params.sampling_ratio, params.aligned,
                               p, pixel, &again)) {
          continue;
        }
        ++found;
        const auto* const end = view.pixel + view.begin[p + 1];
        const auto* const at =
            std::find(view.pixel + view.begin[p], end, pixel);
        ASSERT_NE(at, end);
        ASSERT_EQ(std::memcmp(&again, &view.weight[at - view.pixel], sizeof(W)),
                  0);
        if (i >= cuda::kKeptWeights) continue;
        ASSERT_EQ(record.touched >> i & 1, 1u);
        ASSERT_EQ(std::memcmp(&record.weight[i], &again, sizeof(W)), 0);
      }
    }
    EXPECT_EQ(found, view.begin[box.pooled]);
  }
};

// Taps of the device's lists and records are those of the CPU, to the bit, of
// `W` and from boxes of `B`.
template <typename W, typename B>
void ExpectTapsAreCpu(int ratio, bool aligned) {
  SCOPED_TRACE("ratio " + std::to_string(ratio) + ", " +
               std::to_string(sizeof(W)) + " and " + std::to_string(sizeof(B)) +
               " bytes");
  KernelCall<W, B> call =
      MakeCall<W, B>(5, Layout::kNCHW, aligned, ratio, /*channels=*/1);
  const BoxInputs<B> inputs(call);
  const cuda::Problem problem = cuda::MakeProblem(
      call.params, call.sizes, inputs.boxes, FeatureMaps<const W>(call.map()));
  const auto expect = [&](auto tap, bool two_samples) {
    using AnyTap = decltype(tap);
    const int64_t y_size = call.params.pooled_height() * call.height;
    const int64_t x_size = call.params.pooled_width() * call.width;
    std::vector<AnyTap> y(call.sizes.boxes * y_size),
        x(call.sizes.boxes * x_size);
    for (AnyTap& none : y) none.pixel = -1;
    for (AnyTap& none : x) none.pixel = -1;
    const int capacity = 256;
    EmulatedDevice device(ThreadOrder::kShuffled);
    ExpectOk(device.Launch(
        ListTaps<AnyTap>{problem, capacity, two_samples, y.data(), x.data(), 0},
        call.sizes.boxes, ListTaps<AnyTap>::SharedBytes(capacity)));
    for (int64_t k = 0; k < call.sizes.boxes; ++k) {
      const B* const row = &call.rows[k * 4];
      const auto axes = MakeBoxAxes(problem, problem.maps[0], row);
      if (!axes.finite()) continue;
      const CpuTaps<W, B> cpu_y(
          {axes.y, call.params.pooled_height(), call.height, B(call.scale.y)});
      const CpuTaps<W, B> cpu_x(
          {axes.x, call.params.pooled_width(), call.width, B(call.scale.x)});
      cpu_y.ExpectSame(&y[k * y_size]);
      cpu_x.ExpectSame(&x[k * x_size]);
      if (testing::Test::HasFatalFailure()) return;
      if (two_samples) continue;
      cpu_y.ExpectSameRecords(row[kY1], row[kY2], call.params);
      cpu_x.ExpectSameRecords(row[kX1], row[kX2], call.params);
      if (testing::Test::HasFatalFailure()) return;
    }
  };
  for (const bool two_samples : {false, true}) {
    if (two_samples && ratio != 2) continue;
    expect(Tap<W>(), two_samples);
    expect(SlopeTap<W>(), two_samples);
  }
}

class CudaTaps : public testing::TestWithParam<int> {};

TEST_P(CudaTaps, AreThoseOfTheCpuBitByBit) {
  for (const bool aligned : {false, true}) {
    ExpectTapsAreCpu<float, float>(GetParam(), aligned);
    ExpectTapsAreCpu<float, double>(GetParam(), aligned);
    ExpectTapsAreCpu<double, float>(GetParam(), aligned);
    ExpectTapsAreCpu<double, double>(GetParam(), aligned);
  }
}

INSTANTIATE_TEST_SUITE_P(Ratios, CudaTaps,
                         testing::Values(-1, 1, 2, 3, 16, 65, 200, 1000, 1024,
                                         1025, 5000));

}  // namespace
}  // namespace tf_roialign
