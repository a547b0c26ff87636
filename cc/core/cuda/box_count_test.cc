// Numbers of boxes that only the device knows: every kernel gives what it gives
// to so many boxes.

#include <cmath>
#include <cstdint>
#include <numeric>
#include <vector>

#include "cc/core/cuda/testing/device_call.h"
#include "cc/core/cuda/testing/test_device.h"
#include "cc/core/testing/expect.h"
#include "gtest/gtest.h"

namespace tf_roialign {
namespace {

// What all kernels make of a call. `count`: null, or the number of boxes.
struct Results {
  // A row for each box.
  std::vector<float> forward, tangent, box_grad;
  std::vector<int8_t> codes;
  std::vector<std::vector<float>> feature_grad, tangent_grad;
};

Results RunAll(const Call<float, float>& call, const Call<int8_t, float>& codes,
               BoxForm form, const int32_t* count) {
  Results results;
  TestDevice device(ThreadOrder::kShuffled);
  DeviceBoxes<float> device_boxes(call, form);
  device_boxes.SetCountOnDevice(count);
  const Boxes<float>& boxes = device_boxes.boxes();
  const float* direction = device_boxes.direction();
  const auto maps = MapsOf<const float>(call.maps, &call.features);
  const auto code_maps = MapsOf<const int8_t>(call.maps, &codes.features);
  const FeatureMaps<const float> features(maps.data(), int(maps.size()));
  results.feature_grad = results.tangent_grad = call.features;
  const auto grad = MapsOf<float>(call.maps, &results.feature_grad);
  const auto tangent_grad = MapsOf<float>(call.maps, &results.tangent_grad);
  results.forward.assign(call.grad_output.size(), 77);
  results.tangent.assign(call.grad_output.size(), 77);
  results.codes.assign(call.grad_output.size(), 77);
  results.box_grad.assign(device_boxes.numbers(), 77);
  const float* upstream = call.grad_output.data();
  ExpectOk(cuda::Forward(device, call.params, call.sizes, boxes, features,
                         results.forward.data()));
  ExpectOk(cuda::BoxGrad(device, call.params, call.sizes, boxes, features,
                         upstream, results.box_grad.data()));
  const FeatureMaps<float> to(grad.data(), int(grad.size()));
  if (call.params.mode == Mode::kMax) {
    ExpectOk(cuda::MaxFeatureGrad(device, call.params, call.sizes, boxes,
                                  features, upstream, to));
    return results;
  }
  ExpectOk(
      cuda::FeatureGrad(device, call.params, call.sizes, boxes, upstream, to));
  ExpectOk(cuda::BoxTangent(device, call.params, call.sizes, boxes, direction,
                            features, results.tangent.data()));
  ExpectOk(cuda::BoxTangentGrad(
      device, call.params, call.sizes, boxes, direction, upstream,
      FeatureMaps<float>(tangent_grad.data(), int(grad.size()))));
  ExpectOk(cuda::ForwardQuantized(
      device, call.params, call.sizes, boxes, 0.5f, 3,
      FeatureMaps<const int8_t>(code_maps.data(), int(code_maps.size())),
      results.codes.data()));
  return results;
}

template <typename Number>
void ExpectBegins(const std::vector<Number>& all,
                  const std::vector<Number>& begin) {
  ASSERT_LE(begin.size(), all.size());
  ExpectSameBits(std::vector<Number>(all.begin(), all.begin() + begin.size()),
                 begin);
}

#if defined(__SANITIZE_ADDRESS__)
const BoxForm kForms[] = {BoxForm::kIndexed};
#else
const BoxForm kForms[] = {BoxForm::kIndexed, BoxForm::kSeparate};
#endif

class CudaBoxCount : public testing::TestWithParam<std::tuple<Layout, Mode>> {};

TEST_P(CudaBoxCount, IsReadOnTheDevice) {
  const auto [layout, mode] = GetParam();
  Params params = {{3, 5}, -1, true, layout};
  params.mode = mode;
  auto call = CallOnMaps<float, float>(3, params, 8);
  const auto codes = CallOnMaps<int8_t, float>(3, params, 8);
  // Also that nobody reads a map or an image of rubbish.
  call.rows[29 * 5] = 1e30f;
  call.map_indices[28] = -123456789;
  for (const int32_t count : {0, 19, 1000}) {
    for (const BoxForm form : kForms) {
      const int64_t there = std::min<int64_t>(count, call.sizes.boxes);
      std::vector<int64_t> first(there);
      std::iota(first.begin(), first.end(), 0);
      const Results expected =
          RunAll(Only(call, first), Only(codes, first), form, nullptr);
      const std::vector<int32_t> on_device = {count};
      const Results got = RunAll(call, codes, form, on_device.data());
      ExpectBegins(got.forward, expected.forward);
      ExpectBegins(got.tangent, expected.tangent);
      ExpectBegins(got.box_grad, expected.box_grad);
      ExpectBegins(got.codes, expected.codes);
      for (size_t m = 0; m < got.feature_grad.size(); ++m) {
        ExpectSameBits(got.feature_grad[m], expected.feature_grad[m]);
        ExpectSameBits(got.tangent_grad[m], expected.tangent_grad[m]);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    , CudaBoxCount,
    testing::Combine(testing::Values(Layout::kNHWC, Layout::kNCHW),
                     testing::Values(Mode::kAvg, Mode::kMax)));

}  // namespace
}  // namespace tf_roialign
