// The two axes of a box on its map.

#ifndef TF_ROIALIGN_CC_CORE_GEOMETRY_BOX_AXES_H_
#define TF_ROIALIGN_CC_CORE_GEOMETRY_BOX_AXES_H_

#include <cstdint>

#include "cc/core/base/host_device.h"
#include "cc/core/call/boxes.h"
#include "cc/core/geometry/axis.h"

namespace tf_roialign {

// AnyParams and AnyMap have the members of Params and FeatureMap; CUDA has them
// with fewer bits.
template <typename B, typename AnyParams, typename AnyMap>
TF_ROIALIGN_HOST_DEVICE Axis<B> BoxAxisY(const AnyParams& params,
                                         const AnyMap& map,
                                         const B* coordinates) {
  return MakeAxis(coordinates[kY1], coordinates[kY2],
                  static_cast<B>(map.scale_y), params.pooled_height(),
                  params.sampling_ratio, params.aligned);
}

template <typename B, typename AnyParams, typename AnyMap>
TF_ROIALIGN_HOST_DEVICE Axis<B> BoxAxisX(const AnyParams& params,
                                         const AnyMap& map,
                                         const B* coordinates) {
  return MakeAxis(coordinates[kX1], coordinates[kX2],
                  static_cast<B>(map.scale_x), params.pooled_width(),
                  params.sampling_ratio, params.aligned);
}

template <typename B>
struct BoxAxes {
  Axis<B> y;
  Axis<B> x;

  // Whether the box has a meaning; one that has none gives NaN.
  TF_ROIALIGN_HOST_DEVICE bool finite() const { return y.finite && x.finite; }
};

template <typename B, typename AnyParams, typename AnyMap>
TF_ROIALIGN_HOST_DEVICE BoxAxes<B> MakeBoxAxes(const AnyParams& params,
                                               const AnyMap& map,
                                               const B* coordinates) {
  return {BoxAxisY(params, map, coordinates),
          BoxAxisX(params, map, coordinates)};
}

// What the sum of a bin's samples is to be divided by for their average.
template <typename W, typename B>
TF_ROIALIGN_HOST_DEVICE W SamplesPerBin(const BoxAxes<B>& axes) {
  const W samples = W(axes.y.grid) * W(axes.x.grid);
  return samples > 1 ? samples : 1;
}

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_GEOMETRY_BOX_AXES_H_
