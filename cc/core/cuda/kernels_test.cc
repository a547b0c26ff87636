// The CUDA kernels against the CPU kernels, without a GPU: compiled for the
// host and run by an emulation of blocks and threads, or, as a part of
// cc/core/cuda/device_test, compiled by nvcc and interpreted.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include "cc/core/call/level_rule.h"
#include "cc/core/cpu/roi_align_cpu.h"
#include "cc/core/cuda/testing/kernel_call.h"
#include "cc/core/cuda/testing/test_device.h"
#include "cc/core/cuda/tuning.h"
#include "cc/core/testing/any_dtype.h"
#include "cc/core/testing/expect.h"
#include "gtest/gtest.h"

namespace tf_roialign {
namespace {

const ThreadOrder kOrders[] = {
    ThreadOrder::kAscending, ThreadOrder::kDescending, ThreadOrder::kShuffled};
#if defined(__SANITIZE_ADDRESS__) || defined(TF_ROIALIGN_TEST_DEVICE_CODE)
// Ten times as slow. Device code has paths_test.cc.
const ThreadOrder kMapsOrders[] = {ThreadOrder::kShuffled};
constexpr int kLongMap = 1100;
#else
const auto& kMapsOrders = kOrders;
constexpr int kLongMap = 2500;
#endif
// More than the block has that groups them.
constexpr int kManyBoxes = cuda::kGroupingThreads + 44;

class CudaKernels
    : public testing::TestWithParam<std::tuple<Layout, bool, int, int64_t>> {
 protected:
  template <typename T, typename B>
  KernelCall<T, B> Make() const {
    const auto [layout, aligned, ratio, channels] = GetParam();
    return MakeCall<T, B>(11, layout, aligned, ratio, channels);
  }
};

TEST_P(CudaKernels, Float) { ExpectAllIsCpu(Make<float, float>()); }
TEST_P(CudaKernels, Double) { ExpectAllIsCpu(Make<double, double>()); }
TEST_P(CudaKernels, MixedBoxDtypes) {
  ExpectAllIsCpu(Make<float, double>());
  ExpectAllIsCpu(Make<double, float>());
}
TEST_P(CudaKernels, Half) { ExpectAllIsCpu(Make<Half, float>()); }
TEST_P(CudaKernels, BFloat16) { ExpectAllIsCpu(Make<BFloat16, float>()); }
TEST_P(CudaKernels, Max) {
  const auto expect = [](auto call) {
    call.params.mode = Mode::kMax;
    ExpectAllIsCpu(call);
  };
  expect(Make<float, float>());
  expect(Make<double, float>());
  expect(Make<Half, float>());
}

std::string ParamName(
    const testing::TestParamInfo<CudaKernels::ParamType>& info) {
  const auto [layout, aligned, ratio, channels] = info.param;
  return std::string(layout == Layout::kNHWC ? "Nhwc" : "Nchw") +
         (aligned ? "Aligned" : "NotAligned") +
         (ratio > 0    ? "Ratio" + std::to_string(ratio)
          : ratio == 0 ? "Zero"
                       : "Adaptive") +
         "Channels" + std::to_string(channels);
}

#if defined(__SANITIZE_ADDRESS__)
// Ten times as slow: what takes another path, and no more.
const auto kAligned = testing::Values(true);
const auto kRatios = testing::Values(-1, 2);
const auto kChannels = testing::Values(130);
#else
const auto kAligned = testing::Bool();
const auto kRatios = testing::Values(-1, 0, 1, 2, 3, 7);
const auto kChannels = testing::Values(1, 3, 64, 130);
#endif

INSTANTIATE_TEST_SUITE_P(
    , CudaKernels,
    testing::Combine(testing::Values(Layout::kNHWC, Layout::kNCHW), kAligned,
                     kRatios, testing::Values(5)),
    ParamName);

INSTANTIATE_TEST_SUITE_P(
    Channels, CudaKernels,
    testing::Combine(testing::Values(Layout::kNHWC, Layout::kNCHW),
                     testing::Values(true), testing::Values(-1, 2), kChannels),
    ParamName);

// More channels than one pass of a block has.
INSTANTIATE_TEST_SUITE_P(
    ManyChannels, CudaKernels,
    testing::Combine(testing::Values(Layout::kNHWC, Layout::kNCHW),
                     testing::Values(false), testing::Values(-1),
                     testing::Values(1040)),
    ParamName);

TEST(CudaThreads, OrderDoesNotMatter) {
  for (const Layout layout : {Layout::kNHWC, Layout::kNCHW}) {
    for (const int ratio : {-1, 2, 3}) {
      for (const int64_t channels : {5, 64}) {
        auto call =
            MakeCall<float, float>(7, layout, ratio != 3, ratio, channels);
        if (ratio == 3) call.params.mode = Mode::kMax;
        const auto output = Forward(call, kOrders[0]);
        const auto grad = FeatureGrad(call, kOrders[0]);
        const auto box_grad = BoxGrad(call, kOrders[0]);
        for (const ThreadOrder order : kOrders) {
          ExpectSameBits(Forward(call, order), output);
          ExpectSameBits(FeatureGrad(call, order), grad);
          ExpectSameBits(BoxGrad(call, order), box_grad);
        }
      }
    }
  }
}

TEST(CudaBoxForms, AreAllRead) {
  for (const Layout layout : {Layout::kNHWC, Layout::kNCHW}) {
    auto call = MakeCall<float, float>(3, layout, true, -1, 5);
    call.form = BoxForm::kSeparate;
    ExpectModesAreCpu(call, ThreadOrder::kShuffled, false);
    ExpectModesAreCpu(call, ThreadOrder::kShuffled, true);
    call.form = BoxForm::kDense;
    for (int64_t k = 0; k + 1 < call.sizes.boxes; ++k) {
      call.column[k] = k < call.sizes.boxes / 2 ? 0 : 1;
    }
    call.column.pop_back();  // an even number
    call.rows.resize(call.rows.size() - 4);
    --call.sizes.boxes;
    call.Draw(4);
    ExpectModesAreCpu(call, ThreadOrder::kShuffled);
  }
}

TEST(CudaImages, AnyIndexIsSafe) {
  for (const double bad : {-1.0, -0.5, 2.0, 1e30, double(NAN), double(INFINITY),
                           -double(INFINITY)}) {
    auto call = MakeCall<float, float>(3, Layout::kNHWC, true, 2, 4);
    call.column[2] = bad;
    ExpectModesAreCpu(call);
  }
}

TEST(CudaBoxes, None) {
  for (const Layout layout : {Layout::kNHWC, Layout::kNCHW}) {
    KernelCall<Half, float> call;
    call.params = {{2, 2}, 2, true, layout};
    call.sizes = {2, 3, 0};
    call.height = 5;
    call.width = 6;
    call.Draw(1);
    for (const Half value : FeatureGrad(call, ThreadOrder::kAscending)) {
      ASSERT_EQ(value.bits, 0);
    }
    EXPECT_TRUE(Forward(call, ThreadOrder::kAscending).empty());
    EXPECT_TRUE(BoxGrad(call, ThreadOrder::kAscending).empty());
  }
}

TEST(CudaBoxes, WithoutChannels) {
  KernelCall<float, float> call;
  call.params = {{2, 2}, 2, true, Layout::kNHWC};
  call.sizes = {1, 0, 0};
  call.height = 5;
  call.width = 6;
  call.AddBox(0, 1, 1, 3, 3);
  call.AddBox(0, 1, NAN, 3, 3);
  call.Draw(1);
  ExpectBoxGradIsCpu(call, BoxGrad(call, ThreadOrder::kAscending));
}

// More boxes than a block looks at in one round, and more to add to a pixel
// than its list holds.
KernelCall<float, float> ManyOnOnePixel(Layout layout, int64_t batch,
                                        int64_t channels) {
  KernelCall<float, float> call;
  call.params = {{7, 7}, -1, true, layout};
  call.sizes = {batch, channels, 0};
  call.height = 10;
  call.width = 11;
  std::mt19937 random(5);
  std::uniform_real_distribution<double> unit(0, 1);
  for (int k = 0; k < kManyBoxes; ++k) {
    const double x = 4 + unit(random), y = 4 + unit(random);
    call.AddBox(double(random() % batch), x, y, x + unit(random),
                y + unit(random));
  }
  call.Draw(6);
  return call;
}

TEST(CudaBoxes, ManyOnOnePixel) {
  for (const Layout layout : {Layout::kNHWC, Layout::kNCHW}) {
    for (const int64_t batch : {1, 3}) {
      ExpectModesAreCpu(ManyOnOnePixel(layout, batch, 4));
    }
  }
}

// Lists that are filled several times, each read by several threads.
TEST(CudaThreads, OrderDoesNotMatterWhenListsAreRefilled) {
  for (const Layout layout : {Layout::kNHWC, Layout::kNCHW}) {
    const auto call = ManyOnOnePixel(layout, 1, 20);
    const auto grad = FeatureGrad(call, kOrders[0]);
    for (const ThreadOrder order : kOrders) {
      ExpectSameBits(FeatureGrad(call, order), grad);
    }
  }
}

// Outputs larger than what a block has in hand.
TEST(CudaBoxes, LargeOutputs) {
  for (const Layout layout : {Layout::kNHWC, Layout::kNCHW}) {
    for (const int ratio : {-1, 2}) {
      KernelCall<float, float> call;
      call.params = {{70, 131}, ratio, false, layout};
      call.sizes = {1, 3, 0};
      call.height = 7;
      call.width = 9;
      call.AddBox(0, 1, 1, 6, 5);
      call.AddBox(0, -300, 3, 400, 2);
      call.Draw(2);
      ExpectModesAreCpu(call);
    }
  }
}

// Boxes that span more pixels than the lists in shared memory hold.
TEST(CudaBoxes, LargerThanTheLists) {
  for (const Layout layout : {Layout::kNHWC, Layout::kNCHW}) {
    for (const bool wide : {false, true}) {
      for (const int ratio : {-1, 900}) {
        KernelCall<float, float> call;
        call.params = {{2, 3}, ratio, true, layout};
        call.sizes = {1, 2, 0};
        call.height = wide ? 2 : kLongMap;
        call.width = wide ? kLongMap : 2;
        call.AddBox(0, -3, -2, double(call.width) + 2, double(call.height));
        call.AddBox(0, double(call.width) * 3, 1, -700, 1.5);
        call.Draw(2);
        ExpectModesAreCpu(call);
      }
    }
  }
}

// Any coordinates at all: nothing may be read or written out of bounds.
TEST(CudaBoxes, AnyCoordinatesAreSafe) {
  const double limits[] = {0,    -0.5,  0.5,  1e-30, -1e-30, 1,   -1,
                           13,   1e3,   -1e3, 1e6,   -1e6,   1e9, -1e9,
                           1e18, -1e18, 1e30, 3e38,  -3e38,  NAN, INFINITY};
  std::mt19937_64 random(9);
  std::uniform_int_distribution<int> pick(0, std::size(limits) - 1);
  for (int round = 0; round < 24; ++round) {
    const Layout layout = round % 2 == 0 ? Layout::kNHWC : Layout::kNCHW;
    const int ratio = round % 3 == 0 ? -1 : round % 3 == 1 ? 2 : 5;
    auto call = MakeCall<float, float>(1, layout, round % 4 < 2, ratio, 4);
    auto exact = MakeCall<double, double>(1, layout, round % 4 < 2, ratio, 4);
    for (size_t i = 0; i < call.rows.size(); ++i) {
      const double value = limits[pick(random)];
      call.rows[i] = static_cast<float>(value);
      exact.rows[i] = value;
    }
    call.params.mode = exact.params.mode = kModes[round / 12];
    ExpectForwardIsCpu(call, Forward(call, ThreadOrder::kAscending));
    ExpectFeatureGradIsCpu(call, FeatureGrad(call, ThreadOrder::kAscending));
    BoxGrad(call, ThreadOrder::kAscending);
    ExpectForwardIsCpu(exact, Forward(exact, ThreadOrder::kAscending));
    ExpectFeatureGradIsCpu(exact, FeatureGrad(exact, ThreadOrder::kAscending));
    BoxGrad(exact, ThreadOrder::kAscending);
  }
}

TEST(CudaFeatures, OutsideSamplesAreZeroEvenOverNaN) {
  for (const Layout layout : {Layout::kNHWC, Layout::kNCHW}) {
    for (const int ratio : {-1, 2}) {
      auto call = MakeCall<float, float>(2, layout, true, ratio, 4);
      for (float& value : call.features) value = NAN;
      for (int64_t k = 0; k < call.sizes.boxes; ++k) {
        call.column[k] = 0;
        const float outside[] = {-50, -60, -30, -20};
        std::copy(outside, outside + 4, &call.rows[k * 4]);
      }
      for (const Mode mode : kModes) {
        call.params.mode = mode;
        for (const float value : Forward(call, ThreadOrder::kAscending)) {
          ASSERT_EQ(value, 0.f);
        }
      }
    }
  }
}

// Infinity stays where it is and stays infinity: pixels that a bin does not
// touch have no part in it, and absent taps are not zeros.
TEST(CudaFeatures, InfinityTouchesWhatItTouchesOnCpu) {
  for (const Layout layout : {Layout::kNHWC, Layout::kNCHW}) {
    for (const int ratio : {-1, 1, 2, 3}) {
      auto call = MakeCall<float, float>(2, layout, true, ratio, 4);
      std::mt19937 random(5);
      for (float& value : call.features) {
        if (random() % 40 == 0) value = INFINITY;
      }
      for (float& value : call.grad_output) {
        if (random() % 400 == 0) value = INFINITY;
      }
      const std::vector<float> expected = ForwardOnCpu(call);
      const auto got = Forward(call, ThreadOrder::kAscending);
      for (size_t i = 0; i < got.size(); ++i) {
        ASSERT_EQ(std::isfinite(got[i]), std::isfinite(expected[i])) << i;
        ASSERT_EQ(std::isinf(got[i]), std::isinf(expected[i])) << i;
      }
      const auto grad = FeatureGradOnCpu(call, call.grad_output);
      const auto got_grad = FeatureGrad(call, ThreadOrder::kAscending);
      for (size_t i = 0; i < grad.size(); ++i) {
        ASSERT_EQ(std::isfinite(got_grad[i]), std::isfinite(grad[i])) << i;
      }
    }
  }
}

// The largest sample, whatever the others are: the first NaN, the first of
// equal ones, and those below zero.
TEST(CudaMax, ChoosesAsOnCpu) {
  for (const Layout layout : {Layout::kNHWC, Layout::kNCHW}) {
    for (const int ratio : {-1, 2, 3}) {
      auto call = MakeCall<float, float>(2, layout, true, ratio, 4);
      call.params.mode = Mode::kMax;
      std::mt19937 random(5);
      for (float& value : call.features) value -= 2;
      ExpectAllIsCpu(call);
      for (float& value : call.features) value = float(random() % 2);
      ExpectForwardIsCpu(call, Forward(call, ThreadOrder::kAscending));
      for (float& value : call.features) {
        if (random() % 20 == 0) value = NAN;
        if (random() % 20 == 0) value = -INFINITY;
      }
      const std::vector<float> expected = ForwardOnCpu(call);
      const auto got = Forward(call, ThreadOrder::kAscending);
      for (size_t i = 0; i < got.size(); ++i) {
        if (std::isfinite(expected[i])) {
          ASSERT_NEAR(got[i], expected[i], 4e-6) << i;
        } else {
          ASSERT_EQ(std::isnan(got[i]), std::isnan(expected[i])) << i;
        }
      }
      ExpectFeatureGradIsCpu(call, FeatureGrad(call, ThreadOrder::kAscending));
    }
  }
}

TEST(CudaMemory, UnalignedFeaturesAreReadInNarrowerPieces) {
  auto call = MakeCall<float, float>(2, Layout::kNHWC, true, 2, 8);
  std::vector<float> shifted(call.features.size() + 1);
  std::copy(call.features.begin(), call.features.end(), shifted.begin() + 1);
  TestDevice device(ThreadOrder::kAscending);
  const BoxInputs<float> inputs(call);
  std::vector<float> output(call.grad_output.size());
  FeatureMap<const float> map = call.map();
  map.data = shifted.data() + 1;
  ExpectOk(cuda::Forward<float, float>(device, call.params, call.sizes,
                                       inputs.boxes, map, output.data()));
  ExpectForwardIsCpu(call, output);
}

TEST(CudaMemory, LackOfScratchIsSaid) {
  auto call = MakeCall<float, float>(2, Layout::kNHWC, true, 2, 8);
  TestDevice device(ThreadOrder::kAscending);
  device.out_of_memory = true;
  const BoxInputs<float> inputs(call);
  std::vector<float> grad(call.features.size());
  std::vector<float> box_grad(inputs.rows.size());
  for (const Status& status :
       {cuda::MaxFeatureGrad<float, float>(
            device, call.params, call.sizes, inputs.boxes, call.map(),
            call.grad_output.data(), call.map_of(&grad)),
        cuda::FeatureGrad<float, float>(device, call.params, call.sizes,
                                        inputs.boxes, call.grad_output.data(),
                                        call.map_of(&grad)),
        cuda::BoxGrad<float, float>(
            device, call.params, call.sizes, inputs.boxes, call.map(),
            call.grad_output.data(), box_grad.data())}) {
    EXPECT_EQ(status.code(), ErrorCode::kResourceExhausted);
    EXPECT_EQ(status.text().find("There is not enough GPU memory"), 0u);
  }
  EXPECT_EQ(device.launches, 0);
}

TEST(CudaLimits, AreSaid) {
  KernelCall<float, float> call;
  call.params = {{1, 1}, 2, true, Layout::kNHWC};
  call.sizes = {1, 1, 0};
  call.height = int64_t(1) << 31;
  call.width = 1;
  call.AddBox(0, 1, 1, 2, 2);
  TestDevice device(ThreadOrder::kAscending);
  const BoxInputs<float> inputs(call);
  const auto forward = [&](const FeatureMaps<const float>& maps) {
    return cuda::Forward<float, float>(device, call.params, call.sizes,
                                       inputs.boxes, maps, nullptr);
  };
  const Status rows = forward(call.map());
  EXPECT_EQ(rows.code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(rows.text(),
            "RoIAlign on a GPU takes less than 2^31 rows, got 2147483648");
  const std::vector<FeatureMap<const float>> maps(kMaxMaps + 1,
                                                  {nullptr, 1, 1, 1, 1});
  EXPECT_EQ(forward({maps.data(), int(maps.size())}).text(),
            "RoIAlign on a GPU takes less than 9 feature maps, got 9");
  call.height = 1;
  call.width = int64_t(1) << 28;
  EXPECT_EQ(forward(call.map()).text(),
            "RoIAlign on a GPU takes less than 268435456 columns, got "
            "268435456");
  call.params.output_size = {int64_t(1) << 14, int64_t(1) << 14};
  EXPECT_EQ(forward(maps[0]).text(),
            "RoIAlign on a GPU takes less than 268435456 bins, got 268435456");
  call.params.output_size.height = 1;
  call.params.output_size.width = int64_t(1) << 25;
  EXPECT_EQ(forward(maps[0]).text(),
            "RoIAlign on a GPU takes an `output_size` below 2^25, got [1, "
            "33554432]");
  call.params.output_size.width = 1;
  const int64_t limit = int64_t(1) << 31;
  call.sizes.boxes = limit;
  EXPECT_EQ(forward(maps[0]).text(),
            "RoIAlign on a GPU takes less than 2^31 boxes, got 2147483648");
  call.sizes = {limit, 1, 1};
  EXPECT_EQ(forward(maps[0]).text(),
            "RoIAlign on a GPU takes less than 2^31 images, got 2147483648");
  // They are counted over all maps.
  call.sizes.batch = limit / 2;
  EXPECT_EQ(forward({maps.data(), 2}).text(),
            "RoIAlign on a GPU takes less than 1073741824 images, got "
            "1073741824");
  call.sizes = {1, limit / 4 / 64, 1};
  EXPECT_EQ(forward(maps[0]).text(),
            "RoIAlign on a GPU takes less than 8388608 channels, got 8388608");
  EXPECT_EQ(device.launches, 0);
}

// Several maps at once, of which each box reads one.
class CudaMaps : public testing::TestWithParam<std::tuple<Layout, Mode>> {
 protected:
  using T = float;
  using B = float;

  CudaMaps() {
    call_ = MakeCall<T, B>(5, std::get<0>(GetParam()), true, -1, 12);
    call_.params.mode = std::get<1>(GetParam());
    call_.form = BoxForm::kSeparate;
    const int64_t heights[] = {9, 21, 4, 6, 0}, widths[] = {13, 5, 30, 6, 7};
    std::mt19937 random(8);
    std::uniform_real_distribution<double> value(-1, 1);
    for (int m = 0; m < kMaps; ++m) {
      features_.emplace_back(call_.sizes.batch * heights[m] * widths[m] *
                             call_.sizes.channels);
      for (T& feature : features_[m]) feature = T(value(random));
      grads_.emplace_back(features_[m].size(), T(77));
    }
    for (int m = 0; m < kMaps; ++m) {
      const double y = 0.2 * (m + 1), x = 0.7 - 0.1 * m;
      maps_.push_back({features_[m].data(), heights[m], widths[m], y, x});
      grad_maps_.push_back({grads_[m].data(), heights[m], widths[m], y, x});
    }
    // No box reads map 3; map 4 has no pixels.
    for (int64_t k = 0; k < call_.sizes.boxes; ++k) {
      map_indices_.push_back(int32_t(random() % 3));
    }
    bad_ = {3, 7, 9};
    map_indices_[3] = kMaps;
    map_indices_[7] = -1;
    map_indices_[9] = 4;
  }

  // `all`, or of one map alone: the boxes of other maps get no meaning.
  BoxInputs<B> Inputs(bool all, int map) {
    KernelCall<T, B> call = call_;
    for (int64_t k = 0; k < call.sizes.boxes; ++k) {
      if (!all && map_indices_[k] != map) call.column[k] = -1;
    }
    return BoxInputs<B>(call);
  }

  Status Grad(TestDevice& device, const BoxInputs<B>& inputs,
              const FeatureMaps<const T>& features,
              const FeatureMaps<T>& grads) const {
    return call_.params.mode == Mode::kMax
               ? cuda::MaxFeatureGrad<T, B>(device, call_.params, call_.sizes,
                                            inputs.boxes, features,
                                            call_.grad_output.data(), grads)
               : cuda::FeatureGrad<T, B>(device, call_.params, call_.sizes,
                                         inputs.boxes, call_.grad_output.data(),
                                         grads);
  }

  static constexpr int kMaps = 5;
  KernelCall<T, B> call_;
  std::vector<std::vector<T>> features_, grads_;
  std::vector<FeatureMap<const T>> maps_;
  std::vector<FeatureMap<T>> grad_maps_;
  std::vector<int32_t> map_indices_;
  std::vector<int64_t> bad_;
};

TEST_P(CudaMaps, AreLikeACallEach) {
  const int64_t per_box = call_.BoxElements();
  BoxInputs<B> inputs = Inputs(true, 0);
  inputs.boxes.rows = inputs.rows.data();
  inputs.boxes.box_indices = inputs.narrow.data();
  inputs.boxes.map_indices = map_indices_.data();
  for (const ThreadOrder order : kMapsOrders) {
    TestDevice device(order);
    std::vector<T> output(call_.grad_output.size(), T(77));
    std::vector<B> box_grad(inputs.rows.size(), B(77));
    ExpectOk(cuda::Forward<T, B>(device, call_.params, call_.sizes,
                                 inputs.boxes, {maps_.data(), kMaps},
                                 output.data()));
    ExpectOk(cuda::BoxGrad<T, B>(device, call_.params, call_.sizes,
                                 inputs.boxes, {maps_.data(), kMaps},
                                 call_.grad_output.data(), box_grad.data()));
    ExpectOk(Grad(device, inputs, {maps_.data(), kMaps},
                  {grad_maps_.data(), kMaps}));
    for (const int64_t k : bad_) {
      EXPECT_TRUE(std::isnan(output[k * per_box]));
      EXPECT_TRUE(std::isnan(box_grad[k * 4]));
    }
    for (int m = 0; m < 4; ++m) {
      BoxInputs<B> own = Inputs(false, m);
      own.boxes.rows = own.rows.data();
      own.boxes.box_indices = own.narrow.data();
      std::vector<T> alone(output.size()), grad(grads_[m].size());
      std::vector<B> box_alone(box_grad.size());
      FeatureMap<T> grad_map = grad_maps_[m];
      grad_map.data = grad.data();
      ExpectOk(cuda::Forward<T, B>(device, call_.params, call_.sizes, own.boxes,
                                   maps_[m], alone.data()));
      ExpectOk(cuda::BoxGrad<T, B>(device, call_.params, call_.sizes, own.boxes,
                                   maps_[m], call_.grad_output.data(),
                                   box_alone.data()));
      ExpectOk(Grad(device, own, maps_[m], grad_map));
      ExpectSameBits(grads_[m], grad);
      if (m == 3) {
        for (const T value : grads_[m]) ASSERT_EQ(value, T(0));
      }
      for (int64_t k = 0; k < call_.sizes.boxes; ++k) {
        if (map_indices_[k] != m) continue;
        ASSERT_EQ(std::memcmp(&output[k * per_box], &alone[k * per_box],
                              per_box * sizeof(T)),
                  0);
        ASSERT_EQ(
            std::memcmp(&box_grad[k * 4], &box_alone[k * 4], 4 * sizeof(B)), 0);
      }
    }
  }
}

// By the rule, and by indices of either width.
TEST_P(CudaMaps, AreChosenByTheAreasOfTheBoxes) {
  constexpr int kChosen = 3;  // those with pixels that differ in level
  const Scale scales[kChosen] = {{0.5, 0.5}, {0.25, 0.25}, {0.125, 0.125}};
  const LevelRule rule = MakeLevelRule<B>(6, 2, scales, kChosen);
  BoxInputs<B> inputs = Inputs(true, 0);
  inputs.boxes.rows = inputs.rows.data();
  inputs.boxes.box_indices = inputs.narrow.data();
  std::vector<int32_t> narrow;
  std::vector<int64_t> wide;
  int64_t of_map[kChosen] = {};
  for (int64_t k = 0; k < call_.sizes.boxes; ++k) {
    narrow.push_back(MapOfBox(inputs.boxes, &rule, k, kChosen));
    wide.push_back(narrow.back());
    ++of_map[narrow.back()];
  }
  for (const int64_t count : of_map) EXPECT_GT(count, 0);
  const auto forward = [&] {
    TestDevice device(ThreadOrder::kShuffled);
    std::vector<T> output(call_.grad_output.size(), T(77));
    ExpectOk(cuda::Forward<T, B>(device, call_.params, call_.sizes,
                                 inputs.boxes, {maps_.data(), kChosen},
                                 output.data()));
    return output;
  };
  inputs.boxes.level_rule = &rule;
  const std::vector<T> by_rule = forward();
  inputs.boxes.level_rule = nullptr;
  inputs.boxes.map_indices = narrow.data();
  ExpectSameBits(by_rule, forward());
  inputs.boxes.map_indices = wide.data();
  inputs.boxes.map_indices_are_64_bit = true;
  ExpectSameBits(by_rule, forward());
}

INSTANTIATE_TEST_SUITE_P(, CudaMaps,
                         testing::Combine(testing::Values(Layout::kNHWC,
                                                          Layout::kNCHW),
                                          testing::ValuesIn(kModes)));

// Taps are the CPU's (taps_test.cc): results differ by what sums round, also of
// double features with boxes of float, whose coordinates are coarse.
TEST(CudaSamples, AreMany) {
  for (const Layout layout : {Layout::kNHWC, Layout::kNCHW}) {
    for (const int ratio : {65, 1025, 5000}) {
      SCOPED_TRACE(ratio);
      ExpectAllIsCpu(MakeCall<double, float>(5, layout, true, ratio, 3));
      ExpectAllIsCpu(MakeCall<float, double>(5, layout, false, ratio, 3));
    }
  }
}

TEST(CudaScale, PerAxis) {
  for (const Layout layout : {Layout::kNHWC, Layout::kNCHW}) {
    auto call = MakeCall<float, float>(2, layout, true, -1, 5);
    call.scale = {0.25, 0.7};
    ExpectModesAreCpu(call);
  }
}

}  // namespace
}  // namespace tf_roialign
