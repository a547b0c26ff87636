// Sums of a box's gradient, of the threads of a block.

#ifndef TF_ROIALIGN_CC_CORE_CUDA_KERNELS_BOX_SUMS_H_
#define TF_ROIALIGN_CC_CORE_CUDA_KERNELS_BOX_SUMS_H_

#include "cc/core/cuda/platform/portable.h"

namespace tf_roialign {
namespace cuda {

// In the order of a box's row.
struct BoxSums {
  double x1 = 0;
  double y1 = 0;
  double x2 = 0;
  double y2 = 0;
};

// Adds the threads' sums in a fixed order; thread 0 stores the result. Nobody
// else uses `shared`.
template <int kThreads>
TF_ROIALIGN_DEVICE void ReduceBoxSums(const BoxSums& mine, BoxSums* shared,
                                      BoxSums* to) {
  shared[ThreadIndex()] = mine;
  for (int half = kThreads / 2; half > 0; half /= 2) {
    SyncThreads();
    if (ThreadIndex() < half) {
      BoxSums& sum = shared[ThreadIndex()];
      const BoxSums& other = shared[ThreadIndex() + half];
      sum.x1 += other.x1;
      sum.y1 += other.y1;
      sum.x2 += other.x2;
      sum.y2 += other.y2;
    }
  }
  if (ThreadIndex() == 0) *to = shared[0];
}

}  // namespace cuda
}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CUDA_KERNELS_BOX_SUMS_H_
