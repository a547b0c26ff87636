// The taps by pixel of all boxes of a call.

#ifndef TF_ROIALIGN_CC_CORE_CPU_TAP_TABLE_H_
#define TF_ROIALIGN_CC_CORE_CPU_TAP_TABLE_H_

#include <cstdint>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "cc/core/base/parallel.h"
#include "cc/core/call/feature_maps.h"
#include "cc/core/call/params.h"
#include "cc/core/cpu/arena.h"
#include "cc/core/cpu/box_schedule.h"
#include "cc/core/cpu/box_table.h"
#include "cc/core/cpu/box_taps.h"
#include "cc/core/cpu/raw_array.h"
#include "cc/core/cpu/tuning.h"
#include "cc/core/dtypes/float16.h"

namespace tf_roialign {

// For a feature gradient. Every owner of a part of the map asks for all boxes
// that touch it, so they are made once for all owners, unless they would take
// too much memory; then each makes its own. What it is made of has to outlive
// it.
template <typename T, typename B>
class TapTable {
 public:
  using W = Accumulator<T>;

  TapTable(const ParallelFor& parallel_for, const Params& params,
           const FeatureMaps<T>& maps, const BoxTable<B>& boxes,
           const BoxSchedule& schedule)
      : params_(params), maps_(maps), boxes_(boxes) {
    const double pixels =
        schedule.edge_pixels() +
        double(boxes.count()) *
            double(params.pooled_height() + params.pooled_width());
    if (pixels * kPixelTapBytes > kTapTableBytes) return;
    table_.emplace(boxes.count());
    parallel_for(boxes.count(), kPixelTapsCost,
                 [&](int64_t begin, int64_t end) {
                   BoxTapsBuilder<W> builder;
                   BoxPixelTapsBuilder<W> taps;
                   Arena arena;
                   for (int64_t k = begin; k < end; ++k) {
                     Build(k, &builder, &taps);
                     (*table_)[k] = taps.CopyTo(&arena);
                   }
                   std::lock_guard<std::mutex> lock(mutex_);
                   arenas_.push_back(std::move(arena));
                 });
  }

  // Whether what a reader gave out outlives its next answer.
  bool is_kept() const { return table_.has_value(); }

  // One for each thread.
  class Reader {
   public:
    explicit Reader(const TapTable& table) : table_(table) {}

    BoxPixelTaps<W> Get(int64_t box) {
      if (table_.is_kept()) return (*table_.table_)[box];
      table_.Build(box, &builder_, &taps_);
      return taps_.view();
    }

   private:
    const TapTable& table_;
    BoxTapsBuilder<W> builder_;
    BoxPixelTapsBuilder<W> taps_;
  };

 private:
  void Build(int64_t k, BoxTapsBuilder<W>* builder,
             BoxPixelTapsBuilder<W>* taps) const {
    const FeatureMap<T>& map = maps_[boxes_.map(k)];
    taps->Build(builder->Build(
        params_, map, MakeBoxAxes(params_, map, boxes_.coordinates(k))));
  }

  const Params& params_;
  const FeatureMaps<T> maps_;
  const BoxTable<B>& boxes_;
  std::optional<RawArray<BoxPixelTaps<W>>> table_;
  std::mutex mutex_;
  std::vector<Arena> arenas_;  // what table_ points to
};

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CPU_TAP_TABLE_H_
