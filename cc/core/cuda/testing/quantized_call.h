// The forward on codes on a TestDevice, held against the CPU's.

#ifndef TF_ROIALIGN_CC_CORE_CUDA_TESTING_QUANTIZED_CALL_H_
#define TF_ROIALIGN_CC_CORE_CUDA_TESTING_QUANTIZED_CALL_H_

#include <cstdint>
#include <cstdlib>
#include <limits>
#include <vector>

#include "cc/core/cuda/testing/device_call.h"
#include "cc/core/cuda/testing/test_device.h"
#include "cc/core/testing/cpu_call.h"
#include "cc/core/testing/expect.h"
#include "gtest/gtest.h"

namespace tf_roialign {

template <typename T, typename B>
std::vector<T> CodesOnDevice(const Call<T, B>& call,
                             const DeviceBoxes<B>& boxes, float scale,
                             int32_t zero_point,
                             ThreadOrder order = ThreadOrder::kAscending) {
  TestDevice device(order);
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

// A value that lies within rounding of a half may go to either side.
template <typename T>
void ExpectCodesNear(const std::vector<T>& got,
                     const std::vector<T>& expected) {
  ASSERT_EQ(got.size(), expected.size());
  int64_t others = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    const int64_t difference = int64_t(got[i]) - int64_t(expected[i]);
    ASSERT_LE(std::abs(difference), 1) << "at " << i;
    others += difference != 0;
  }
  // All of the values may lie near a half where few weights are in use.
  EXPECT_LE(others, int64_t(got.size() / 200 + 3));
}

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CUDA_TESTING_QUANTIZED_CALL_H_
