// RoIAlign on features [N, C, H, W].

#ifndef TF_ROIALIGN_CC_CORE_CPU_NCHW_H_
#define TF_ROIALIGN_CC_CORE_CPU_NCHW_H_

#include <algorithm>
#include <cstdint>
#include <vector>

#include "cc/core/cpu/aligned_vector.h"
#include "cc/core/cpu/box_schedule.h"
#include "cc/core/cpu/box_taps.h"
#include "cc/core/call/boxes.h"
#include "cc/core/cpu/simd/kernels.h"
#include "cc/core/dtypes/fillers.h"
#include "cc/core/call/params.h"
#include "cc/core/cpu/roi_align_cpu.h"
#include "cc/core/cpu/tiling.h"

namespace tf_roialign {

// NCHW has no vectors over channels. So a block of channels is brought into the
// order of NHWC, as accumulators, run through the same kernels and brought
// back. Blocks are wide enough to fill vectors, and the map of one stays in
// cache.
struct ChannelBlocks {
  explicit ChannelBlocks(const Sizes& sizes)
      : channels(sizes.channels),
        width(sizes.height * sizes.width <= kSmallPlane ? kMaxWidth
                                                        : kMaxWidth / 2),
        per_image((sizes.channels + width - 1) / width),
        count(sizes.batch * per_image) {}

  // The blocks of all images are what owners share out.
  int64_t image(int64_t unit) const { return unit / per_image; }
  int64_t first(int64_t unit) const { return unit % per_image * width; }
  int64_t size(int64_t unit) const {
    return std::min(width, channels - first(unit));
  }

  static constexpr int64_t kMaxWidth = 64;
  static constexpr int64_t kSmallPlane = 1 << 14;

  int64_t channels;
  int64_t width;
  int64_t per_image;
  int64_t count;
};

// A thread's scratch for NCHW.
template <typename T>
class BlockScratch {
 public:
  using W = Accumulator<T>;

  BlockScratch(const CpuContext& context, const Params& params,
               const Sizes& sizes)
      : layout_(GetCpuKernels<T>(context.level)),
        kernels(GetCpuKernels<W>(context.level)),
        plane_(sizes.height * sizes.width),
        width_(sizes.width),
        bins_(params.pooled_height * params.pooled_width) {}

  // The whole map of `channels` planes, channels last.
  const W* LoadMap(const T* planes, int64_t channels) {
    map_.resize(plane_ * channels);
    layout_.channels_last(planes, plane_, channels, plane_, map_.data());
    return map_.data();
  }

  // A window of it. Returns where the map's pixel (0, 0) would be, were there
  // more than the window; `row_stride` is the window's.
  const W* LoadWindow(const T* planes, int64_t channels,
                      const BoxSchedule::Entry& entry, int64_t* row_stride) {
    const int64_t width = entry.columns.length();
    *row_stride = width * channels;
    map_.resize(entry.rows.length() * *row_stride);
    for (int64_t y = entry.rows.first; y < entry.rows.last; ++y) {
      layout_.channels_last(planes + y * width_ + entry.columns.first, plane_,
                            channels, width,
                            map_.data() + (y - entry.rows.first) * *row_stride);
    }
    // As an integer: the address may lie outside the buffer.
    return reinterpret_cast<const W*>(
        reinterpret_cast<uintptr_t>(map_.data()) -
        (entry.rows.first * *row_stride + entry.columns.first * channels) *
            sizeof(W));
  }

