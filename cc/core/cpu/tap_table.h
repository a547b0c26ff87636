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

// What a box's map is a sum of, each summand a product of taps of both axes:
// for the feature gradient one.
template <typename W>
class WholeMap {
 public:
  static constexpr int kProducts = 1;

  template <typename Any, typename B>
  void Build(const Params& params, const FeatureMap<Any>& map,
             const BoxAxes<B>& axes, int64_t /*box*/) {
    taps_ = builder_.Build(params, map, axes);
  }
  BoxTaps<W> product(int) const { return taps_; }

 private:
  BoxTapsBuilder<W> builder_;
  BoxTaps<W> taps_;
};

// For a feature gradient. Every owner of a part of the map asks for all boxes
// that touch it, so they are made once for all owners, unless they would take
// too much memory; then each makes its own. What it is made of has to outlive
// it. Products: of which each thread gets a copy.
template <typename T, typename B, typename Products>
class TapTable {
 public:
  using W = Accumulator<T>;
  static constexpr int kProducts = Products::kProducts;

  TapTable(const ParallelFor& parallel_for, const Params& params,
           const FeatureMaps<T>& maps, const BoxTable<B>& boxes,
           const BoxSchedule& schedule, const Products& products)
      : params_(params), maps_(maps), boxes_(boxes), products_(products) {
    const double pixels =
        schedule.edge_pixels() +
        double(boxes.count()) *
            double(params.pooled_height() + params.pooled_width());
    if (kProducts * pixels * kPixelTapBytes > kTapTableBytes) return;
    table_.emplace(boxes.count() * kProducts);
    parallel_for(boxes.count(), kProducts * kPixelTapsCost,
                 [&](int64_t begin, int64_t end) {
                   Products builder = products_;
                   BoxPixelTapsBuilder<W> taps;
                   Arena arena;
                   for (int64_t k = begin; k < end; ++k) {
                     Build(k, &builder);
                     for (int i = 0; i < kProducts; ++i) {
                       taps.Build(builder.product(i));
                       (*table_)[k * kProducts + i] = taps.CopyTo(&arena);
                     }
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
    explicit Reader(const TapTable& table)
        : table_(table), builder_(table.products_) {}

    BoxPixelTaps<W> Get(int64_t box, int product) {
      if (table_.is_kept()) return (*table_.table_)[box * kProducts + product];
      if (box != box_) table_.Build(box, &builder_);
      box_ = box;
      taps_.Build(builder_.product(product));
      return taps_.view();
    }

   private:
    const TapTable& table_;
    Products builder_;
    int64_t box_ = -1;  // whose the builder's products are
    BoxPixelTapsBuilder<W> taps_;
  };

 private:
  void Build(int64_t k, Products* builder) const {
    const FeatureMap<T>& map = maps_[boxes_.map(k)];
    builder->Build(params_, map,
                   MakeBoxAxes(params_, map, boxes_.coordinates(k)), k);
  }

  const Params& params_;
  const FeatureMaps<T> maps_;
  const BoxTable<B>& boxes_;
  const Products products_;
  std::optional<RawArray<BoxPixelTaps<W>>> table_;
  std::mutex mutex_;
  std::vector<Arena> arenas_;  // what table_ points to
};

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CPU_TAP_TABLE_H_
