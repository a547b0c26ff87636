// What every call on CPU begins and ends with.

#ifndef TF_ROIALIGN_CC_CORE_CPU_CHECKED_CALL_H_
#define TF_ROIALIGN_CC_CORE_CPU_CHECKED_CALL_H_

#include <algorithm>
#include <cstdint>
#include <new>
#include <string>
#include <type_traits>

#include "cc/core/base/status.h"
#include "cc/core/call/boxes.h"
#include "cc/core/call/feature_maps.h"
#include "cc/core/call/op.h"
#include "cc/core/call/params.h"
#include "cc/core/call/signature.h"
#include "cc/core/cpu/box_table.h"

namespace tf_roialign {

// Calls run(table) with the image and the map of each box. A lack of memory, on
// any of the call's threads, becomes an error.
template <typename T, typename B, typename Run>
Status WithBoxTable(const Params& params, const Sizes& sizes,
                    const FeatureMaps<T>& maps, const Boxes<B>& boxes,
                    const Run& run) {
  try {
    BoxTable<B> table;
    TF_ROIALIGN_RETURN_IF_ERROR(table.Init(boxes, sizes.batch, maps.count()));
    for (int m = 0; m < maps.count(); ++m) {
      if (maps[m].pixels() > 0) continue;
      for (int64_t k = 0; k < table.count(); ++k) {
        if (table.map(k) != m) continue;
        // Maps that are written only are known by their shapes.
        const char* const name = NameOf(
            std::is_const_v<T> ? Input::kFeatures : Input::kFeaturesShape);
        return EmptyMap(
            std::string("`") + name + "[" + std::to_string(m) + "]`",
            Shape({maps[m].height, maps[m].width}).ToString());
      }
    }
    run(table);
    return {};
  } catch (const std::bad_alloc&) {
    return OutOfMemory(params);
  }
}

// The gradient of maps that no box reads.
template <typename T>
void ClearMaps(const Sizes& sizes, const FeatureMaps<T>& maps) {
  for (const FeatureMap<T>& map : maps) {
    if (sizes.batch == 0 || map.pixels() == 0) continue;
    std::fill_n(map.data, sizes.batch * map.pixels() * sizes.channels, T{});
  }
}

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CPU_CHECKED_CALL_H_
