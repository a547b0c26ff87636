// RoIAlign on features [N, C, H, W].

#ifndef TF_ROIALIGN_CC_CORE_CPU_NCHW_H_
#define TF_ROIALIGN_CC_CORE_CPU_NCHW_H_

#include <algorithm>
#include <cstdint>
#include <vector>

#include "cc/core/call/boxes.h"
#include "cc/core/call/feature_maps.h"
#include "cc/core/call/params.h"
#include "cc/core/cpu/aligned_vector.h"
#include "cc/core/cpu/box_pooler.h"
#include "cc/core/cpu/box_schedule.h"
#include "cc/core/cpu/box_table.h"
#include "cc/core/cpu/box_taps.h"
#include "cc/core/cpu/channel_blocks.h"
#include "cc/core/cpu/context.h"
#include "cc/core/cpu/look_ahead.h"
#include "cc/core/cpu/raw_array.h"
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
        pooled_(params.output_size),
        bins_(params.pooled_height() * params.pooled_width()) {
    // Also an empty window has a place: kernels step from it to its channels.
    map_.reserve(1);
  }

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
  // To planes of `plane` pixels.
  void StoreMap(int64_t pixels, int64_t count, T* planes, int64_t plane) {
    layout_.channels_first(map_.data(), pixels, count, {}, planes, plane);
  }

  // A box's bins.
  W* bins(int64_t channels) {
    bins_of_box_.resize(bins_ * channels);
    return bins_of_box_.data();
  }
  const W* LoadBins(const T* grad_output, int64_t channels) {
    return LoadBins(grad_output, channels, {0, pooled_.height});
  }
  // Some rows of bins, in their places.
  const W* LoadBins(const T* grad_output, int64_t channels, const Span& rows) {
    const int64_t first = rows.begin * pooled_.width;
    layout_.channels_last(grad_output + first, bins_, channels,
                          rows.length() * pooled_.width,
                          bins(channels) + first * channels);
    return bins_of_box_.data();
  }
  void StoreBins(int64_t channels, const Requantization<W>& to_codes,
                 T* output) {
    layout_.channels_first(bins_of_box_.data(), bins_, channels, to_codes,
                           output, bins_);
  }

 private:
  const CpuKernels<T>& layout_;

 public:
  const CpuKernels<W>& kernels;
  BoxPooler<T> pooler;

 private:
  const OutputSize pooled_;
  const int64_t bins_;
  AlignedVector<W> map_;
  AlignedVector<W> bins_of_box_;
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

// What a block of channels reads of a box's upstream, which is one piece.
template <typename T>
MemoryAhead BinsAhead(const Params& params, int64_t channels, const T* bins) {
  return {bins, 1,
          params.pooled_height() * params.pooled_width() * channels *
              int64_t(sizeof(T)),
          0};
}

// What LoadWindow will read for a block of channels of a box.
template <typename T>
MemoryAhead PlanesAhead(const FeatureMaps<const T>& maps, const Sizes& sizes,
                        const ChannelBlocks::Block& block,
                        const BoxSchedule::Entry* entry) {
  if (entry == nullptr || !entry->finite) return {};  // it may have no map
  const FeatureMap<const T>& map = maps[entry->map];
  MemoryAhead ahead = WindowAhead(
      PlanesOf(map, sizes, entry->image, block.channels.begin), map.width,
      /*channels=*/1, entry);
  ahead.planes = block.channels.length();
  ahead.plane = map.pixels() * int64_t(sizeof(T));
  return ahead;
}

