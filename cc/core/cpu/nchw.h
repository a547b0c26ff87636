// RoIAlign on features [N, C, H, W].

#ifndef TF_ROIALIGN_CC_CORE_CPU_NCHW_H_
#define TF_ROIALIGN_CC_CORE_CPU_NCHW_H_

#include <algorithm>
#include <cstdint>
#include <vector>

#include "cc/core/call/feature_maps.h"
#include "cc/core/call/params.h"
#include "cc/core/cpu/aligned_vector.h"
#include "cc/core/cpu/box_pooler.h"
#include "cc/core/cpu/box_schedule.h"
#include "cc/core/cpu/box_table.h"
#include "cc/core/cpu/box_taps.h"
#include "cc/core/cpu/channel_blocks.h"
#include "cc/core/cpu/context.h"
#include "cc/core/cpu/simd/kernels.h"
#include "cc/core/cpu/tap_table.h"
#include "cc/core/cpu/tiling.h"
#include "cc/core/cpu/tuning.h"
#include "cc/core/cpu/window.h"
#include "cc/core/dtypes/fillers.h"

namespace tf_roialign {

// A thread's scratch for NCHW.
template <typename T>
class BlockScratch {
 public:
  using W = Accumulator<T>;

  BlockScratch(const CpuContext& context, const Params& params)
      : layout_(GetCpuKernels<T>(context.level)),
        kernels(GetCpuKernels<W>(context.level)),
        pooler(params),
        bins_(params.pooled_height() * params.pooled_width()) {}

  // `count` planes of `pixels`, channels last.
  const W* LoadMap(const T* planes, int64_t pixels, int64_t count) {
    map_.resize(pixels * count);
    layout_.channels_last(planes, pixels, count, pixels, map_.data());
    return map_.data();
  }

  // A window of them, as if there were more; rows are as wide as the window.
  template <typename Map>
  const W* LoadWindow(const T* planes, const Map& map, int64_t count,
                      const Tile& window) {
    const int64_t width = window.columns.length();
    const int64_t row_stride = width * count;
    map_.resize(window.rows.length() * row_stride);
    for (int64_t y = window.rows.begin; y < window.rows.end; ++y) {
      layout_.channels_last(planes + y * map.width + window.columns.begin,
                            map.pixels(), count, width,
                            map_.data() + (y - window.rows.begin) * row_stride);
    }
    return OriginOfMap(map_.data(), window, row_stride, count);
  }

  // Zeros in the map's place.
  W* ZeroMap(int64_t pixels, int64_t count) {
    map_.assign(pixels * count, W(0));
    return map_.data();
  }
  void StoreMap(int64_t pixels, int64_t count, T* planes) {
    layout_.channels_first(map_.data(), pixels, count, {}, planes, pixels);
  }

  // A box's bins.
  W* bins(int64_t channels) {
    pooled_.resize(bins_ * channels);
    return pooled_.data();
  }
  const W* LoadBins(const T* grad_output, int64_t channels) {
    layout_.channels_last(grad_output, bins_, channels, bins_, bins(channels));
    return pooled_.data();
  }
  void StoreBins(int64_t channels, const Requantization<W>& to_codes,
                 T* output) {
    layout_.channels_first(pooled_.data(), bins_, channels, to_codes, output,
                           bins_);
  }

 private:
  const CpuKernels<T>& layout_;

 public:
  const CpuKernels<W>& kernels;
  BoxPooler<T> pooler;

