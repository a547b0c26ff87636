// What tests of every path of a kernel run through.

#ifndef TF_ROIALIGN_CC_CORE_CUDA_DEVICE_TEST_PATHS_H_
#define TF_ROIALIGN_CC_CORE_CUDA_DEVICE_TEST_PATHS_H_

#include <cstdint>

#include "cc/core/call/params.h"
#include "cc/core/cuda/tuning.h"
#include "cc/core/dtypes/dtypes.h"
#include "gtest/gtest.h"

namespace tf_roialign {

template <typename T, typename B>
struct Dtypes {
  using Features = T;
  using Boxes = B;
};

using FloatDtypes =
    testing::Types<Dtypes<float, float>, Dtypes<float, double>,
                   Dtypes<double, float>, Dtypes<double, double>,
                   Dtypes<Half, float>, Dtypes<Half, double>,
                   Dtypes<BFloat16, float>, Dtypes<BFloat16, double>>;
using CodeDtypes =
    testing::Types<Dtypes<int8_t, float>, Dtypes<int8_t, double>,
                   Dtypes<uint8_t, float>, Dtypes<uint8_t, double>,
                   Dtypes<int32_t, float>, Dtypes<int32_t, double>>;

#define TF_ROIALIGN_DTYPES_OF_TEST        \
  using T = typename TypeParam::Features; \
  using B = typename TypeParam::Boxes

// test(layout, channels): loaded several at a time where the layout lets them,
// and one by one.
template <typename Test>
void ForEachLayout(const Test& test) {
  for (const Layout layout : {Layout::kNHWC, Layout::kNCHW}) {
    for (const int64_t channels : {int64_t(16), int64_t(3)}) {
      SCOPED_TRACE(testing::Message()
                   << (layout == Layout::kNHWC ? "NHWC" : "NCHW") << ", "
                   << channels << " channels");
      test(layout, channels);
      if (testing::Test::HasFailure()) return;
    }
  }
}

// Launches of few blocks each, and blocks that take several slices of the
// channels: what takes very many blocks otherwise.
class FewBlocks {
 public:
  FewBlocks() { cuda::block_limits() = {/*enough=*/1, /*most=*/5}; }
  ~FewBlocks() { cuda::block_limits() = {}; }
};

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CUDA_DEVICE_TEST_PATHS_H_