  // Zeros in the map's place.
  W* ZeroMap(int64_t channels) {
    map_.assign(plane_ * channels, W(0));
    return map_.data();
  }
  void StoreMap(int64_t channels, T* planes) {
    layout_.channels_first(map_.data(), plane_, channels, {}, planes, plane_);
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
  BoxTapsBuilder<W> taps;

 private:
  int64_t plane_;
  int64_t width_;
  int64_t bins_;
  AlignedVector<W> map_;
  AlignedVector<W> pooled_;
};

// Calls visit(scratch, entry, image, row_stride, channel, channels) for every
// box and channel block, the block's features channels last. Boxes that are
// not finite are left out.
template <typename T, typename B, typename Visit>
void ForEachBlockOfBoxes(const CpuContext& context, const Params& params,
                         const Sizes& sizes, const BoxTable<B>& boxes,
                         const T* features, const Visit& visit) {
  const BoxSchedule schedule(params, sizes, boxes);
  const ChannelBlocks blocks(sizes);
  const int64_t plane = sizes.height * sizes.width;
  const double windows = schedule.window_pixels();
  // Whichever moves less: each box's window, or each map once.
  if (windows < 0.5 * double(sizes.batch) * double(plane)) {
    const double cost =
        3 * schedule.cost() + windows * double(sizes.channels) / 4;
    context.parallel_for(
        schedule.shares(), UnitCost(cost / double(schedule.shares())),
        [&](int64_t first, int64_t last) {
          BlockScratch<T> scratch(context, params, sizes);
          for (auto* entry = schedule.share_begin(first);
               entry != schedule.share_begin(last); ++entry) {
            if (!entry->finite) continue;
            for (int64_t unit = entry->image * blocks.per_image;
                 unit < (entry->image + 1) * blocks.per_image; ++unit) {
              const int64_t channel = blocks.first(unit);
              int64_t row_stride = 0;
              const auto* window = scratch.LoadWindow(
                  features + (entry->image * sizes.channels + channel) * plane,
                  blocks.size(unit), *entry, &row_stride);
              visit(scratch, *entry, window, row_stride, channel,
                    blocks.size(unit));
            }
          }
        });
    return;
  }
  const double unit_cost = double(blocks.width) * double(plane) / 4 +
                           3 * schedule.cost() / double(blocks.count);
  context.parallel_for(
      blocks.count, UnitCost(unit_cost), [&](int64_t first, int64_t last) {
        BlockScratch<T> scratch(context, params, sizes);
        for (int64_t unit = first; unit < last; ++unit) {
          const int64_t n = blocks.image(unit), channel = blocks.first(unit);
          if (schedule.begin(n) == schedule.end(n)) continue;
          const auto* map =
              scratch.LoadMap(features + (n * sizes.channels + channel) * plane,
                              blocks.size(unit));
          for (auto* entry = schedule.begin(n); entry != schedule.end(n);
               ++entry) {
            if (!entry->finite) continue;
            visit(scratch, *entry, map, sizes.width * blocks.size(unit),
                  channel, blocks.size(unit));
          }
        }
      });
}

template <typename T, typename B>
void ForwardNchw(const CpuContext& context, const Params& params,
                 const Sizes& sizes, const BoxTable<B>& boxes,
                 const Fillers<T>& fillers, const T* features, T* output) {
  using W = Accumulator<T>;
  const int64_t bins = params.pooled_height * params.pooled_width;
  for (int64_t k = 0; k < boxes.count; ++k) {
    if (!MakeBoxAxes(params, boxes.coordinates(k)).finite()) {
      std::fill_n(output + k * sizes.channels * bins, sizes.channels * bins,
                  fillers.no_meaning);
    }
  }
  ForEachBlockOfBoxes<T>(
      context, params, sizes, boxes, features,
      [&](BlockScratch<T>& scratch, const BoxSchedule::Entry& entry,
          const W* image, int64_t row_stride, int64_t channel,
          int64_t channels) {
        const BoxAxes<B> axes =
            MakeBoxAxes(params, boxes.coordinates(entry.box));
        const Requantization<W> to_codes =
            fillers.quantization.OfBins(SamplesPerBin<W>(axes));
        scratch.kernels.forward(
            scratch.taps.template BuildFor<T>(params, sizes, axes), image,
            row_stride, channels, to_codes, /*stream=*/false,
            scratch.bins(channels));
        scratch.StoreBins(
            channels, to_codes,
            output + (entry.box * sizes.channels + channel) * bins);
      });
}

template <typename T, typename B>
void FeatureGradNchw(const CpuContext& context, const Params& params,
                     const Sizes& sizes, const BoxTable<B>& boxes,
                     const T* grad_output, T* grad_features) {
  using W = Accumulator<T>;
  const BoxSchedule schedule(params, sizes, boxes);
  const TapTable<W, B> table(context.parallel_for, params, sizes, boxes,
                             schedule);
  const ChannelBlocks blocks(sizes);
  const int64_t plane = sizes.height * sizes.width;
  const int64_t bins = params.pooled_height * params.pooled_width;
  const double unit_cost = double(blocks.width) * double(plane) / 2 +
                           3 * schedule.cost() / double(blocks.count);
  context.parallel_for(
      blocks.count, UnitCost(unit_cost), [&](int64_t first, int64_t last) {
        BlockScratch<T> scratch(context, params, sizes);
        typename TapTable<W, B>::Reader taps(table);
        AlignedVector<W> summed(params.pooled_width * blocks.width);
        for (int64_t unit = first; unit < last; ++unit) {
          const int64_t n = blocks.image(unit), channel = blocks.first(unit);
          const int64_t channels = blocks.size(unit);
          W* map = scratch.ZeroMap(channels);
          for (auto* entry = schedule.begin(n); entry != schedule.end(n);
               ++entry) {
            if (!entry->touches_map()) continue;
            const W* upstream = scratch.LoadBins(
                grad_output + (entry->box * sizes.channels + channel) * bins,
                channels);
            scratch.kernels.feature_grad(
                MakeTilePart(taps.Get(entry->box), upstream,
                             {{0, sizes.height}, {0, sizes.width}}),
                nullptr, channels, sizes.width * channels, map, summed.data());
          }
          scratch.StoreMap(
              channels, grad_features + (n * sizes.channels + channel) * plane);
        }
      });
}

// The sum over channel blocks, each block's part in a place of its own, so that
// it does not depend on who computes which.
template <typename T, typename B>
void BoxGradNchw(const CpuContext& context, const Params& params,
                 const Sizes& sizes, const BoxTable<B>& boxes,
                 const T* features, const T* grad_output,
                 std::vector<double>* grads) {
  using W = Accumulator<T>;
  const int64_t bins = params.pooled_height * params.pooled_width;
  const ChannelBlocks blocks(sizes);
  std::vector<double> parts(boxes.count * blocks.per_image * 4, 0.0);
  ForEachBlockOfBoxes<T>(
      context, params, sizes, boxes, features,
      [&](BlockScratch<T>& scratch, const BoxSchedule::Entry& entry,
          const W* image, int64_t row_stride, int64_t channel,
          int64_t channels) {
        const BoxTaps<W> taps = scratch.taps.BuildWithSlopes(
            params, sizes, MakeBoxAxes(params, boxes.coordinates(entry.box)));
        const W* upstream = scratch.LoadBins(
            grad_output + (entry.box * sizes.channels + channel) * bins,
            channels);
        scratch.kernels.box_grad(
            taps, upstream, image, row_stride, channels,
            &parts[(entry.box * blocks.per_image + channel / blocks.width) *
                   4]);
      });
  for (int64_t k = 0; k < boxes.count; ++k) {
    for (int64_t i = 0; i < blocks.per_image * 4; ++i) {
      (*grads)[k * 4 + i % 4] += parts[k * blocks.per_image * 4 + i];
    }
  }
}

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CPU_NCHW_H_
