// The taps of bins of two samples.

#ifndef TF_ROIALIGN_CC_CORE_CUDA_KERNELS_TWO_SAMPLE_TAPS_H_
#define TF_ROIALIGN_CC_CORE_CUDA_KERNELS_TWO_SAMPLE_TAPS_H_

#include <cstdint>

#include "cc/core/cuda/platform/portable.h"
#include "cc/core/geometry/taps.h"

namespace tf_roialign {
namespace cuda {

// For a fixed sampling_ratio of 2: the at most four taps of bin `p`, without a
// search and in the weights' own type (two terms are rounded once).
template <typename W, typename B>
TF_ROIALIGN_DEVICE void TwoSampleTaps(const AxisOnMap<B, int>& box, int64_t p,
                                      Tap<W>* taps) {
  TF_ROIALIGN_UNROLL
  for (int i = 0; i < 4; ++i) taps[i] = {-1, W(0)};
  int64_t lo[2] = {-1, -1}, hi[2] = {-1, -1};
  W low_weight[2] = {}, high_weight[2] = {};
  TF_ROIALIGN_UNROLL
  for (int t = 0; t < 2; ++t) {
    const B coordinate = SampleCoordinate(box.axis, p, t);
    if (!IsInside(coordinate, box.length)) continue;
    const LinearSample<B> sample = Interpolate(coordinate, box.length);
    lo[t] = sample.lo;
    low_weight[t] = (W(1) - static_cast<W>(sample.fraction)) * W(0.5);
    if (sample.hi == sample.lo) continue;
    hi[t] = sample.hi;
    high_weight[t] = static_cast<W>(sample.fraction) * W(0.5);
  }
  // What the second sample shares with the first goes to the first.
  if (lo[1] >= 0 && lo[1] == lo[0]) {
    low_weight[0] += low_weight[1];
    lo[1] = -1;
  } else if (lo[1] >= 0 && lo[1] == hi[0]) {
    high_weight[0] += low_weight[1];
    lo[1] = -1;
  }
  if (hi[1] >= 0 && hi[1] == lo[0]) {
    low_weight[0] += high_weight[1];
    hi[1] = -1;
  } else if (hi[1] >= 0 && hi[1] == hi[0]) {
    high_weight[0] += high_weight[1];
    hi[1] = -1;
  }
  taps[0] = {static_cast<int>(lo[0]), low_weight[0]};
  taps[1] = {static_cast<int>(hi[0]), high_weight[0]};
  taps[2] = {static_cast<int>(lo[1]), low_weight[1]};
  taps[3] = {static_cast<int>(hi[1]), high_weight[1]};
}

}  // namespace cuda
}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CUDA_KERNELS_TWO_SAMPLE_TAPS_H_
