// Division by a number that stays the same for a while: two instructions
// instead of about twenty.

#ifndef TF_ROIALIGN_CC_CORE_CUDA_KERNELS_DIVISOR_H_
#define TF_ROIALIGN_CC_CORE_CUDA_KERNELS_DIVISOR_H_

#include <cstdint>

#include "cc/core/cuda/platform/portable.h"

namespace tf_roialign {
namespace cuda {

// Of numbers n >= 0 by d >= 1 where n * d < 2^31.
class Divisor {
 public:
  TF_ROIALIGN_DEVICE explicit Divisor(int d)
      : d_(d),
        // 2^31 / d, rounded up: n * (what that is too much) stays below 1 / d.
        reciprocal_((uint32_t(1) << 31) / uint32_t(d) +
                    ((uint32_t(1) << 31) % uint32_t(d) != 0)) {}

  TF_ROIALIGN_DEVICE int Quotient(int n) const {
    return static_cast<int>(MultiplyHigh(uint32_t(n) << 1, reciprocal_));
  }
  // n - d * quotient
  TF_ROIALIGN_DEVICE int Remainder(int n, int quotient) const {
    return n - d_ * quotient;
  }

 private:
  int d_;
  uint32_t reciprocal_;
};

}  // namespace cuda
}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CUDA_KERNELS_DIVISOR_H_
