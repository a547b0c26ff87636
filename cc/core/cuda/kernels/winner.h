// The largest sample of a bin in one channel, for the gradient to the features.

#ifndef TF_ROIALIGN_CC_CORE_CUDA_KERNELS_WINNER_H_
#define TF_ROIALIGN_CC_CORE_CUDA_KERNELS_WINNER_H_

#include "cc/core/cuda/platform/portable.h"
#include "cc/core/geometry/axis_sample.h"

namespace tf_roialign {
namespace cuda {

// Where the largest sample lies: its first pixel, and how far it is from there
// to the next. y < 0: outside the map, or there is none. A fraction < 0: there
// is no next pixel, and the first has all the weight.
template <typename W>
struct alignas(sizeof(W) == 4 ? 16 : 8) Winner {
  int y = -1;
  int x = -1;
  W y_fraction = W(0);
  W x_fraction = W(0);

  TF_ROIALIGN_DEVICE void Set(const AxisSample<W, int>& in_y,
                              const AxisSample<W, int>& in_x, const W (&)[4]) {
    y = in_x.lo < 0 ? -1 : in_y.lo;
    x = in_x.lo;
    y_fraction = in_y.hi < 0 ? W(-1) : in_y.weight_hi;
    x_fraction = in_x.hi < 0 ? W(-1) : in_x.weight_hi;
  }

  // Whether the sample touches a pixel, and its weight there.
  TF_ROIALIGN_DEVICE bool Touches(int at_y, int at_x, W* weight) const {
    W along_y, along_x;
    if (y < 0 || !TouchesAlong(y, y_fraction, at_y, &along_y) ||
        !TouchesAlong(x, x_fraction, at_x, &along_x)) {
      return false;
    }
    *weight = along_y * along_x;
    return true;
  }

 private:
  static TF_ROIALIGN_DEVICE bool TouchesAlong(int first, W fraction, int at,
                                              W* weight) {
    *weight = at == first ? W(1) - Max(fraction, W(0)) : fraction;
    return at == first || (at == first + 1 && fraction >= W(0));
  }
};

}  // namespace cuda
}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CUDA_KERNELS_WINNER_H_
