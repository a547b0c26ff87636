// The CUDA kernels, compiled for the host and run by an emulation of blocks and
// threads, against the CPU kernels. Needs neither a GPU nor nvcc.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include "cc/core/cpu/axis_taps.h"
#include "cc/core/cpu/roi_align_cpu.h"
#include "cc/core/cuda/kernels/divisor.h"
#include "cc/core/cuda/launch/box_grad.h"
#include "cc/core/cuda/launch/feature_grad.h"
#include "cc/core/cuda/launch/forward.h"
#include "cc/core/cuda/launch/max_feature_grad.h"
#include "cc/core/cuda/testing/block_emulator.h"
#include "cc/core/testing/any_dtype.h"
#include "gtest/gtest.h"

namespace tf_roialign {
namespace {

// Of values of about 1: what sums and weights round in one order and another.
template <typename T>
double CudaTolerance() {
  if constexpr (std::is_same_v<T, Half>) return 2e-3;
  if constexpr (std::is_same_v<T, BFloat16>) return 1.6e-2;
  if constexpr (std::is_same_v<T, float>) return 4e-6;
  return 2e-14;
}

// One call's sizes and data. `column`: what the GPU is given as images, which
// may be wrong; `rows` are [K, 4].
template <typename T, typename B>
struct Call {
  Params params;
  Sizes sizes;
  int64_t height = 0;
  int64_t width = 0;
  Scale scale;
  BoxForm form = BoxForm::kIndexed;
  std::vector<B> rows;
  std::vector<double> column;
  std::vector<T> features;
  std::vector<T> grad_output;

  int64_t BoxElements() const {
    return params.pooled_height() * params.pooled_width() * sizes.channels;
  }

  FeatureMap<const T> map() const {
    return {features.data(), height, width, scale.y, scale.x};
  }
  FeatureMap<T> map_of(std::vector<T>* grad) const {
    return {grad->data(), height, width, scale.y, scale.x};
  }

  bool HasImage(int64_t k) const {
    return column[k] >= 0 && column[k] < double(sizes.batch);
  }

  // Fills features and grad_output.
  void Draw(int seed) {
    std::mt19937 random(seed);
    std::uniform_real_distribution<double> value(-1, 1);
    features.resize(sizes.batch * height * width * sizes.channels);
    grad_output.resize(sizes.boxes * BoxElements());
    for (T& feature : features) feature = FromDouble<T>(value(random));
    for (T& grad : grad_output) grad = FromDouble<T>(value(random));
  }

  void AddBox(double image, double x1, double y1, double x2, double y2) {
    column.push_back(image);
    for (const double number : {x1, y1, x2, y2}) {
      rows.push_back(static_cast<B>(number));
    }
    ++sizes.boxes;
  }
};

// Boxes inside, on the border, outside, tiny, reversed, large, not finite, and
// of images that are not there.
template <typename T, typename B>
Call<T, B> MakeCall(int seed, Layout layout, bool aligned, int ratio,
                    int64_t channels) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<double> unit(0, 1);
  Call<T, B> call;
  call.params = {{3, 5}, ratio, aligned, layout};
  call.sizes = {2, channels, 0};
  call.height = 9;
  call.width = 13;
  call.scale = {0.5, 0.5};
  for (int64_t k = 0; k < 22; ++k) {
    const double x = unit(random) * 40 - 7, y = unit(random) * 30 - 6;
    const double side = k % 4 == 0 ? 1 : k % 4 == 1 ? 60 : 14;
    const double w = (unit(random) - (k % 5 == 0 ? 0.7 : 0)) * side;
    const double h = (unit(random) - (k % 7 == 0 ? 0.7 : 0)) * side;
    call.AddBox(double(random() % 2), x, y, x + w, y + h);
  }
  call.AddBox(0, NAN, 1, 9, 9);
  call.AddBox(1, 1, 1, INFINITY, 9);
  call.AddBox(2, 1, 1, 9, 9);
  call.AddBox(-1, 1, 1, 9, 9);
  call.AddBox(0, -1e9, -3e7, 1e9, 4e7);
  call.AddBox(1, 3e8, 20, -3e8, -20);
  call.AddBox(0, -0.7, -0.7, 0.3, 26.9);  // the rim of the map
  call.AddBox(1, 25.1, 17.2, 26.9, 18.8);
  call.AddBox(1, 8, 8, 8, 8);
  call.Draw(seed + 1);
  return call;
}

// The boxes in the form asked for, in memory that AddressSanitizer watches.
template <typename B>
struct BoxInputs {
  std::vector<B> rows;
  std::vector<int32_t> narrow;
  std::vector<int64_t> wide;
  Boxes<B> boxes;