 private:
  int64_t bins_;
  AlignedVector<W> map_;
  AlignedVector<W> pooled_;
};

// Where a block of channels starts in the planes of an image, and in the bins
// of a box.
template <typename T>
T* PlanesOf(const FeatureMap<T>& map, const Sizes& sizes, int64_t image,
            int64_t channel) {
  return map.data + (image * sizes.channels + channel) * map.pixels();
}
template <typename T>
T* BinsOf(T* pooled, const Params& params, const Sizes& sizes, int64_t box,
          int64_t channel) {
  return pooled + (box * sizes.channels + channel) * params.pooled_height() *
                      params.pooled_width();
}

// Calls visit(scratch, entry, image, row_stride, block) for every box and
// channel block, the block's features channels last. Boxes that are not finite
// are left out.
template <typename T, typename Visit>
void ForEachBlockOfBoxes(const CpuContext& context, const Params& params,
                         const Sizes& sizes, const FeatureMaps<const T>& maps,
                         const BoxSchedule& schedule,
                         const ChannelBlocks& blocks, const Visit& visit) {
  double pixels = 0;
  for (const FeatureMap<const T>& map : maps) {
    pixels += double(sizes.batch) * double(map.pixels());
  }
  const double windows = schedule.window_pixels();
  // Whichever moves less: each box's window, or each map once.
  if (windows < kWindowsPay * pixels) {
    const double cost = kNchwCost * schedule.cost() +
                        windows * double(sizes.channels) * kTransposeCost;
    context.parallel_for(
        schedule.shares(), UnitCost(cost / double(schedule.shares())),
        [&](int64_t begin, int64_t end) {
          BlockScratch<T> scratch(context, params);
          for (auto* entry = schedule.share_begin(begin);
               entry != schedule.share_begin(end); ++entry) {
            if (!entry->finite) continue;
            const FeatureMap<const T>& map = maps[entry->map];
            for (int64_t i = 0; i < blocks.count(entry->map); ++i) {
              const auto block = blocks.block(entry->map, i);
              const int64_t channels = block.channels.length();
              const auto* window = scratch.LoadWindow(
                  PlanesOf(map, sizes, entry->image, block.channels.begin), map,
                  channels, {entry->rows, entry->columns});
              visit(scratch, *entry, window, entry->columns.length() * channels,
                    block);
            }
          }
        });
    return;
  }
  const double unit_cost = blocks.elements() * kTransposeCost +
                           kNchwCost * schedule.cost() / double(blocks.units());
  context.parallel_for(
      blocks.units(), UnitCost(unit_cost), [&](int64_t begin, int64_t end) {
        BlockScratch<T> scratch(context, params);
        for (int64_t i = begin; i < end; ++i) {
          const auto [m, n, block] = blocks.unit(i);
          if (schedule.begin(m, n) == schedule.end(m, n)) continue;
          const FeatureMap<const T>& map = maps[m];
          const int64_t channels = block.channels.length();
          const auto* image =
              scratch.LoadMap(PlanesOf(map, sizes, n, block.channels.begin),
                              map.pixels(), channels);
          for (auto* entry = schedule.begin(m, n); entry != schedule.end(m, n);
               ++entry) {
            if (!entry->finite) continue;
            visit(scratch, *entry, image, map.width * channels, block);
          }
        }
      });
}

template <typename T, typename B>
void ForwardNchw(const CpuContext& context, const Params& params,
                 const Sizes& sizes, const BoxTable<B>& boxes,
                 const Fillers<T>& fillers, const FeatureMaps<const T>& maps,
                 T* output) {
  using W = Accumulator<T>;
  const BoxSchedule schedule(params, sizes, maps, boxes);
  for (const BoxSchedule::Entry& entry : schedule.entries()) {
    if (entry.finite) continue;
    std::fill(BinsOf(output, params, sizes, entry.box, 0),
              BinsOf(output, params, sizes, entry.box + 1, 0),
              fillers.no_meaning);
  }
  ForEachBlockOfBoxes<T>(
      context, params, sizes, maps, schedule, ChannelBlocks(sizes, maps),
      [&](BlockScratch<T>& scratch, const BoxSchedule::Entry& entry,
          const W* image, int64_t row_stride,
          const ChannelBlocks::Block& block) {
        const FeatureMap<const T>& map = maps[entry.map];
        const int64_t channels = block.channels.length();
        const BoxAxes<B> axes =
            MakeBoxAxes(params, map, boxes.coordinates(entry.box));
        const Requantization<W> to_codes =
            fillers.quantization.OfBins(SamplesPerBin<W>(axes));
        scratch.pooler.Forward(scratch.kernels, map, axes, image, row_stride,
                               channels, to_codes, /*stream=*/false,
                               scratch.bins(channels));
        scratch.StoreBins(
            channels, to_codes,
            BinsOf(output, params, sizes, entry.box, block.channels.begin));
      });
}

template <typename T, typename B>
void FeatureGradNchw(const CpuContext& context, const Params& params,
                     const Sizes& sizes, const BoxTable<B>& boxes,
                     const T* grad_output, const FeatureMaps<T>& maps) {
  using W = Accumulator<T>;
  const BoxSchedule schedule(params, sizes, maps, boxes);
  const TapTable<T, B> table(context.parallel_for, params, maps, boxes,
                             schedule);
  const ChannelBlocks blocks(sizes, maps);
  const double unit_cost = blocks.elements() * 2 * kTransposeCost +
                           kNchwCost * schedule.cost() / double(blocks.units());
  context.parallel_for(
      blocks.units(), UnitCost(unit_cost), [&](int64_t begin, int64_t end) {
        BlockScratch<T> scratch(context, params);
        typename TapTable<T, B>::Reader taps(table);
        AlignedVector<W> summed(params.pooled_width() * blocks.widest());
        for (int64_t i = begin; i < end; ++i) {
          const auto [m, n, block] = blocks.unit(i);
          const FeatureMap<T>& map = maps[m];
          const int64_t channels = block.channels.length();
          W* image = scratch.ZeroMap(map.pixels(), channels);
          for (auto* entry = schedule.begin(m, n); entry != schedule.end(m, n);
               ++entry) {
            if (!entry->touches_map()) continue;
            const W* upstream =
                scratch.LoadBins(BinsOf(grad_output, params, sizes, entry->box,
                                        block.channels.begin),
                                 channels);
            scratch.kernels.feature_grad(
                MakeTilePart(taps.Get(entry->box), upstream,
                             {{0, map.height}, {0, map.width}}),
                nullptr, channels, map.width * channels, image, summed.data());
          }
          scratch.StoreMap(map.pixels(), channels,
                           PlanesOf(map, sizes, n, block.channels.begin));
        }
      });
}

// The sum over channel blocks, each block's part in a place of its own, so that
// it does not depend on who computes which.
template <typename T, typename B>
void BoxGradNchw(const CpuContext& context, const Params& params,
                 const Sizes& sizes, const BoxTable<B>& boxes,
                 const FeatureMaps<const T>& maps, const T* grad_output,
                 std::vector<double>* grads) {
  using W = Accumulator<T>;
  const BoxSchedule schedule(params, sizes, maps, boxes);
  const ChannelBlocks blocks(sizes, maps);
  const int64_t box_parts = blocks.most() * kCoordinates;
  std::vector<double> parts(boxes.count() * box_parts, 0.0);
  ForEachBlockOfBoxes<T>(
      context, params, sizes, maps, schedule, blocks,
      [&](BlockScratch<T>& scratch, const BoxSchedule::Entry& entry,
          const W* image, int64_t row_stride,
          const ChannelBlocks::Block& block) {
        const FeatureMap<const T>& map = maps[entry.map];
        const int64_t channels = block.channels.length();
        const W* upstream = scratch.LoadBins(
            BinsOf(grad_output, params, sizes, entry.box, block.channels.begin),
            channels);
        scratch.pooler.BoxGrad(
            scratch.kernels, map,
            MakeBoxAxes(params, map, boxes.coordinates(entry.box)), upstream,
            image, row_stride, channels,
            &parts[entry.box * box_parts + block.index * kCoordinates]);
      });
  for (int64_t k = 0; k < boxes.count(); ++k) {
    for (int64_t i = 0; i < box_parts; ++i) {
      (*grads)[k * kCoordinates + i % kCoordinates] += parts[k * box_parts + i];
    }
  }
}

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CPU_NCHW_H_
