#include "cc/core/cuda/kernels/divisor.h"

#include <cstdint>

#include "gtest/gtest.h"

namespace tf_roialign {
namespace {

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

}  // namespace
}  // namespace tf_roialign
