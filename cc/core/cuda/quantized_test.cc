// The CUDA kernels of the forward on codes, run by the emulation, against the
// CPU's. Needs neither a GPU nor nvcc.

#include <cstdint>
#include <cstdlib>
#include <limits>
#include <tuple>
#include <vector>

#include "cc/core/cpu/roi_align_cpu.h"
#include "cc/core/cuda/launch/forward_quantized.h"
#include "cc/core/cuda/testing/block_emulator.h"
#include "cc/core/cuda/testing/device_call.h"
#include "cc/core/testing/expect.h"
#include "gtest/gtest.h"

namespace tf_roialign {
namespace {

template <typename T, typename B>
std::vector<T> OnGpu(const Call<T, B>& call, const DeviceBoxes<B>& boxes,
                     float scale, int32_t zero_point,
                     ThreadOrder order = ThreadOrder::kAscending) {
  EmulatedDevice device(order);
  const auto maps = MapsOf<const T>(call.maps, &call.features);
  std::vector<T> output(call.grad_output.size(), T(77));
  ExpectOk(cuda::ForwardQuantized<T, B>(
      device, call.params, call.sizes, boxes.boxes(), scale, zero_point,
      {maps.data(), static_cast<int>(maps.size())}, output.data()));
  return output;
}

// Of either half of the codes.
template <typename T>
int32_t ZeroPoint(bool high) {
  const double lowest = std::numeric_limits<T>::min();
  const double highest = std::numeric_limits<T>::max();
  return static_cast<int32_t>(lowest +
                              (high ? 0.78 : 0.21) * (highest - lowest));
}

class CudaQuantized
    : public testing::TestWithParam<std::tuple<Layout, bool, int, int64_t>> {
 protected:
  // A value that lies within rounding of a half may go to either side.
  template <typename T, typename B>
  void ExpectAllFormsAreCpu() const {
    const auto [layout, aligned, ratio, channels] = GetParam();
    for (const BoxForm form : kBoxForms) {
      Call<T, B> call =
          CallOnMaps<T, B>(11, {{3, 5}, ratio, aligned, layout}, channels);
      if (form == BoxForm::kDense) call = InOrderOfImages(call);
      const Call<T, B> on_cpu = AddBadIndices(form, &call);
      const int32_t zero_point = ZeroPoint<T>(aligned);
      const std::vector<T> got =
          OnGpu(call, DeviceBoxes<B>(call, form, aligned), 0.3f, zero_point);
      const std::vector<T> expected =
          ForwardQuantized(on_cpu, 0.3f, zero_point, CurrentSimdLevel());
      int64_t others = 0;
      for (size_t i = 0; i < got.size(); ++i) {
        const int64_t difference = int64_t(got[i]) - int64_t(expected[i]);
        ASSERT_LE(std::abs(difference), 1) << "at " << i;
        others += difference != 0;
      }
      // All of the values may lie near a half where few weights are in use.
      EXPECT_LE(others, int64_t(got.size() / 200 + 3));
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

#if defined(__SANITIZE_ADDRESS__)
// Ten times as slow: what takes another path, and no more.
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
              OnGpu(call, DeviceBoxes<float>(call, BoxForm::kIndexed), scale,
                    zero_point, ThreadOrder::kShuffled),
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
    const std::vector<int8_t> output = OnGpu(
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
        const auto got =
            OnGpu(call, DeviceBoxes<float>(call, BoxForm::kIndexed), 1.0f, 9);
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
  EXPECT_TRUE(OnGpu(call, DeviceBoxes<float>(call, BoxForm::kIndexed), 1.0f, 9)
                  .empty());
}

}  // namespace
}  // namespace tf_roialign
