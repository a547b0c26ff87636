// The axes of a box on its map, of any size.

#ifndef TF_ROIALIGN_CC_CORE_CPU_AXIS_ON_MAP_H_
#define TF_ROIALIGN_CC_CORE_CPU_AXIS_ON_MAP_H_

#include <cstdint>

#include "cc/core/call/feature_maps.h"
#include "cc/core/call/params.h"
#include "cc/core/geometry/box_axes.h"
#include "cc/core/geometry/taps.h"

namespace tf_roialign {

template <typename T, typename B>
AxisOnMap<B, int64_t> AxisOnMapY(const Params& params, const FeatureMap<T>& map,
                                 const BoxAxes<B>& axes) {
  return {axes.y, params.pooled_height(), map.height,
          static_cast<B>(map.scale_y)};
}

template <typename T, typename B>
AxisOnMap<B, int64_t> AxisOnMapX(const Params& params, const FeatureMap<T>& map,
                                 const BoxAxes<B>& axes) {
  return {axes.x, params.pooled_width(), map.width,
          static_cast<B>(map.scale_x)};
}

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CPU_AXIS_ON_MAP_H_
