// The gradient of mode "max" to the features.

#ifndef TF_ROIALIGN_CC_CORE_CPU_MAX_GRAD_H_
#define TF_ROIALIGN_CC_CORE_CPU_MAX_GRAD_H_

#include <algorithm>
#include <cstdint>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "cc/core/call/feature_maps.h"
#include "cc/core/call/params.h"
#include "cc/core/cpu/arena.h"
#include "cc/core/cpu/box_samples.h"
#include "cc/core/cpu/box_schedule.h"
#include "cc/core/cpu/box_table.h"
#include "cc/core/cpu/channel_blocks.h"
#include "cc/core/cpu/context.h"
#include "cc/core/cpu/look_ahead.h"
#include "cc/core/cpu/nchw.h"
#include "cc/core/cpu/nhwc.h"
#include "cc/core/cpu/raw_array.h"
#include "cc/core/cpu/simd/kernels.h"
#include "cc/core/cpu/tiling.h"
#include "cc/core/cpu/tuning.h"
#include "cc/core/cpu/window.h"
#include "cc/core/cpu/winners.h"

namespace tf_roialign {

// The samples of a call's boxes, which every owner of a tile asks for: kept if
// they take little memory, or made again. What it is made of has to outlive it.
template <typename T, typename B>
class SampleTable {
 public:
  using W = Accumulator<T>;

  SampleTable(const ParallelFor& parallel_for, const Params& params,
              const FeatureMaps<const T>& maps, const BoxTable<B>& boxes,
              const BoxSchedule& schedule)
      : params_(params), maps_(maps), boxes_(boxes) {
    const double samples =
        2 * schedule.edge_pixels() +
        4 * double(boxes.count()) *
            double(params.pooled_height() + params.pooled_width());
    const bool keep =
        samples * double(sizeof(AxisSample<W, int64_t>)) < kTapTableBytes;
    if (keep) table_.emplace(boxes.count());
    parallel_for(boxes.count(), kPixelTapsCost,
                 [&](int64_t begin, int64_t end) {
                   BoxSamplesBuilder<W> builder;
                   Arena arena;
                   int64_t most = 0;
                   for (int64_t k = begin; k < end; ++k) {
                     Build(k, &builder);
                     if (keep) (*table_)[k] = builder.CopyTo(&arena);
                     most = std::max(most, builder.most());
                   }
                   std::lock_guard<std::mutex> lock(mutex_);
                   most_ = std::max(most_, most);
                   arenas_.push_back(std::move(arena));
                 });
  }

  // Of one bin.
  int64_t most() const { return most_; }

  // `builder`: of the thread.
  BoxSamples<W> Get(int64_t box, BoxSamplesBuilder<W>* builder) const {
    if (table_) return (*table_)[box];
    return Build(box, builder);
  }

 private:
  BoxSamples<W> Build(int64_t k, BoxSamplesBuilder<W>* builder) const {
    const FeatureMap<const T>& map = maps_[boxes_.map(k)];
    return builder->Build(params_, map,
                          MakeBoxAxes(params_, map, boxes_.coordinates(k)));
  }

