// A sample of one axis of a box as mode "max" uses it.

#ifndef TF_ROIALIGN_CC_CORE_GEOMETRY_AXIS_SAMPLE_H_
#define TF_ROIALIGN_CC_CORE_GEOMETRY_AXIS_SAMPLE_H_

namespace tf_roialign {

// I: of pixels' numbers.
template <typename W, typename I>
struct AxisSample {
  I lo;  // its pixels; -1: there is none. Without `lo` it is outside.
  I hi;
  W weight_lo;
  W weight_hi;
  // d(weight_hi) / d(c1), d(weight_hi) / d(c2) of the box.
  W slope1;
  W slope2;
};

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_GEOMETRY_AXIS_SAMPLE_H_
