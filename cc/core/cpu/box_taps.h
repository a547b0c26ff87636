// The taps of boxes: both axes of one, and a table of all.

#ifndef TF_ROIALIGN_CC_CORE_CPU_BOX_TAPS_H_
#define TF_ROIALIGN_CC_CORE_CPU_BOX_TAPS_H_

#include <cstdint>
#include <vector>

#include "cc/core/cpu/axis_taps.h"
#include "cc/core/cpu/box_schedule.h"
#include "cc/core/call/boxes.h"
#include "cc/core/cpu/simd/kernels.h"
#include "cc/core/base/parallel.h"
#include "cc/core/call/params.h"
#include "cc/core/dtypes/quantization.h"

namespace tf_roialign {

// The taps of one box after the other. One for each thread.
template <typename W>
class BoxTapsBuilder {
 public:
  template <typename B>
  BoxTaps<W> Build(const Params& params, const Sizes& sizes,
                   const BoxAxes<B>& axes) {
    y_.Build(axes.y, params.pooled_height, sizes.height);
    x_.Build(axes.x, params.pooled_width, sizes.width);
    return view(params);
  }

  // Of the samples' sums instead of their averages.
  template <typename B>
  BoxTaps<W> BuildSums(const Params& params, const Sizes& sizes,
                       const BoxAxes<B>& axes) {
    y_.BuildSums(axes.y, params.pooled_height, sizes.height);
    x_.BuildSums(axes.x, params.pooled_width, sizes.width);
    return view(params);
  }

  // Codes T are summed, all others averaged: the average of codes has to be
  // rounded once, not with its weights.
  template <typename T, typename B>
  BoxTaps<W> BuildFor(const Params& params, const Sizes& sizes,
                      const BoxAxes<B>& axes) {
    return kIsCode<T> ? BuildSums(params, sizes, axes)
                      : Build(params, sizes, axes);
  }

  template <typename B>
  BoxTaps<W> BuildWithSlopes(const Params& params, const Sizes& sizes,
                             const BoxAxes<B>& axes) {
    const B scale = static_cast<B>(params.spatial_scale);
    y_.BuildWithSlopes(axes.y, params.pooled_height, sizes.height, scale);
    x_.BuildWithSlopes(axes.x, params.pooled_width, sizes.width, scale);
    return view(params);
  }

 private:
  BoxTaps<W> view(const Params& params) const {
    return {params.pooled_height, params.pooled_width, y_.view(), x_.view()};
  }

  AxisTaps<W> y_;
  AxisTaps<W> x_;
};

// The same by pixel.
template <typename W>
class BoxPixelTapsBuilder {
 public:
  template <typename B>
  void Build(const Params& params, const Sizes& sizes, const BoxAxes<B>& axes,
             BoxTapsBuilder<W>* builder) {
    const BoxTaps<W> taps = builder->Build(params, sizes, axes);
    y_.Build(taps.y, params.pooled_height);
    x_.Build(taps.x, params.pooled_width);
  }

  BoxPixelTaps<W> view(const Params& params) const {
    return {params.pooled_width, y_.view(), x_.view()};
  }

 private:
  PixelTaps<W> y_;
  PixelTaps<W> x_;
};

// The taps of the boxes of a feature gradient. Every owner of a part of the map
// asks for all boxes that touch it, so they are made once for all owners,
// unless they would take too much memory; then each makes its own.
template <typename W, typename B>
class TapTable {
 public:
  TapTable(const ParallelFor& parallel_for, const Params& params,
           const Sizes& sizes, const BoxTable<B>& boxes,
           const BoxSchedule& schedule)
      : params_(params), sizes_(sizes), boxes_(boxes) {
    // A tap takes about 40 bytes, and a pixel has one or two.
    const double bytes =
        80.0 * (schedule.edge_pixels() +
                double(boxes.count) *
                    double(params.pooled_height + params.pooled_width));
    if (bytes > kMaxBytes) return;
    table_.resize(boxes.count);
    parallel_for(boxes.count, 2000, [&](int64_t first, int64_t last) {
      BoxTapsBuilder<W> builder;
      for (int64_t k = first; k < last; ++k) Build(k, &builder, &table_[k]);
    });
  }

  // Whether what a reader gave out outlives its next answer.
  bool is_kept() const { return !table_.empty(); }

  // One for each thread.
  class Reader {
   public:
    explicit Reader(const TapTable& table) : table_(table) {}

    BoxPixelTaps<W> Get(int64_t box) {
      if (table_.is_kept()) return table_.table_[box].view(table_.params_);
      table_.Build(box, &builder_, &taps_);
      return taps_.view(table_.params_);
    }

   private:
    const TapTable& table_;
    BoxTapsBuilder<W> builder_;
    BoxPixelTapsBuilder<W> taps_;
  };

 private:
  static constexpr double kMaxBytes = 64 << 20;

  void Build(int64_t k, BoxTapsBuilder<W>* builder,
             BoxPixelTapsBuilder<W>* taps) const {
    taps->Build(params_, sizes_, MakeBoxAxes(params_, boxes_.coordinates(k)),
                builder);
  }

  const Params& params_;
  const Sizes& sizes_;
  const BoxTable<B>& boxes_;
  std::vector<BoxPixelTapsBuilder<W>> table_;
};

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CPU_BOX_TAPS_H_
