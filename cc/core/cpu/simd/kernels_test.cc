#include "cc/core/cpu/simd/kernels.h"

#include "cc/core/cpu/simd/level.h"
#include "cc/core/dtypes/dtypes.h"
#include "gtest/gtest.h"

namespace tf_roialign {
namespace {

template <typename T>
void ExpectKernels() {
  for (const SimdLevel level : UsableSimdLevels()) {
    SCOPED_TRACE(SimdLevelName(level));
    const CpuKernels<T>& kernels = GetCpuKernels<T>(level);
    EXPECT_NE(kernels.forward, nullptr);
    EXPECT_NE(kernels.channels_last, nullptr);
    EXPECT_NE(kernels.channels_first, nullptr);
    EXPECT_NE(kernels.stream_fence, nullptr);
    // Codes have no gradients.
    EXPECT_EQ(kernels.feature_grad == nullptr, kIsCode<T>);
    EXPECT_EQ(kernels.box_grad == nullptr, kIsCode<T>);
    EXPECT_EQ(kernels.pack == nullptr, kIsCode<T>);
  }
}

#define TF_ROIALIGN_TEST(T, ...) \
  TEST(EveryLevelHasKernels, T) { ExpectKernels<T>(); }
TF_ROIALIGN_FOR_EACH_FLOAT(TF_ROIALIGN_TEST)
TF_ROIALIGN_FOR_EACH_CODE(TF_ROIALIGN_TEST)
#undef TF_ROIALIGN_TEST

// A level of its own, not another's under its name.
template <typename T>
void ExpectOwnKernels() {
  for (const SimdLevel a : UsableSimdLevels()) {
    for (const SimdLevel b : UsableSimdLevels()) {
      EXPECT_EQ(GetCpuKernels<T>(a).forward == GetCpuKernels<T>(b).forward,
                a == b);
    }
  }
}

TEST(EveryLevelHasKernels, OfItsOwn) {
#define TF_ROIALIGN_EXPECT(T, ...) ExpectOwnKernels<T>();
  TF_ROIALIGN_FOR_EACH_FLOAT(TF_ROIALIGN_EXPECT)
  TF_ROIALIGN_FOR_EACH_CODE(TF_ROIALIGN_EXPECT)
#undef TF_ROIALIGN_EXPECT
}

}  // namespace
}  // namespace tf_roialign
