// The samples of one axis of one box for mode "max", as plain arrays: those of
// bin p are [begin[p], begin[p + 1]), in their order.

#ifndef TF_ROIALIGN_CC_CORE_CPU_SIMD_SAMPLES_VIEW_H_
#define TF_ROIALIGN_CC_CORE_CPU_SIMD_SAMPLES_VIEW_H_

#include <cstdint>

#include "cc/core/cpu/simd/ahead.h"
#include "cc/core/geometry/axis_sample.h"

namespace tf_roialign {

template <typename W>
struct SamplesView {
  const int64_t* begin;
  const AxisSample<W, int64_t>* samples;
  int64_t most;  // of one bin
};

// Sample i along y and j along x is number i * x.most + j of its bin.
template <typename W>
struct BoxSamples {
  int64_t pooled_height;
  int64_t pooled_width;
  SamplesView<W> y;
  SamplesView<W> x;
  BoxAhead ahead = {};
};

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CPU_SIMD_SAMPLES_VIEW_H_
