// The taps of bins of two samples.

#ifndef TF_ROIALIGN_CC_CORE_CUDA_KERNELS_TWO_SAMPLE_TAPS_H_
#define TF_ROIALIGN_CC_CORE_CUDA_KERNELS_TWO_SAMPLE_TAPS_H_

#include <cstdint>

#include "cc/core/cuda/platform/portable.h"
#include "cc/core/geometry/taps.h"

namespace tf_roialign {
namespace cuda {

// What one sample gives to one of its pixels.
template <bool kSlopes>
struct TapPart {
  int pixel = -1;  // -1: none
  TapSums sums;

  TF_ROIALIGN_DEVICE void Add(const TapPart& other) {
    sums.weight += other.sums.weight;
    if (kSlopes) {
      sums.slope1 += other.sums.slope1;
      sums.slope2 += other.sums.slope2;
    }
  }
};

// For a fixed sampling_ratio of 2: the at most four taps of bin `p` by
// ascending pixel, without a search; the others are none. Returns how many
// there are. To the bit those of geometry/taps.h: of two samples a pixel is
// touched by one or both, and sums of two do not depend on their order.
template <typename AnyTap, typename B>
TF_ROIALIGN_DEVICE int TwoSampleTaps(const AxisOnMap<B, int>& box, int p,
                                     AnyTap* taps) {
  constexpr bool kSlopes = kHasSlopes<AnyTap>;
  TapPart<kSlopes> parts[4];  // lower and upper pixel of each sample
  TF_ROIALIGN_UNROLL
  for (int i = 0; i < 2; ++i) {
    const int t = static_cast<int>(Ascending(box.axis, i));
    if (!IsInside(SampleCoordinate(box.axis, p, t), box.length)) continue;
    const SampleRun<B> run = OneSample<kSlopes>(box, p, i);
    parts[2 * i].pixel = static_cast<int>(run.sample.lo);
    parts[2 * i].sums = SumsOfRun<kSlopes>(run, 1.0, false);
    if (run.sample.hi == run.sample.lo) continue;
    parts[2 * i + 1].pixel = static_cast<int>(run.sample.hi);
    parts[2 * i + 1].sums = SumsOfRun<kSlopes>(run, 1.0, true);
  }
  // What the second sample shares with the first goes to the first.
  TF_ROIALIGN_UNROLL
  for (int i = 2; i < 4; ++i) {
    if (parts[i].pixel < 0) continue;
    if (parts[i].pixel == parts[0].pixel) {
      parts[0].Add(parts[i]);
      parts[i].pixel = -1;
    } else if (parts[i].pixel == parts[1].pixel) {
      parts[1].Add(parts[i]);
      parts[i].pixel = -1;
    }
  }
  int count = 0;
  TF_ROIALIGN_UNROLL
  for (int i = 0; i < 4; ++i) {
    if (parts[i].pixel < 0) continue;
    SetTap(parts[i].pixel, {parts[i].sums, true}, 0.5, &taps[count++]);
  }
  for (int i = count; i < 4; ++i) SetTap(-1, PixelSums(), 0.0, &taps[i]);
  return count;
}

}  // namespace cuda
}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CUDA_KERNELS_TWO_SAMPLE_TAPS_H_