// As ForEachBlockOfBoxes, where blocks are too few for the threads: these bring
// some of them into the order of channels last together, and then share the
// boxes of these.
template <typename T, typename Visit>
void ForEachBlockInGroups(const CpuContext& context, const Params& params,
                          const Sizes& sizes, const FeatureMaps<const T>& maps,
                          const BoxSchedule& schedule,
                          const ChannelBlocks& blocks, const Visit& visit) {
  using W = Accumulator<T>;
  const CpuKernels<T>& layout = GetCpuKernels<T>(context.level);
  const int64_t units = blocks.units();
  const double block_cost = kNchwCost * schedule.cost() / double(units);
  double all = 0;
  for (const FeatureMap<const T>& map : maps) {
    all += double(sizes.batch) * double(map.pixels()) * double(sizes.channels);
  }
  // Of a group: several blocks, or a larger one.
  RawArray<W> buffer(static_cast<size_t>(std::min(
      all, std::max(kGroupBytes / double(sizeof(W)), blocks.elements()))));
  std::vector<int64_t> place;  // of each block's map in the buffer
  for (int64_t first = 0; first < units; first += int64_t(place.size())) {
    int64_t elements = 0;
    place.clear();
    for (int64_t i = first; i < units; ++i) {
      const auto [m, n, block] = blocks.unit(i);
      const int64_t more = maps[m].pixels() * block.channels.length();
      if (!place.empty() && elements + more > int64_t(buffer.size())) {
        break;
      }
      place.push_back(elements);
      elements += more;
    }
    // Of each block: strips of its map, and parts of its boxes.
    const int64_t count = int64_t(place.size());
    const int64_t parts = kUnitsPerThread * context.threads / count + 1;

    context.parallel_for(
        count * parts,
        UnitCost(double(elements) * kTransposeCost / double(count * parts)),
        [&](int64_t begin, int64_t end) {
          for (int64_t i = begin; i < end; ++i) {
            const auto [m, n, block] = blocks.unit(first + i / parts);
            if (schedule.entries(m, n).empty()) continue;
            const int64_t channels = block.channels.length();
            const Span strip = PartOf(maps[m].pixels(), parts, i % parts);
            layout.channels_last(
                PlanesOf(maps[m], sizes, n, block.channels.begin) + strip.begin,
                maps[m].pixels(), channels, strip.length(),
                &buffer[place[i / parts]] + strip.begin * channels);
          }
        });
    context.parallel_for(
        count * parts, UnitCost(block_cost / double(parts)),
        [&](int64_t begin, int64_t end) {
          BlockScratch<T> scratch(context, params);
          for (int64_t i = begin; i < end; ++i) {
            const ChannelBlocks::Unit unit = blocks.unit(first + i / parts);
            const W* const image = &buffer[place[i / parts]];
            ForEachWithNext(
                schedule.entries(unit.map, unit.image).part(parts, i % parts),
                [&](const BoxSchedule::Entry& entry,
                    const BoxSchedule::Entry* next) {
                  if (!entry.finite) return;
                  visit(scratch, entry, next, {}, image,
                        maps[unit.map].width * unit.block.channels.length(),
                        unit.block);
                });
          }
        });
  }
}

// Calls visit(scratch, entry, next, {}, image, row_stride, block) for every box
// and channel block, the block's features channels last. `next`: the entry that
// reads the same image next, if there is one. Boxes that are not finite are
// left out.
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
          const auto run = [&](const BoxSchedule::Entry& entry,
                               const BoxSchedule::Entry* next) {
            if (!entry.finite) return;
            const FeatureMap<const T>& map = maps[entry.map];
            const int64_t count = blocks.count(entry.map);
            for (int64_t i = 0; i < count; ++i) {
              const auto block = blocks.block(entry.map, i);
              const int64_t channels = block.channels.length();
              const auto* window = scratch.LoadWindow(
                  PlanesOf(map, sizes, entry.image, block.channels.begin), map,
                  channels, {entry.rows, entry.columns});
              const MemoryAhead ahead =
                  i + 1 < count
                      ? PlanesAhead(maps, sizes, blocks.block(entry.map, i + 1),
                                    &entry)
                      : PlanesAhead(maps, sizes, blocks.block(entry.map, 0),
                                    next);
              visit(scratch, entry, next, ahead, window,
                    entry.columns.length() * channels, block);
            }
          };
          ForEachWithNext(schedule.entries_of_shares(begin, end), run);
        });
    return;
  }
  if (blocks.units() < kUnitsPerThread * context.threads) {
    ForEachBlockInGroups<T>(context, params, sizes, maps, schedule, blocks,
                            visit);
    return;
  }
  const double unit_cost = blocks.elements() * kTransposeCost +
                           kNchwCost * schedule.cost() / double(blocks.units());
  context.parallel_for(
      blocks.units(), UnitCost(unit_cost), [&](int64_t begin, int64_t end) {
        BlockScratch<T> scratch(context, params);
        for (int64_t i = begin; i < end; ++i) {
          const ChannelBlocks::Unit unit = blocks.unit(i);
          if (schedule.entries(unit.map, unit.image).empty()) continue;
          const FeatureMap<const T>& map = maps[unit.map];
          const int64_t channels = unit.block.channels.length();
          const auto* image = scratch.LoadMap(
              PlanesOf(map, sizes, unit.image, unit.block.channels.begin),
              map.pixels(), channels);
          ForEachWithNext(schedule.entries(unit.map, unit.image),
                          [&](const BoxSchedule::Entry& entry,
                              const BoxSchedule::Entry* next) {
                            if (!entry.finite) return;
                            visit(scratch, entry, next, {}, image,
                                  map.width * channels, unit.block);
                          });
        }
      });
}

