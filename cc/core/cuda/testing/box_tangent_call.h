// The box tangent and its transpose on a TestDevice, held against the CPU's.

#ifndef TF_ROIALIGN_CC_CORE_CUDA_TESTING_BOX_TANGENT_CALL_H_
#define TF_ROIALIGN_CC_CORE_CUDA_TESTING_BOX_TANGENT_CALL_H_

#include <cmath>
#include <type_traits>
#include <vector>

#include "cc/core/cuda/testing/device_call.h"
#include "cc/core/cuda/testing/test_device.h"
#include "cc/core/testing/any_dtype.h"
#include "cc/core/testing/cpu_call.h"
#include "cc/core/testing/expect.h"
#include "gtest/gtest.h"

namespace tf_roialign {

template <typename T, typename B>
std::vector<T> Tangent(const Call<T, B>& call, const DeviceBoxes<B>& boxes,
                       ThreadOrder order = ThreadOrder::kAscending) {
  TestDevice device(order);
  const auto maps = MapsOf<const T>(call.maps, &call.features);
  std::vector<T> output(call.grad_output.size(), FromDouble<T>(77));
  ExpectOk(cuda::BoxTangent<T, B>(
      device, call.params, call.sizes, boxes.boxes(), boxes.direction(),
      {maps.data(), static_cast<int>(maps.size())}, output.data()));
  return output;
}

// Of each map. Not zero before: every element has to be written.
template <typename T, typename B>
std::vector<std::vector<T>> TangentGrad(
    const Call<T, B>& call, const DeviceBoxes<B>& boxes,
    ThreadOrder order = ThreadOrder::kAscending) {
  TestDevice device(order);
  std::vector<std::vector<T>> grad;
  for (const std::vector<T>& features : call.features) {
    grad.emplace_back(features.size(), FromDouble<T>(77));
  }
  const auto maps = MapsOf<T>(call.maps, &grad);
  ExpectOk(cuda::BoxTangentGrad<T, B>(
      device, call.params, call.sizes, boxes.boxes(), boxes.direction(),
      call.grad_output.data(), {maps.data(), static_cast<int>(maps.size())}));
  return grad;
}

// Sums of `terms` terms of about 1 in accumulators; then rounded to T.
template <typename T>
void ExpectTangentsNear(const std::vector<T>& got,
                        const std::vector<T>& expected, double terms) {
  const double sum =
      terms * (std::is_same_v<Accumulator<T>, double> ? 1e-14 : 2e-6);
  const double rounding = std::is_same_v<T, Half>       ? 1e-3
                          : std::is_same_v<T, BFloat16> ? 8e-3
                                                        : 0;
  ASSERT_EQ(got.size(), expected.size());
  for (size_t i = 0; i < got.size(); ++i) {
    const double a = ToDouble(got[i]), b = ToDouble(expected[i]);
    if (std::isfinite(b)) {
      ASSERT_NEAR(a, b, sum + rounding * std::abs(b)) << "at " << i;
    } else {
      ASSERT_EQ(std::isnan(a), std::isnan(b)) << "at " << i;
    }
  }
}

template <typename T, typename B>
void ExpectTangentIsCpu(const Call<T, B>& call, const DeviceBoxes<B>& boxes,
                        const Call<T, B>& on_cpu,
                        ThreadOrder order = ThreadOrder::kAscending) {
  ExpectTangentsNear(Tangent(call, boxes, order),
                     BoxTangent(on_cpu, CurrentSimdLevel()), 4);
  const auto grad = TangentGrad(call, boxes, order);
  const auto expected = BoxTangentGrad(on_cpu, CurrentSimdLevel());
  for (size_t m = 0; m < grad.size(); ++m) {
    ExpectTangentsNear(grad[m], expected[m], 60);
  }
}

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CUDA_TESTING_BOX_TANGENT_CALL_H_
