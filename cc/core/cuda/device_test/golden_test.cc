// The kernels' device code gives what torchvision gives: the cases of
// tests/golden, in both layouts, and as 16-bit features too.

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <map>
#include <string>
#include <type_traits>
#include <vector>

#include "cc/core/cuda/device_test/arrays.h"
#include "cc/core/cuda/device_test/options.h"
#include "cc/core/cuda/testing/kernel_call.h"
#include "gtest/gtest.h"

namespace tf_roialign {
namespace {

// [N, C, H, W] to [N, H, W, C], or as it is.
template <typename T>
std::vector<T> InLayout(const Array& array, Layout layout) {
  const std::vector<double> values = array.Values<double>();
  const int64_t n = array.shape[0], c = array.shape[1];
  const int64_t pixels = array.shape[2] * array.shape[3];
  std::vector<T> result(values.size());
  int64_t from = 0;
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < c; ++j) {
      for (int64_t k = 0; k < pixels; ++k, ++from) {
        const int64_t to =
            layout == Layout::kNCHW ? from : (i * pixels + k) * c + j;
        result[to] = FromDouble<T>(values[from]);
      }
    }
  }
  return result;
}

template <typename T>
void ExpectAll(const std::vector<T>& got, const std::vector<double>& expected,
               double tolerance) {
  ASSERT_EQ(got.size(), expected.size());
  for (size_t i = 0; i < got.size(); ++i) {
    ASSERT_NEAR(ToDouble(got[i]), expected[i], tolerance) << "at " << i;
  }
}

// Relative to the largest value, as the case's dtype and T round.
template <typename T>
double GoldenTolerance(bool exact) {
  if (std::is_same_v<T, Half>) return 2e-3;
  if (std::is_same_v<T, BFloat16>) return 1.6e-2;
  return exact && std::is_same_v<T, double> ? 1e-10 : 2e-5;
}

// B: the dtype of the case, so that samples are the same.
template <typename T, typename B>
void ExpectGolden(const std::map<std::string, Array>& arrays,
                  const std::string& name, int index, Layout layout) {
  const auto get = [&](const char* what) -> const Array& {
    return arrays.at(name + "/" + what);
  };
  const std::vector<double> params = arrays.at("params").Values<double>();
  const double* const row = &params[index * 6];
  const Array& input = get("input");
  const Array& rois = get("rois");
  const bool exact = std::is_same_v<B, double>;
  KernelCall<T, B> call;
  call.params.output_size = {int64_t(row[0]), int64_t(row[1])};
  call.params.sampling_ratio = int64_t(row[3]);
  call.params.aligned = row[4] != 0;
  call.params.data_format = layout;
  call.sizes = {input.shape[0], input.shape[1], 0};
  call.height = input.shape[2];
  call.width = input.shape[3];
  call.scale = {row[2], row[2]};
  const std::vector<double> boxes = rois.Values<double>();
  for (int64_t k = 0; k < rois.shape[0]; ++k) {
    const double* const box = &boxes[k * 5];
    call.AddBox(box[0], box[1], box[2], box[3], box[4]);
  }
  call.features = InLayout<T>(input, layout);
  call.grad_output = InLayout<T>(get("grad_output"), layout);

  const auto order = static_cast<ThreadOrder>(index % 3);
  const std::vector<double> output = InLayout<double>(get("output"), layout);
  double largest = 0;
  for (const double value : output)
    largest = std::fmax(largest, std::abs(value));
  const double tolerance = GoldenTolerance<T>(exact);
  ExpectAll(Forward(call, order), output, tolerance * largest);
  if (testing::Test::HasFatalFailure()) return;
  ExpectAll(FeatureGrad(call, order),
            InLayout<double>(get("grad_input"), layout),
            tolerance * std::fmax(row[5], 1e-30));
}

// An index past the last case is an error of the archive, not a case.
TEST(Golden, IsWhatTorchvisionGives) {
  const std::map<std::string, Array> arrays = ReadArrays(Options::Get().golden);
  const int64_t cases = arrays.at("params").shape[0];
  EXPECT_EQ(cases, 180);
  for (int index = 0; index < cases; ++index) {
    char name[8];
    std::snprintf(name, sizeof(name), "%03d", index);
    SCOPED_TRACE(name);
    const bool exact = arrays.at(std::string(name) + "/input").dtype == "<f8";
    for (const Layout layout : {Layout::kNHWC, Layout::kNCHW}) {
      if (exact) {
        ExpectGolden<double, double>(arrays, name, index, layout);
      } else {
        ExpectGolden<float, float>(arrays, name, index, layout);
        ExpectGolden<Half, float>(arrays, name, index, layout);
        ExpectGolden<BFloat16, float>(arrays, name, index, layout);
      }
      if (HasFailure()) return;
    }
  }
}

}  // namespace
}  // namespace tf_roialign