template <typename T, typename B>
void ForwardNchw(const CpuContext& context, const Params& params,
                 const Sizes& sizes, const BoxTable<B>& boxes,
                 const Fillers<T>& fillers, const FeatureMaps<const T>& maps,
                 T* output) {
  using W = Accumulator<T>;
  const BoxSchedule schedule(context.parallel_for, params, sizes, maps, boxes);
  for (int64_t k = 0; k < boxes.count(); ++k) {
    const BoxSchedule::Entry& entry = schedule.entry(k);
    if (entry.finite) continue;
    std::fill(BinsOf(output, params, sizes, entry.box, 0),
              BinsOf(output, params, sizes, entry.box + 1, 0),
              fillers.no_meaning);
  }
  ForEachBlockOfBoxes<T>(
      context, params, sizes, maps, schedule, ChannelBlocks(sizes, maps),
      [&](BlockScratch<T>& scratch, const BoxSchedule::Entry& entry,
          const BoxSchedule::Entry*, const MemoryAhead& ahead, const W* image,
          int64_t row_stride, const ChannelBlocks::Block& block) {
        const FeatureMap<const T>& map = maps[entry.map];
        const int64_t channels = block.channels.length();
        const BoxAxes<B> axes =
            MakeBoxAxes(params, map, boxes.coordinates(entry.box));
        const Requantization<W> to_codes =
            fillers.quantization.OfBins(SamplesPerBin<W>(axes));
        scratch.pooler.Forward(scratch.kernels, map, axes, image, row_stride,
                               channels, to_codes, /*stream=*/false,
                               scratch.bins(channels), {ahead, {}});
        scratch.StoreBins(
            channels, to_codes,
            BinsOf(output, params, sizes, entry.box, block.channels.begin));
      });
}

