// Which pixels a box may touch.

#ifndef TF_ROIALIGN_CC_CORE_GEOMETRY_TOUCHED_PIXELS_H_
#define TF_ROIALIGN_CC_CORE_GEOMETRY_TOUCHED_PIXELS_H_

#include <cstdint>

#include "cc/core/base/host_device.h"
#include "cc/core/base/span.h"
#include "cc/core/geometry/axis.h"

namespace tf_roialign {

// 4 units in the last place.
template <typename B>
constexpr B kCoordinateSlack = B(0x1p-50);
template <>
inline constexpr float kCoordinateSlack<float> = 0x1p-21f;

// Pixels that the samples of an axis may touch; none: an empty span.
template <typename B>
TF_ROIALIGN_HOST_DEVICE Span TouchedPixels(const Axis<B>& axis, int64_t pooled,
                                           int64_t length) {
  if (axis.grid <= 0) return {};
  // The coordinates of all samples lie between those of the first and the last,
  // up to rounding, for which a pixel is added on either side.
  const B a = SampleCoordinate(axis, 0, 0);
  const B b = SampleCoordinate(axis, pooled - 1, axis.grid - 1);
  const B magnitude = (a < B(0) ? -a : a) + (b < B(0) ? -b : b);
  const B slack = B(1) + magnitude * kCoordinateSlack<B>;
  const B low = (a < b ? a : b) - slack;
  const B high = (a < b ? b : a) + slack + B(1);
  if (!(low <= B(length)) || !(high >= B(-1))) return {};
  return {low > B(0) ? static_cast<int64_t>(low) : 0,
          high < B(length - 1) ? static_cast<int64_t>(high) + 1 : length};
}

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_GEOMETRY_TOUCHED_PIXELS_H_
