// Weights of taps while their box moves along a direction.

#ifndef TF_ROIALIGN_CC_CORE_CUDA_KERNELS_MOVED_WEIGHT_H_
#define TF_ROIALIGN_CC_CORE_CUDA_KERNELS_MOVED_WEIGHT_H_

#include "cc/core/cuda/platform/portable.h"
#include "cc/core/geometry/taps.h"

namespace tf_roialign {
namespace cuda {

// How fast the weight of a tap changes where the corners of its axis move so.
template <typename W, typename B>
TF_ROIALIGN_DEVICE W MovedWeightOf(const SlopeTap<W>& tap, B move1, B move2) {
  return static_cast<W>(double(tap.slope1) * double(move1) +
                        double(tap.slope2) * double(move2));
}

// Along one axis: the weight, and how fast it changes.
template <typename W>
struct MovedWeight {
  W weight;
  W moved;
};

// How fast the product of both axes changes.
template <typename W>
TF_ROIALIGN_DEVICE W operator*(const MovedWeight<W>& y,
                               const MovedWeight<W>& x) {
  return y.moved * x.weight + y.weight * x.moved;
}

}  // namespace cuda
}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CUDA_KERNELS_MOVED_WEIGHT_H_