  const Params& params_;
  const FeatureMaps<const T> maps_;
  const BoxTable<B>& boxes_;
  std::optional<RawArray<BoxSamples<W>>> table_;
  std::mutex mutex_;
  std::vector<Arena> arenas_;  // what table_ points to
  int64_t most_ = 0;
};

template <typename T, typename B>
void MaxFeatureGradNhwc(const CpuContext& context, const Params& params,
                        const Sizes& sizes, const BoxTable<B>& boxes,
                        const FeatureMaps<const T>& maps, const T* grad_output,
                        const FeatureMaps<T>& grad_maps) {
  using W = Accumulator<T>;
  const CpuKernels<T>& kernels = GetCpuKernels<T>(context.level);
  const BoxSchedule schedule(context.parallel_for, params, sizes, maps, boxes);
  const SampleTable<T, B> table(context.parallel_for, params, maps, boxes,
                                schedule);
  const int64_t channels = sizes.channels;
  const int64_t box_stride =
      params.pooled_height() * params.pooled_width() * channels;
  Winners winners;
  winners.Resize(table.most(), boxes.count() * box_stride);
  context.parallel_for(
      schedule.shares(), UnitCost(schedule.cost() / double(schedule.shares())),
      [&](int64_t begin, int64_t end) {
        BoxSamplesBuilder<W> builder;
        const auto run = [&](const BoxSchedule::Entry& entry,
                             const BoxSchedule::Entry* next) {
          if (!entry.touches_map()) return;
          const FeatureMap<const T>& map = maps[entry.map];
          BoxSamples<W> samples = table.Get(entry.box, &builder);
          samples.ahead.window = WindowAhead(maps, channels, next);
          winners.Find(kernels, samples, ImageOfMap(map, entry.image, channels),
                       map.width * channels, channels, entry.box * box_stride);
        };
        ForEachWithNext(schedule.entries_of_shares(begin, end), run);
      });

  struct Adder {
    void Add(const BoxSchedule::Entry& entry, const Tile& tile,
             int64_t row_stride, W* origin) {
      const int64_t begin = entry.box * box_stride;
      winners.AddGrad(kernels, table.Get(entry.box, &builder), tile,
                      grad_output + begin, channels, row_stride, begin, origin);
    }
    void End(int64_t, W*) {}

    const CpuKernels<T>& kernels;
    const SampleTable<T, B>& table;
    const Winners& winners;
    const T* grad_output;
    int64_t channels;
    int64_t box_stride;
    BoxSamplesBuilder<W> builder = {};
  };
  ForEachTile(context, sizes, schedule, grad_maps, [&] {
    return Adder{kernels, table, winners, grad_output, channels, box_stride};
  });
}

template <typename T, typename B>
void MaxFeatureGradNchw(const CpuContext& context, const Params& params,
                        const Sizes& sizes, const BoxTable<B>& boxes,
                        const FeatureMaps<const T>& maps, const T* grad_output,
                        const FeatureMaps<T>& grad_maps) {
  using W = Accumulator<T>;
  const BoxSchedule schedule(context.parallel_for, params, sizes, maps, boxes);
  const SampleTable<T, B> table(context.parallel_for, params, maps, boxes,
                                schedule);
  const ChannelBlocks blocks(sizes, maps);
  const int64_t bins = params.pooled_height() * params.pooled_width();
  const double unit_cost = blocks.elements() * 3 * kTransposeCost +
                           kNchwCost * schedule.cost() / double(blocks.units());
  context.parallel_for(
      blocks.units(), UnitCost(unit_cost), [&](int64_t begin, int64_t end) {
        BlockScratch<T> features(context, params);
        BlockScratch<T> grads(context, params);
        BoxSamplesBuilder<W> builder;
        Winners winners;
        for (int64_t i = begin; i < end; ++i) {
          const auto [m, n, block] = blocks.unit(i);
          const FeatureMap<const T>& map = maps[m];
          const int64_t channels = block.channels.length();
          const int64_t first = block.channels.begin;
          const int64_t row_stride = map.width * channels;
          W* grad_image = grads.ZeroMap(map.pixels(), channels);
          winners.Resize(table.most(), bins * channels);
          const W* image = nullptr;  // loaded for the first box
          for (const BoxSchedule::Entry& entry : schedule.entries(m, n)) {
            if (!entry.touches_map()) continue;
            if (image == nullptr) {
              image = features.LoadMap(PlanesOf(map, sizes, n, first),
                                       map.pixels(), channels);
            }
            const BoxSamples<W> samples = table.Get(entry.box, &builder);
            winners.Find(grads.kernels, samples, image, row_stride, channels,
                         0);
            const W* upstream = grads.LoadBins(
                BinsOf(grad_output, params, sizes, entry.box, first), channels);
            winners.AddGrad(grads.kernels, samples,
                            {{0, map.height}, {0, map.width}}, upstream,
                            channels, row_stride, 0, grad_image);
          }
          grads.StoreMap(map.pixels(), channels,
                         PlanesOf(grad_maps[m], sizes, n, first), map.pixels());
        }
      });
}

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CPU_MAX_GRAD_H_
