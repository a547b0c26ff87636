// The samples of one axis of one box for mode "max", as plain arrays: those of
// bin p are [begin[p], begin[p + 1]), in their order.

#ifndef TF_ROIALIGN_CC_CORE_CPU_SIMD_SAMPLES_VIEW_H_
#define TF_ROIALIGN_CC_CORE_CPU_SIMD_SAMPLES_VIEW_H_

#include <cstdint>

namespace tf_roialign {

template <typename W>
struct AxisSample {
  int64_t lo;  // its pixels; -1: there is none. Without `lo` it is outside.
  int64_t hi;
  W weight_lo;
  W weight_hi;
  // d(weight_hi) / d(c1), d(weight_hi) / d(c2) of the box.
  W slope1;
  W slope2;
};

template <typename W>
struct SamplesView {
  const int64_t* begin;
  const AxisSample<W>* samples;
};

template <typename W>
struct BoxSamples {
  int64_t pooled_height;
  int64_t pooled_width;
  SamplesView<W> y;
  SamplesView<W> x;
};

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CPU_SIMD_SAMPLES_VIEW_H_
