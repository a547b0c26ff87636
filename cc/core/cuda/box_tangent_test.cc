// The CUDA kernels of the box tangent and its transpose against the CPU's,
// without a GPU.

#include <cmath>
#include <cstdint>
#include <random>
#include <tuple>
#include <vector>

#include "cc/core/cuda/testing/box_tangent_call.h"
#include "cc/core/cuda/testing/device_call.h"
#include "cc/core/cuda/testing/test_device.h"
#include "cc/core/cuda/tuning.h"
#include "cc/core/testing/expect.h"
#include "gtest/gtest.h"

namespace tf_roialign {
namespace {

const ThreadOrder kOrders[] = {
    ThreadOrder::kAscending, ThreadOrder::kDescending, ThreadOrder::kShuffled};

class CudaBoxTangent
    : public testing::TestWithParam<std::tuple<Layout, bool, int, int64_t>> {
 protected:
  template <typename T, typename B>
  void ExpectAllFormsAreCpu() const {
    const auto [layout, aligned, ratio, channels] = GetParam();
    for (const BoxForm form : kBoxForms) {
      Call<T, B> call =
          CallOnMaps<T, B>(11, {{3, 5}, ratio, aligned, layout}, channels);
      if (form == BoxForm::kDense) call = InOrderOfImages(call);
      const Call<T, B> on_cpu = AddBadIndices(form, &call);
      ExpectTangentIsCpu(
          call, DeviceBoxes<B>(call, form, /*wide_indices=*/aligned), on_cpu);
    }
  }
};

TEST_P(CudaBoxTangent, Float) { ExpectAllFormsAreCpu<float, float>(); }
TEST_P(CudaBoxTangent, Double) { ExpectAllFormsAreCpu<double, double>(); }
TEST_P(CudaBoxTangent, MixedBoxDtypes) {
  ExpectAllFormsAreCpu<float, double>();
  ExpectAllFormsAreCpu<double, float>();
}
TEST_P(CudaBoxTangent, Half) { ExpectAllFormsAreCpu<Half, float>(); }
TEST_P(CudaBoxTangent, BFloat16) { ExpectAllFormsAreCpu<BFloat16, float>(); }

std::string ParamName(
    const testing::TestParamInfo<CudaBoxTangent::ParamType>& info) {
  const auto [layout, aligned, ratio, channels] = info.param;
  return NameOfParams(layout, aligned, ratio, channels);
}

#if defined(__SANITIZE_ADDRESS__) || defined(TF_ROIALIGN_TEST_DEVICE_CODE)
// Ten times as slow: what takes another path, and no more. Device code has
// derived_paths_test.cc.
const auto kAligned = testing::Values(true);
const auto kRatios = testing::Values(-1, 2);
const auto kChannels = testing::Values(64);
#else
const auto kAligned = testing::Bool();
const auto kRatios = testing::Values(-1, 1, 2, 3);
const auto kChannels = testing::Values(1, 64, 130);
#endif

INSTANTIATE_TEST_SUITE_P(
    , CudaBoxTangent,
    testing::Combine(testing::Values(Layout::kNHWC, Layout::kNCHW), kAligned,
                     kRatios, testing::Values(5)),
    ParamName);

INSTANTIATE_TEST_SUITE_P(
    Channels, CudaBoxTangent,
    testing::Combine(testing::Values(Layout::kNHWC, Layout::kNCHW),
                     testing::Values(true), testing::Values(-1), kChannels),
    ParamName);

TEST(CudaBoxTangentThreads, OrderDoesNotMatter) {
  for (const Layout layout : {Layout::kNHWC, Layout::kNCHW}) {
    for (const int64_t channels : {5, 64}) {
      const auto call =
          CallOnMaps<float, float>(7, {{3, 5}, -1, true, layout}, channels);
      const DeviceBoxes<float> boxes(call, BoxForm::kIndexed);
      const auto output = Tangent(call, boxes);
      const auto grad = TangentGrad(call, boxes);
      for (const ThreadOrder order : kOrders) {
        ExpectSameBits(Tangent(call, boxes, order), output);
        const auto again = TangentGrad(call, boxes, order);
        for (size_t m = 0; m < grad.size(); ++m) {
          ExpectSameBits(again[m], grad[m]);
        }
      }
    }
  }
}

// One map and one image, boxes that are added.
Call<float, float> Empty(const Params& params, int64_t channels, int64_t height,
                         int64_t width) {
  return RandomCall<float, float>(3, params, {1, channels, 0},
                                  {{height, width, 1, 1}});
}

void ExpectTangentIsCpu(Call<float, float> call) {
  std::mt19937 random(5);
  call.direction = RandomNumbers<float>(call.sizes.boxes * 5, &random);
  call.grad_output = RandomNumbers<float>(
      call.sizes.boxes * call.bins() * call.sizes.channels, &random);
  ExpectTangentIsCpu(call, DeviceBoxes<float>(call, BoxForm::kIndexed), call,
                     ThreadOrder::kShuffled);
}

// More bins on a pixel than a record keeps weights of, and more than a block
// has in hand.
TEST(CudaBoxTangentBoxes, LargeOutputs) {
  for (const Layout layout : {Layout::kNHWC, Layout::kNCHW}) {
    auto call = Empty({{70, 131}, 2, false, layout}, 3, 7, 9);
    AddBox({0, 1, 1, 6, 5}, &call);
    AddBox({0, -300, 3, 400, 2}, &call);
    ExpectTangentIsCpu(call);
  }
}

// Boxes that span more pixels than the lists in shared memory hold.
TEST(CudaBoxTangentBoxes, LargerThanTheLists) {
  for (const Layout layout : {Layout::kNHWC, Layout::kNCHW}) {
    for (const bool wide : {false, true}) {
      for (const int ratio : {-1, 900}) {
        const int64_t height = wide ? 2 : 2500, width = wide ? 2500 : 2;
        auto call = Empty({{2, 3}, ratio, true, layout}, 4, height, width);
        AddBox({0, -3, -2, double(width) + 2, double(height)}, &call);
        AddBox({0, double(width) * 3, 1, -700, 1.5}, &call);
        ExpectTangentIsCpu(call);
      }
    }
  }
}

// More boxes than a block looks at in one round, and more to add to a pixel
// than its list holds.
TEST(CudaBoxTangentBoxes, ManyOnOnePixel) {
  for (const Layout layout : {Layout::kNHWC, Layout::kNCHW}) {
    auto call = Empty({{7, 7}, -1, true, layout}, 4, 10, 11);
    std::mt19937 random(5);
    std::uniform_real_distribution<double> unit(0, 1);
    for (int k = 0; k < cuda::kBlockThreads + 12; ++k) {
      const double x = 4 + unit(random), y = 4 + unit(random);
      AddBox({0, x, y, x + unit(random), y + unit(random)}, &call);
    }
    std::mt19937 more(6);
    call.direction = RandomNumbers<float>(call.sizes.boxes * 5, &more);
    call.grad_output = RandomNumbers<float>(
        call.sizes.boxes * call.bins() * call.sizes.channels, &more);
    const DeviceBoxes<float> boxes(call, BoxForm::kIndexed);
    ExpectTangentsNear(Tangent(call, boxes),
                       BoxTangent(call, CurrentSimdLevel()), 4);
    // All weights of a box on a pixel add up to about 49.
    ExpectTangentsNear(TangentGrad(call, boxes)[0],
                       BoxTangentGrad(call, CurrentSimdLevel())[0],
                       49.0 * double(call.sizes.boxes));
  }
}

TEST(CudaBoxTangentBoxes, None) {
  for (const Layout layout : {Layout::kNHWC, Layout::kNCHW}) {
    const auto call = Empty({{2, 2}, 2, true, layout}, 3, 5, 6);
    const DeviceBoxes<float> boxes(call, BoxForm::kIndexed);
    EXPECT_TRUE(Tangent(call, boxes).empty());
    const auto grad = TangentGrad(call, boxes);
    for (const float value : grad[0]) ASSERT_EQ(value, 0);
  }
}

// What is not finite touches what it touches on CPU.
TEST(CudaBoxTangentFeatures, InfinityTouchesWhatItTouchesOnCpu) {
  for (const Layout layout : {Layout::kNHWC, Layout::kNCHW}) {
    for (const int ratio : {-1, 2}) {
      auto call = CallOnMaps<float, float>(2, {{3, 5}, ratio, true, layout}, 4);
      std::mt19937 random(5);
      for (std::vector<float>& features : call.features) {
        for (float& value : features) {
          if (random() % 40 == 0) value = INFINITY;
        }
      }
      for (float& value : call.grad_output) {
        if (random() % 400 == 0) value = INFINITY;
      }
      const DeviceBoxes<float> boxes(call, BoxForm::kIndexed);
      const auto got = Tangent(call, boxes);
      const auto expected = BoxTangent(call, CurrentSimdLevel());
      for (size_t i = 0; i < got.size(); ++i) {
        ASSERT_EQ(std::isfinite(got[i]), std::isfinite(expected[i])) << i;
      }
      const auto grad = TangentGrad(call, boxes);
      const auto expected_grad = BoxTangentGrad(call, CurrentSimdLevel());
      for (size_t m = 0; m < grad.size(); ++m) {
        for (size_t i = 0; i < grad[m].size(); ++i) {
          ASSERT_EQ(std::isfinite(grad[m][i]),
                    std::isfinite(expected_grad[m][i]))
              << i;
        }
      }
    }
  }
}

TEST(CudaBoxTangentMemory, LackOfScratchIsSaid) {
  auto call = CallOnMaps<float, float>(2, {{3, 5}, 2, true}, 4);
  TestDevice device(ThreadOrder::kAscending);
  device.out_of_memory = true;
  const DeviceBoxes<float> boxes(call, BoxForm::kIndexed);
  const auto maps = MapsOf<float>(call.maps, &call.features);
  const Status status = cuda::BoxTangentGrad<float, float>(
      device, call.params, call.sizes, boxes.boxes(), boxes.direction(),
      call.grad_output.data(), {maps.data(), static_cast<int>(maps.size())});
  EXPECT_EQ(status.code(), ErrorCode::kResourceExhausted);
  EXPECT_EQ(status.text().find("There is not enough GPU memory"), 0u);
  EXPECT_EQ(device.launches, 0);
}

}  // namespace
}  // namespace tf_roialign
