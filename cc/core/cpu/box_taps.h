// The taps of both axes of a box.

#ifndef TF_ROIALIGN_CC_CORE_CPU_BOX_TAPS_H_
#define TF_ROIALIGN_CC_CORE_CPU_BOX_TAPS_H_

#include <cstdint>

#include "cc/core/base/span.h"
#include "cc/core/call/feature_maps.h"
#include "cc/core/call/params.h"
#include "cc/core/cpu/arena.h"
#include "cc/core/cpu/axis_on_map.h"
#include "cc/core/cpu/axis_taps.h"
#include "cc/core/cpu/simd/kernels.h"
#include "cc/core/dtypes/quantization.h"
#include "cc/core/geometry/box_axes.h"

namespace tf_roialign {

// The taps of one box after the other. One for each thread.
template <typename W>
class BoxTapsBuilder {
 public:
  // Codes T are summed, all others averaged: the average of codes has to be
  // rounded once, not with its weights.
  template <typename T, typename Any, typename B>
  BoxTaps<W> BuildFor(const Params& params, const FeatureMap<Any>& map,
                      const BoxAxes<B>& axes) {
    return BuildFor<T>(params, map, axes, {0, params.pooled_height()});
  }
  // Of some rows of bins.
  template <typename T, typename Any, typename B>
  BoxTaps<W> BuildFor(const Params& params, const FeatureMap<Any>& map,
                      const BoxAxes<B>& axes, const Span& bin_rows) {
    const Span columns = {0, params.pooled_width()};
    if (kIsCode<T>) {
      y_.BuildSums(AxisOnMapY(params, map, axes), bin_rows);
      x_.BuildSums(AxisOnMapX(params, map, axes), columns);
    } else {
      y_.Build(AxisOnMapY(params, map, axes), bin_rows);
      x_.Build(AxisOnMapX(params, map, axes), columns);
    }
    return view(params);
  }

  template <typename Any, typename B>
  BoxTaps<W> Build(const Params& params, const FeatureMap<Any>& map,
                   const BoxAxes<B>& axes) {
    return BuildFor<W>(params, map, axes);
  }

  template <typename Any, typename B>
  BoxTaps<W> BuildWithSlopes(const Params& params, const FeatureMap<Any>& map,
                             const BoxAxes<B>& axes) {
    return BuildWithSlopes(params, map, axes, {0, params.pooled_height()});
  }
  template <typename Any, typename B>
  BoxTaps<W> BuildWithSlopes(const Params& params, const FeatureMap<Any>& map,
                             const BoxAxes<B>& axes, const Span& bin_rows) {
    y_.BuildWithSlopes(AxisOnMapY(params, map, axes), bin_rows);
    x_.BuildWithSlopes(AxisOnMapX(params, map, axes));
    return view(params);
  }

 private:
  BoxTaps<W> view(const Params& params) const {
    return {params.pooled_height(), params.pooled_width(), y_.view(),
            x_.view()};
  }

  AxisTaps<W> y_;
  AxisTaps<W> x_;
};

// The same by pixel.
template <typename W>
class BoxPixelTapsBuilder {
 public:
  void Build(const BoxTaps<W>& taps) {
    pooled_width_ = taps.pooled_width;
    y_.Build(taps.y, taps.pooled_height);
    x_.Build(taps.x, taps.pooled_width);
  }

  BoxPixelTaps<W> view() const { return {pooled_width_, y_.view(), x_.view()}; }

  // For longer than until the next Build.
  BoxPixelTaps<W> CopyTo(Arena* arena) const {
    return {pooled_width_, y_.CopyTo(arena), x_.CopyTo(arena)};
  }

 private:
  int64_t pooled_width_ = 0;
  PixelTaps<W> y_;
  PixelTaps<W> x_;
};

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CPU_BOX_TAPS_H_
