// The CUDA kernels of the forward on codes against the CPU's, without a GPU.

#include <cstdint>
#include <tuple>
#include <vector>

#include "cc/core/cpu/roi_align_cpu.h"
#include "cc/core/cuda/testing/device_call.h"
#include "cc/core/cuda/testing/quantized_call.h"
#include "cc/core/cuda/testing/test_device.h"
#include "cc/core/testing/expect.h"
#include "gtest/gtest.h"

namespace tf_roialign {
namespace {

class CudaQuantized
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
      const int32_t zero_point = ZeroPoint<T>(aligned);
      const std::vector<T> got = CodesOnDevice(
          call, DeviceBoxes<B>(call, form, aligned), 0.3f, zero_point);
      const std::vector<T> expected =
          ForwardQuantized(on_cpu, 0.3f, zero_point, CurrentSimdLevel());
      ExpectCodesNear(got, expected);
    }
  }
};

TEST_P(CudaQuantized, Int8) { ExpectAllFormsAreCpu<int8_t, float>(); }
TEST_P(CudaQuantized, UInt8) { ExpectAllFormsAreCpu<uint8_t, double>(); }
TEST_P(CudaQuantized, Int32) { ExpectAllFormsAreCpu<int32_t, float>(); }

std::string ParamName(
    const testing::TestParamInfo<CudaQuantized::ParamType>& info) {
  const auto [layout, aligned, ratio, channels] = info.param;
  return NameOfParams(layout, aligned, ratio, channels);
}

#if defined(__SANITIZE_ADDRESS__) || defined(TF_ROIALIGN_TEST_DEVICE_CODE)
// Ten times as slow: what takes another path, and no more. Device code has
// derived_paths_test.cc.
const auto kAligned = testing::Values(true);
const auto kRatios = testing::Values(-1, 2);
const auto kChannels = testing::Values(16);
#else
const auto kAligned = testing::Bool();
const auto kRatios = testing::Values(-1, 1, 2, 3);
const auto kChannels = testing::Values(1, 16, 260);
#endif

INSTANTIATE_TEST_SUITE_P(
    , CudaQuantized,
    testing::Combine(testing::Values(Layout::kNHWC, Layout::kNCHW), kAligned,
                     kRatios, testing::Values(5)),
    ParamName);

INSTANTIATE_TEST_SUITE_P(
    Channels, CudaQuantized,
    testing::Combine(testing::Values(Layout::kNHWC, Layout::kNCHW),
                     testing::Values(true), testing::Values(-1), kChannels),
    ParamName);

// Where the bits of an accumulator hold all sums, the codes are the CPU's.
template <typename T>
void ExpectSameCodes() {
  for (const Layout layout : {Layout::kNHWC, Layout::kNCHW}) {
    for (const int64_t channels : {3, 8}) {
      Call<T, float> call = RandomCall<T, float>(
          4, {{2, 4}, 2, true, layout}, {2, channels, 0}, {{9, 13, 0.5, 0.5}});
      for (int64_t k = 0; k < 40; ++k) {
        const double x = double(k % 9) * 2 - 3, y = double(k % 5) * 3 - 4;
        AddBox({double(k % 2), x, y, x + double(k % 7) * 4, y + double(k % 6)},
               &call);
      }
      call.grad_output.resize(40 * call.bins() * channels);
      for (const float scale : {0.5f, 0.3f, 1e-38f, 3e38f}) {
        for (const bool high : {false, true}) {
          const int32_t zero_point = ZeroPoint<T>(high);
          ExpectSameBits(
              CodesOnDevice(call, DeviceBoxes<float>(call, BoxForm::kIndexed),
                            scale, zero_point, ThreadOrder::kShuffled),
              ForwardQuantized(call, scale, zero_point, CurrentSimdLevel()));
        }
      }
    }
  }
}

TEST(CudaCodes, AreTheCpusWhereSumsAreExact) {
  ExpectSameCodes<int8_t>();
  ExpectSameCodes<uint8_t>();
  ExpectSameCodes<int32_t>();
}

// Half way between two codes: to the even one, before the zero point.
TEST(CudaCodes, HalvesAreOfValueByScale) {
  const Params params = {{1, 1}, 1, false, Layout::kNHWC};
  const auto mean = [&](int a, int b, int zero_point) {
    constexpr int64_t kChannels = 4;
    Call<int8_t, float> call =
        RandomCall<int8_t, float>(1, params, {1, kChannels, 1}, {{1, 2, 1, 1}});
    call.rows = {0, 0, -0.5f, 1, 1.5f};
    call.features[0].assign(kChannels, static_cast<int8_t>(a));
    call.features[0].resize(2 * kChannels, static_cast<int8_t>(b));
    const std::vector<int8_t> output = CodesOnDevice(
        call, DeviceBoxes<float>(call, BoxForm::kIndexed), 1.0f, zero_point);
    for (const int8_t code : output) EXPECT_EQ(code, output[0]);
    return int(output[0]);
  };
  EXPECT_EQ(mean(0, 1, 0), 0);
  EXPECT_EQ(mean(1, 2, 0), 2);
  EXPECT_EQ(mean(2, 3, 0), 2);
  EXPECT_EQ(mean(-1, -2, 0), -2);
  EXPECT_EQ(mean(0, 1, 1), 1);
  EXPECT_EQ(mean(10, 11, 1), 11);
  EXPECT_EQ(mean(-1, -2, -1), -1);
  EXPECT_EQ(mean(-127, -128, 127), -127);
  EXPECT_EQ(mean(127, 127, 0), 127);
  EXPECT_EQ(mean(-128, -128, 0), -128);
}

// Boxes that span more pixels than the lists hold, and more bins than a block
// has in hand.
TEST(CudaCodes, LargeBoxesAndOutputs) {
  for (const Layout layout : {Layout::kNHWC, Layout::kNCHW}) {
    for (const bool wide : {false, true}) {
      const int64_t height = wide ? 2 : 2500, width = wide ? 2500 : 2;
      for (const OutputSize& pooled : {OutputSize{2, 3}, OutputSize{3, 131}}) {
        Call<int32_t, float> call = RandomCall<int32_t, float>(
            2, {pooled, -1, true, layout}, {1, 4, 0}, {{height, width, 1, 1}});
        AddBox({0, -3, -2, double(width) + 2, double(height)}, &call);
        AddBox({0, double(width) * 3, 1, -700, 1.5}, &call);
        call.grad_output.resize(call.sizes.boxes * call.bins() * 4);
        const auto got = CodesOnDevice(
            call, DeviceBoxes<float>(call, BoxForm::kIndexed), 1.0f, 9);
        const auto expected =
            ForwardQuantized(call, 1.0f, 9, CurrentSimdLevel());
        for (size_t i = 0; i < got.size(); ++i) {
          ASSERT_NEAR(double(got[i]), double(expected[i]), 1) << i;
        }
      }
    }
  }
}

TEST(CudaCodes, NoBoxes) {
  const Call<uint8_t, float> call = RandomCall<uint8_t, float>(
      2, {{2, 2}, 2, true}, {1, 4, 0}, {{5, 6, 1, 1}});
  EXPECT_TRUE(
      CodesOnDevice(call, DeviceBoxes<float>(call, BoxForm::kIndexed), 1.0f, 9)
          .empty());
}

}  // namespace
}  // namespace tf_roialign