  template <typename T>
  explicit BoxInputs(const Call<T, B>& call, bool wide_indices = false) {
    const int64_t count = call.sizes.boxes;
    boxes = {call.form, nullptr, call.form == BoxForm::kIndexed ? 5 : 4,
             count,     nullptr, wide_indices};
    for (int64_t k = 0; k < count; ++k) {
      if (call.form == BoxForm::kIndexed) {
        rows.push_back(static_cast<B>(call.column[k]));
      }
      rows.insert(rows.end(), &call.rows[k * 4], &call.rows[k * 4] + 4);
      if (call.form != BoxForm::kSeparate) continue;
      narrow.push_back(static_cast<int32_t>(call.column[k]));
      wide.push_back(static_cast<int64_t>(call.column[k]));
    }
    boxes.rows = rows.data();
    if (call.form == BoxForm::kSeparate) {
      boxes.box_indices = wide_indices ? static_cast<void*>(wide.data())
                                       : static_cast<void*>(narrow.data());
    }
  }
};

// The same on CPU, where a box of no image is given one and a NaN coordinate.
template <typename T, typename B>
struct CpuInputs {
  std::vector<B> rows;
  std::vector<int64_t> image;
  Boxes<B> boxes;

  explicit CpuInputs(const Call<T, B>& call) : rows(call.rows) {
    for (int64_t k = 0; k < call.sizes.boxes; ++k) {
      if (!call.HasImage(k)) rows[k * 4] = static_cast<B>(NAN);
      image.push_back(call.HasImage(k) ? int64_t(call.column[k]) : 0);
    }
    boxes = {BoxForm::kSeparate, rows.data(),  4,
             call.sizes.boxes,   image.data(), /*64 bit=*/true};
  }
};

void ExpectOk(const Status& status) {
  EXPECT_TRUE(status.ok()) << status.text();
}

const ThreadOrder kOrders[] = {
    ThreadOrder::kAscending, ThreadOrder::kDescending, ThreadOrder::kShuffled};
#if defined(__SANITIZE_ADDRESS__)
// Ten times as slow.
const ThreadOrder kMapsOrders[] = {ThreadOrder::kShuffled};
constexpr int kManyBoxes = cuda::kBlockThreads + 12;
#else
constexpr int kManyBoxes = 300;
const auto& kMapsOrders = kOrders;
#endif

template <typename T, typename B>
std::vector<T> Forward(const Call<T, B>& call, ThreadOrder order,
                       bool wide_indices = false) {
  EmulatedDevice device(order);
  const BoxInputs<B> inputs(call, wide_indices);
  std::vector<T> output(call.grad_output.size(), FromDouble<T>(77));
  ExpectOk(cuda::Forward<T, B>(device, call.params, call.sizes, inputs.boxes,
                               call.map(), output.data()));
  return output;
}

template <typename T, typename B>
std::vector<T> FeatureGrad(const Call<T, B>& call, ThreadOrder order,
                           bool wide_indices = false) {
  EmulatedDevice device(order);
  const BoxInputs<B> inputs(call, wide_indices);
  // Not zero before: every element has to be written.
  std::vector<T> grad(call.features.size(), FromDouble<T>(77));
  ExpectOk(call.params.mode == Mode::kMax
               ? cuda::MaxFeatureGrad<T, B>(
                     device, call.params, call.sizes, inputs.boxes, call.map(),
                     call.grad_output.data(), call.map_of(&grad))
               : cuda::FeatureGrad<T, B>(device, call.params, call.sizes,
                                         inputs.boxes, call.grad_output.data(),
                                         call.map_of(&grad)));
  return grad;
}

template <typename T, typename B>
std::vector<B> BoxGrad(const Call<T, B>& call, ThreadOrder order,
                       bool wide_indices = false) {
  EmulatedDevice device(order);
  const BoxInputs<B> inputs(call, wide_indices);
  std::vector<B> grad(inputs.rows.size(), B(77));
  ExpectOk(cuda::BoxGrad<T, B>(device, call.params, call.sizes, inputs.boxes,
                               call.map(), call.grad_output.data(),
                               grad.data()));
  return grad;
}

// NaN in the same places, else near.
void ExpectNear(double got, double expected, double tolerance, int64_t at) {
  if (std::isnan(expected)) {
    ASSERT_TRUE(std::isnan(got)) << "at " << at << " got " << got;
  } else {
    ASSERT_NEAR(got, expected, tolerance) << "at " << at;
  }
}

template <typename T, typename B>
std::vector<T> ForwardOnCpu(const Call<T, B>& call) {
  const CpuInputs<T, B> cpu(call);
  std::vector<T> output(call.grad_output.size());
  ExpectOk(RoiAlignForward(CpuContext{Serial}, call.params, call.sizes,
                           cpu.boxes, FeatureMaps<const T>(call.map()),
                           output.data()));
  return output;
}

template <typename T, typename B>
std::vector<T> FeatureGradOnCpu(const Call<T, B>& call,
                                const std::vector<T>& grad_output) {
  const CpuInputs<T, B> cpu(call);
  std::vector<T> grad(call.features.size());
  ExpectOk(call.params.mode == Mode::kMax
               ? RoiAlignMaxFeatureGrad(
                     CpuContext{Serial}, call.params, call.sizes, cpu.boxes,
                     FeatureMaps<const T>(call.map()), grad_output.data(),
                     FeatureMaps<T>(call.map_of(&grad)))
               : RoiAlignFeatureGrad(CpuContext{Serial}, call.params,
                                     call.sizes, cpu.boxes, grad_output.data(),
                                     FeatureMaps<T>(call.map_of(&grad))));
  return grad;
}

template <typename T, typename B>
void ExpectForwardIsCpu(const Call<T, B>& call, const std::vector<T>& got) {
  const std::vector<T> expected = ForwardOnCpu(call);
  for (size_t i = 0; i < expected.size(); ++i) {
    ExpectNear(ToDouble(got[i]), ToDouble(expected[i]), CudaTolerance<T>(), i);
    if (testing::Test::HasFatalFailure()) return;
  }
}

template <typename T, typename B>
void ExpectFeatureGradIsCpu(const Call<T, B>& call, const std::vector<T>& got) {
  const std::vector<T> expected = FeatureGradOnCpu(call, call.grad_output);
  // Weights are not negative: this sums the magnitudes of what is added.
  std::vector<T> magnitude = call.grad_output;
  for (T& value : magnitude) value = FromDouble<T>(std::abs(ToDouble(value)));
  const std::vector<T> scale = FeatureGradOnCpu(call, magnitude);
  for (size_t i = 0; i < expected.size(); ++i) {
    ExpectNear(ToDouble(got[i]), ToDouble(expected[i]),
               CudaTolerance<T>() * (1 + ToDouble(scale[i])), i);
    if (testing::Test::HasFatalFailure()) return;
  }
}

template <typename T, typename B>
void ExpectBoxGradIsCpu(const Call<T, B>& call, const std::vector<B>& got) {
  const CpuInputs<T, B> cpu(call);
  std::vector<B> expected(call.rows.size());
  ExpectOk(RoiAlignBoxGrad(CpuContext{Serial}, call.params, call.sizes,
                           cpu.boxes, FeatureMaps<const T>(call.map()),
                           call.grad_output.data(), expected.data()));
  const bool exact = std::is_same_v<T, double> && std::is_same_v<B, double>;
  const int64_t columns = call.form == BoxForm::kIndexed ? 5 : 4;
  for (int64_t k = 0; k < call.sizes.boxes; ++k) {
    double scale = 1;
    for (int i = 0; i < 4; ++i) {
      const double value = std::abs(double(expected[k * 4 + i]));
      if (value > scale) scale = value;
    }
    if (columns == 5) {
      ASSERT_EQ(got[k * 5], B(0));
    }
    for (int i = 0; i < 4; ++i) {
      ExpectNear(got[k * columns + columns - 4 + i], expected[k * 4 + i],
                 (exact ? 1e-12 : 1e-4) * scale, k * 4 + i);
      if (testing::Test::HasFatalFailure()) return;
    }
  }
}

constexpr Mode kModes[] = {Mode::kAvg, Mode::kMax};

template <typename T, typename B>
void ExpectAllIsCpu(const Call<T, B>& call,
                    ThreadOrder order = ThreadOrder::kAscending,
                    bool wide_indices = false) {
  SCOPED_TRACE(call.params.mode == Mode::kMax ? "max" : "avg");
  ExpectForwardIsCpu(call, Forward(call, order, wide_indices));
  if (testing::Test::HasFatalFailure()) return;
  ExpectFeatureGradIsCpu(call, FeatureGrad(call, order, wide_indices));
  if (testing::Test::HasFatalFailure()) return;
  ExpectBoxGradIsCpu(call, BoxGrad(call, order, wide_indices));
}

// In both modes.
template <typename T, typename B>
void ExpectModesAreCpu(Call<T, B> call,
                       ThreadOrder order = ThreadOrder::kAscending,
                       bool wide_indices = false) {
  for (const Mode mode : kModes) {
    call.params.mode = mode;
    ExpectAllIsCpu(call, order, wide_indices);
  }
}

class CudaKernels
    : public testing::TestWithParam<std::tuple<Layout, bool, int, int64_t>> {
 protected:
  template <typename T, typename B>
  Call<T, B> Make() const {
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

template <typename T>
void ExpectSameBits(const std::vector<T>& a, const std::vector<T>& b) {
  ASSERT_EQ(a.size(), b.size());
  EXPECT_EQ(std::memcmp(a.data(), b.data(), a.size() * sizeof(T)), 0);
}

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
    Call<Half, float> call;
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
  Call<float, float> call;
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
TEST(CudaBoxes, ManyOnOnePixel) {
  for (const Layout layout : {Layout::kNHWC, Layout::kNCHW}) {
    for (const int64_t batch : {1, 3}) {
      Call<float, float> call;
      call.params = {{7, 7}, -1, true, layout};
      call.sizes = {batch, 4, 0};
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
      ExpectModesAreCpu(call);
    }
  }
}

// Outputs larger than what a block has in hand.
TEST(CudaBoxes, LargeOutputs) {
  for (const Layout layout : {Layout::kNHWC, Layout::kNCHW}) {
    for (const int ratio : {-1, 2}) {
      Call<float, float> call;
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
        Call<float, float> call;
        call.params = {{2, 3}, ratio, true, layout};
        call.sizes = {1, 2, 0};
        call.height = wide ? 2 : 2500;
        call.width = wide ? 2500 : 2;
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
  EmulatedDevice device(ThreadOrder::kAscending);
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
  EmulatedDevice device(ThreadOrder::kAscending);
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
  Call<float, float> call;
  call.params = {{1, 1}, 2, true, Layout::kNHWC};
  call.sizes = {1, 1, 0};
  call.height = int64_t(1) << 31;
  call.width = 1;
  call.AddBox(0, 1, 1, 2, 2);
  EmulatedDevice device(ThreadOrder::kAscending);
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
    Call<T, B> call = call_;
    for (int64_t k = 0; k < call.sizes.boxes; ++k) {
      if (!all && map_indices_[k] != map) call.column[k] = -1;
    }
    return BoxInputs<B>(call);
  }

  Status Grad(EmulatedDevice& device, const BoxInputs<B>& inputs,
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
  Call<T, B> call_;
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
    EmulatedDevice device(order);
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
    EmulatedDevice device(ThreadOrder::kShuffled);
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
        const Tap<W> again = cuda::TapAgain<W>(corners, params.sampling_ratio,
                                               params.aligned, p, pixel);
        if (again.pixel < 0) continue;
        ++found;
        const auto* const end = view.pixel + view.begin[p + 1];
        const auto* const at =
            std::find(view.pixel + view.begin[p], end, pixel);
        ASSERT_NE(at, end);
        ASSERT_TRUE(HasBitsOf(again, view, at - view.pixel));
        if (i >= cuda::kKeptWeights) continue;
        ASSERT_EQ(record.touched >> i & 1, 1u);
        ASSERT_EQ(std::memcmp(&record.weight[i], &again.weight, sizeof(W)), 0);
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
  Call<W, B> call =
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

// Hence results differ by what sums round, also of double features with boxes
// of float, whose coordinates are coarse.
TEST(CudaSamples, AreMany) {
  for (const Layout layout : {Layout::kNHWC, Layout::kNCHW}) {
    for (const int ratio : {65, 1025, 5000}) {
      SCOPED_TRACE(ratio);
      ExpectAllIsCpu(MakeCall<double, float>(5, layout, true, ratio, 3));
      ExpectAllIsCpu(MakeCall<float, double>(5, layout, false, ratio, 3));
    }
  }
}

TEST(CudaDivisor, DividesExactly) {
  for (int d = 1; d <= 4096; ++d) {
    const cuda::Divisor divisor(d);
    const int64_t end = (int64_t(1) << 31) / d;
    for (int64_t multiple = 0; multiple <= end;
         multiple += end / 7 / d * d + d) {
      for (int64_t n = multiple - 1; n <= multiple + 1; ++n) {
        if (n < 0 || n >= end) continue;
        const int quotient = divisor.Quotient(static_cast<int>(n));
        ASSERT_EQ(quotient, n / d) << n << " / " << d;
        ASSERT_EQ(divisor.Remainder(static_cast<int>(n), quotient), n % d);
      }
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
