// Which map of a pyramid a box reads, by its area: the rule of "Feature Pyramid
// Networks" (Lin et al., 2017), with the meaning of torchvision's LevelMapper.
//
//   level of a box = floor(canonical_level
//                          + log2(sqrt(area) / canonical_scale) + 1e-6)
//   level of a map = -log2(spatial_scale), rounded to the nearest integer
//
// A box reads the map with the highest level that is not above its own, or that
// with the lowest level if there is none; of maps of one level, the first. So
// it is where levels follow one another, as torchvision takes them to, and maps
// may come in any order.
//
// A box whose area is no number greater than 0 (nothing, reversed along one
// axis, NaN) is of the lowest level, one of infinite area of the highest.

#ifndef TF_ROIALIGN_CC_CORE_CALL_LEVEL_RULE_H_
#define TF_ROIALIGN_CC_CORE_CALL_LEVEL_RULE_H_

#include <cstdint>

#include "cc/core/base/host_device.h"
#include "cc/core/base/visibility.h"
#include "cc/core/call/feature_maps.h"
#include "cc/core/call/params.h"

namespace tf_roialign {

// The formula as bounds of areas, which are compared exactly: every device and
// every library of functions gives a box the same map.
struct LevelRule {
  // Ascending, and the map from there on; NaN: no further map.
  double least_area[kMaxMaps - 1];
  int8_t map[kMaxMaps - 1];
  int8_t lowest_map;

  template <typename B>
  TF_ROIALIGN_HOST_DEVICE int MapOfArea(B area) const {
    int result = lowest_map;
    for (int i = 0; i < kMaxMaps - 1; ++i) {  // no early end: unrolled
      if (double(area) >= least_area[i]) result = map[i];
    }
    return result;
  }
};

// The logarithm is that of B, the boxes' dtype, as torchvision's is.
// `scales`: of the maps, 1 to kMaxMaps, finite and greater than 0.
template <typename B>
TF_ROIALIGN_API LevelRule MakeLevelRule(double canonical_scale,
                                        int64_t canonical_level,
                                        const Scale* scales, int maps);

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CALL_LEVEL_RULE_H_