template <typename T, typename B, typename Products>
void FeatureGradNchw(const CpuContext& context, const Params& params,
                     const Sizes& sizes, const BoxTable<B>& boxes,
                     const T* grad_output, const FeatureMaps<T>& maps,
                     const Products& products) {
  using W = Accumulator<T>;
  const BoxSchedule schedule(context.parallel_for, params, sizes, maps, boxes);
  using Table = TapTable<T, B, Products>;
  const Table table(context.parallel_for, params, maps, boxes, schedule,
                    products);
  const ChannelBlocks blocks(sizes, maps);
  // Where there are more threads than blocks, each block is cut into bands.
  const int64_t bands =
      std::max<int64_t>(1, kUnitsPerThread * context.threads /
                               std::max<int64_t>(blocks.units(), 1));
  const double unit_cost =
      (blocks.elements() * 2 * kTransposeCost +
       kNchwCost * schedule.cost() / double(blocks.units())) /
      double(bands);
  context.parallel_for(
      blocks.units() * bands, UnitCost(unit_cost),
      [&](int64_t begin, int64_t end) {
        BlockScratch<T> scratch(context, params);
        typename Table::Reader taps(table);
        AlignedVector<W> summed(params.pooled_width() * blocks.widest());
        for (int64_t i = begin; i < end; ++i) {
          const ChannelBlocks::Unit unit = blocks.unit(i / bands);
          const FeatureMap<T>& map = maps[unit.map];
          const int64_t channels = unit.block.channels.length();
          const Tile band = {PartOf(map.height, bands, i % bands),
                             {0, map.width}};
          if (band.rows.empty()) continue;
          const int64_t row_stride = map.width * channels;
          const int64_t pixels = band.rows.length() * map.width;
          W* const part_of_map = scratch.ZeroMap(pixels, channels);
          W* const origin =
              OriginOfMap(part_of_map, band, row_stride, channels);
          const auto add = [&](const BoxSchedule::Entry& entry,
                               const BoxSchedule::Entry* next) {
            if (!entry.touches_map() || !Overlap(entry.rows, band.rows)) {
              return;
            }
            const W* upstream = nullptr;
            for (int product = 0; product < Table::kProducts; ++product) {
              TilePart<W> part =
                  MakeTilePart<W>(taps.Get(entry.box, product), nullptr, band);
              // All products have the same pixels.
              if (part.rows.empty() || part.columns.empty()) break;
              if (upstream == nullptr) {
                upstream = scratch.LoadBins(
                    BinsOf(grad_output, params, sizes, entry.box,
                           unit.block.channels.begin),
                    channels, BinsWithin(part.taps.y, part.rows));
              }
              part.grad_output = upstream;
              if (next != nullptr) {
                part.ahead =
                    BinsAhead(params, channels,
                              BinsOf(grad_output, params, sizes, next->box,
                                     unit.block.channels.begin));
              }
              scratch.kernels.feature_grad(part, nullptr, channels, row_stride,
                                           origin, summed.data());
            }
          };
          ForEachWithNext(schedule.entries(unit.map, unit.image), add);
          scratch.StoreMap(
              pixels, channels,
              PlanesOf(map, sizes, unit.image, unit.block.channels.begin) +
                  band.rows.begin * map.width,
              map.pixels());
        }
      });
}

// The sum over channel blocks, each block's part in a place of its own, so that
// it does not depend on who computes which.
template <typename T, typename B>
void BoxGradNchw(const CpuContext& context, const Params& params,
                 const Sizes& sizes, const BoxTable<B>& boxes,
                 const FeatureMaps<const T>& maps, const T* grad_output,
                 B* grad_boxes) {
  using W = Accumulator<T>;
  const BoxSchedule schedule(context.parallel_for, params, sizes, maps, boxes);
  const ChannelBlocks blocks(sizes, maps);
  const int64_t box_parts = blocks.most() * kCoordinates;
  RawArray<double> parts(boxes.count() * box_parts);
  ForEachBlockOfBoxes<T>(
      context, params, sizes, maps, schedule, blocks,
      [&](BlockScratch<T>& scratch, const BoxSchedule::Entry& entry,
          const BoxSchedule::Entry* next, const MemoryAhead& window_ahead,
          const W* image, int64_t row_stride,
          const ChannelBlocks::Block& block) {
        const FeatureMap<const T>& map = maps[entry.map];
        const int64_t channels = block.channels.length();
        BoxAhead ahead = {window_ahead, {}};
        if (next != nullptr) {
          ahead.upstream = BinsAhead(params, channels,
                                     BinsOf(grad_output, params, sizes,
                                            next->box, block.channels.begin));
        }
        const W* upstream = scratch.LoadBins(
            BinsOf(grad_output, params, sizes, entry.box, block.channels.begin),
            channels);
        scratch.pooler.BoxGrad(
            scratch.kernels, map,
            MakeBoxAxes(params, map, boxes.coordinates(entry.box)), upstream,
            image, row_stride, channels,
            &parts[entry.box * box_parts + block.index * kCoordinates], ahead);
      });
  context.parallel_for(
      boxes.count(), UnitCost(kPartCost * double(box_parts)),
      [&](int64_t begin, int64_t end) {
        for (int64_t k = begin; k < end; ++k) {
          const BoxSchedule::Entry& entry = schedule.entry(k);
          double grad[kCoordinates] = {};
          const int64_t count = blocks.count(entry.map) * kCoordinates;
          for (int64_t i = 0; i < count; ++i) {
            grad[i % kCoordinates] +=
                entry.finite ? parts[k * box_parts + i] : NaN<double>();
          }
          WriteBoxGrad(grad, boxes.columns(), k, grad_boxes);
        }
      });
}

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CPU_NCHW_H_
