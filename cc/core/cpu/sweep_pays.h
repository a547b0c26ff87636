// Which boxes a sweep (sweep.h) is for.

#ifndef TF_ROIALIGN_CC_CORE_CPU_SWEEP_PAYS_H_
#define TF_ROIALIGN_CC_CORE_CPU_SWEEP_PAYS_H_

#include <cstdint>

#include "cc/core/base/span.h"
#include "cc/core/call/feature_maps.h"
#include "cc/core/call/params.h"
#include "cc/core/cpu/tuning.h"

namespace tf_roialign {

// Whether a box with this window is better off in a sweep: not if the window
// stays in cache, nor if bins have so few taps that coming back to them for
// every row takes longer.
template <typename T>
bool SweepPays(const Params& params, const FeatureMap<T>& map, const Span& rows,
               const Span& columns, int64_t channels) {
  return params.mode == Mode::kAvg && map.width <= kMostSweptColumns &&
         columns.length() >= kSweptTaps * params.pooled_width() &&
         (params.sampling_ratio <= 0 ||
          2 * params.sampling_ratio > kSweptTaps) &&
         double(rows.length()) * double(columns.length()) * double(channels) *
                 sizeof(T) >=
             double(kSweptWindowBytes);
}

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CPU_SWEEP_PAYS_H_
