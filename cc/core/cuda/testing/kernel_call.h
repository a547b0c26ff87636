// A call of the CUDA kernels with its data, run on a TestDevice and held
// against the CPU kernels.

#ifndef TF_ROIALIGN_CC_CORE_CUDA_TESTING_KERNEL_CALL_H_
#define TF_ROIALIGN_CC_CORE_CUDA_TESTING_KERNEL_CALL_H_

#include <cmath>
#include <cstdint>
#include <optional>
#include <random>
#include <type_traits>
#include <vector>

#include "cc/core/cpu/roi_align_cpu.h"
#include "cc/core/cuda/testing/test_device.h"
#include "cc/core/testing/any_dtype.h"
#include "cc/core/testing/expect.h"
#include "gtest/gtest.h"

namespace tf_roialign {

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
struct KernelCall {
  Params params;
  Sizes sizes;
  int64_t height = 0;
  int64_t width = 0;
  Scale scale;
  BoxForm form = BoxForm::kIndexed;
  std::vector<B> rows;
  std::vector<double> column;
  // Boxes from there on have no meaning, and only the device is told.
  std::optional<int32_t> count_on_device;
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
    return k < count_on_device.value_or(sizes.boxes) && column[k] >= 0 &&
           column[k] < double(sizes.batch);
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
KernelCall<T, B> MakeCall(int seed, Layout layout, bool aligned, int ratio,
                          int64_t channels) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<double> unit(0, 1);
  KernelCall<T, B> call;
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
  explicit BoxInputs(const KernelCall<T, B>& call, bool wide_indices = false) {
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
    if (call.count_on_device) boxes.count_on_device = &*call.count_on_device;
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

  explicit CpuInputs(const KernelCall<T, B>& call) : rows(call.rows) {
    for (int64_t k = 0; k < call.sizes.boxes; ++k) {
      if (!call.HasImage(k)) rows[k * 4] = static_cast<B>(NAN);
      image.push_back(call.HasImage(k) ? int64_t(call.column[k]) : 0);
    }
    boxes = {BoxForm::kSeparate, rows.data(),  4,
             call.sizes.boxes,   image.data(), /*64 bit=*/true};
  }
};

template <typename T, typename B>
std::vector<T> Forward(const KernelCall<T, B>& call, ThreadOrder order,
                       bool wide_indices = false) {
  TestDevice device(order);
  const BoxInputs<B> inputs(call, wide_indices);
  std::vector<T> output(call.grad_output.size(), FromDouble<T>(77));
  ExpectOk(cuda::Forward<T, B>(device, call.params, call.sizes, inputs.boxes,
                               call.map(), output.data()));
  return output;
}

template <typename T, typename B>
std::vector<T> FeatureGrad(const KernelCall<T, B>& call, ThreadOrder order,
                           bool wide_indices = false) {
  TestDevice device(order);
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
std::vector<B> BoxGrad(const KernelCall<T, B>& call, ThreadOrder order,
                       bool wide_indices = false) {
  TestDevice device(order);
  const BoxInputs<B> inputs(call, wide_indices);
  std::vector<B> grad(inputs.rows.size(), B(77));
  ExpectOk(cuda::BoxGrad<T, B>(device, call.params, call.sizes, inputs.boxes,
                               call.map(), call.grad_output.data(),
                               grad.data()));
  return grad;
}

// NaN in the same places, else near.
inline void ExpectNear(double got, double expected, double tolerance,
                       int64_t at) {
  if (std::isnan(expected)) {
    ASSERT_TRUE(std::isnan(got)) << "at " << at << " got " << got;
  } else {
    ASSERT_NEAR(got, expected, tolerance) << "at " << at;
  }
}

template <typename T, typename B>
std::vector<T> ForwardOnCpu(const KernelCall<T, B>& call) {
  const CpuInputs<T, B> cpu(call);
  std::vector<T> output(call.grad_output.size());
  ExpectOk(RoiAlignForward(CpuContext{Serial}, call.params, call.sizes,
                           cpu.boxes, FeatureMaps<const T>(call.map()),
                           output.data()));
  return output;
}

template <typename T, typename B>
std::vector<T> FeatureGradOnCpu(const KernelCall<T, B>& call,
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
void ExpectForwardIsCpu(const KernelCall<T, B>& call,
                        const std::vector<T>& got) {
  const std::vector<T> expected = ForwardOnCpu(call);
  for (size_t i = 0; i < expected.size(); ++i) {
    ExpectNear(ToDouble(got[i]), ToDouble(expected[i]), CudaTolerance<T>(), i);
    if (testing::Test::HasFatalFailure()) return;
  }
}

template <typename T, typename B>
void ExpectFeatureGradIsCpu(const KernelCall<T, B>& call,
                            const std::vector<T>& got) {
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
void ExpectBoxGradIsCpu(const KernelCall<T, B>& call,
                        const std::vector<B>& got) {
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

inline constexpr Mode kModes[] = {Mode::kAvg, Mode::kMax};

template <typename T, typename B>
void ExpectAllIsCpu(const KernelCall<T, B>& call,
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
void ExpectModesAreCpu(KernelCall<T, B> call,
                       ThreadOrder order = ThreadOrder::kAscending,
                       bool wide_indices = false) {
  for (const Mode mode : kModes) {
    call.params.mode = mode;
    ExpectAllIsCpu(call, order, wide_indices);
  }
}

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CUDA_TESTING_KERNEL_CALL_H_
