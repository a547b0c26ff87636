// RoIAlign on features [N, H, W, C]: the kernels' own layout.

#ifndef TF_ROIALIGN_CC_CORE_CPU_NHWC_H_
#define TF_ROIALIGN_CC_CORE_CPU_NHWC_H_

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
#include "cc/core/cpu/context.h"
#include "cc/core/cpu/look_ahead.h"
#include "cc/core/cpu/raw_array.h"
#include "cc/core/cpu/simd/kernels.h"
#include "cc/core/cpu/sweep.h"
#include "cc/core/cpu/tap_table.h"
#include "cc/core/cpu/tiling.h"
#include "cc/core/cpu/tuning.h"
#include "cc/core/cpu/window.h"
#include "cc/core/dtypes/fillers.h"

namespace tf_roialign {

// Whether a tensor of `count` elements, which is only written, is stored past
// the caches: if it is too large to be read again from there.
template <typename T>
bool StreamingPays(const T* tensor, int64_t count, int64_t channels) {
  return count >= kStreamBytes / int64_t(sizeof(T)) &&
         channels * sizeof(T) % kStreamAlignment == 0 &&
         reinterpret_cast<uintptr_t>(tensor) % kStreamAlignment == 0;
}

// The features of an image.
template <typename T>
T* ImageOfMap(const FeatureMap<T>& map, int64_t image, int64_t channels) {
  return map.data + image * map.pixels() * channels;
}

// The blocks of channels [begin, end) of a strip.
struct StripSweep {
  const SweepStrip* strip;
  Span blocks;

  Span channels(int64_t of_map) const {
    return {blocks.begin * kSweepChannels,
            std::min(blocks.end * kSweepChannels, of_map)};
  }
};

// For the units [begin, end) of a schedule: calls sweep(StripSweep) once for
// each strip among them, and visit(entries) for all shares.
template <typename RunSweep, typename Visit>
void ForEachUnit(const BoxSchedule& schedule, int64_t begin, int64_t end,
                 const RunSweep& sweep, const Visit& visit) {
  const int64_t blocks = schedule.channel_blocks();
  const int64_t sweeps = schedule.sweeps(), swept = std::min(end, sweeps);
  for (int64_t unit = begin, stop; unit < swept; unit = stop) {
    const int64_t strip = unit / blocks, first = strip * blocks;
    stop = std::min(swept, first + blocks);
    sweep(StripSweep{&schedule.strip(strip), {unit - first, stop - first}});
  }
  if (end <= sweeps) return;
  visit(schedule.entries_of_shares(std::max(begin - sweeps, INT64_C(0)),
                                   end - sweeps));
}

// Calls run(i, entry, axes, rows of bins) for the boxes that have bins in a
// strip. `i`: a box's number among those that are swept.
template <typename T, typename B, typename Run>
void ForEachBoxOf(const SweepStrip& strip, const BoxSchedule& schedule,
                  const Params& params, const FeatureMap<T>& map,
                  const BoxTable<B>& boxes, const Run& run) {
  for (int64_t i = strip.boxes.begin; i < strip.boxes.end; ++i) {
    const BoxSchedule::Entry& entry = schedule.swept_entry(i);
    if (!Overlap(entry.rows, strip.rows)) continue;
    const BoxAxes<B> axes =
        MakeBoxAxes(params, map, boxes.coordinates(entry.box));
    const Span bin_rows =
        BinRowsIn(strip.rows, axes.y, params.pooled_height(), entry.rows);
    if (!bin_rows.empty()) run(i, entry, axes, bin_rows);
  }
}

template <typename T, typename B>
void ForwardNhwc(const CpuContext& context, const Params& params,
                 const Sizes& sizes, const BoxTable<B>& boxes,
                 const Fillers<T>& fillers, const FeatureMaps<const T>& maps,
                 T* output) {
  using W = Accumulator<T>;
  const CpuKernels<T>& kernels = GetCpuKernels<T>(context.level);
  const BoxSchedule schedule(context.parallel_for, params, sizes, maps, boxes,
                             context.threads);
  const int64_t channels = sizes.channels;
  const int64_t box_stride =
      params.pooled_height() * params.pooled_width() * channels;
  const bool stream =
      StreamingPays(output, boxes.count() * box_stride, channels);
  const auto to_codes = [&](const BoxAxes<B>& axes) {
    return fillers.quantization.OfBins(SamplesPerBin<W>(axes));
  };
  context.parallel_for(
      schedule.units(), UnitCost(schedule.unit_cost()),
      [&](int64_t begin, int64_t end) {
        const auto run_sweep = [&](const StripSweep& part) {
          const SweepStrip& strip = *part.strip;
          const FeatureMap<const T>& map = maps[strip.map];
          Sweep<T, ForwardVisitor<T>> sweep(
              {kernels, stream, channels},
              ImageOfMap(map, strip.image, channels), map.width, channels,
              part.channels(channels));
          BoxTapsBuilder<W> builder;
          ForEachBoxOf(
              strip, schedule, params, map, boxes,
              [&](int64_t, const BoxSchedule::Entry& entry,
                  const BoxAxes<B>& axes, const Span& bin_rows) {
                const BoxTaps<W> taps =
                    builder.template BuildFor<T>(params, map, axes, bin_rows);
                sweep.Add(bin_rows, taps, &builder,
                          {to_codes(axes), output + entry.box * box_stride});
              });
          sweep.Run();
        };
        const auto visit = [&](const BoxSchedule::Range& entries) {
          BoxPooler<T> pooler(params);
          ForEachWithNext(entries, [&](const BoxSchedule::Entry& entry,
                                       const BoxSchedule::Entry* next) {
            T* out = output + entry.box * box_stride;
            if (!entry.finite) {
              std::fill_n(out, box_stride, fillers.no_meaning);
              return;
            }
            const FeatureMap<const T>& map = maps[entry.map];
            const BoxAxes<B> axes =
                MakeBoxAxes(params, map, boxes.coordinates(entry.box));
            BoxAhead ahead;
            ahead.window = WindowAhead(maps, channels, next);
            pooler.Forward(kernels, map, axes,
                           ImageOfMap(map, entry.image, channels),
                           map.width * channels, channels, to_codes(axes),
                           stream, out, ahead);
          });
        };
        ForEachUnit(schedule, begin, end, run_sweep, visit);
        if (stream) kernels.stream_fence();
      });
}

// The gradient of maps tile by tile. `make_adder()` is called once for each
// thread; what it returns has Add(entry, tile, row_stride, origin of the map),
// which is called for the boxes that may touch a tile, in the schedule's order,
// and End(row_stride, origin) for after the last of them.
template <typename T, typename MakeAdder>
void ForEachTile(const CpuContext& context, const Sizes& sizes,
                 const BoxSchedule& schedule, const FeatureMaps<T>& maps,
                 const MakeAdder& make_adder) {
  using W = Accumulator<T>;
  const CpuKernels<T>& kernels = GetCpuKernels<T>(context.level);
  const int64_t channels = sizes.channels;
  const Tiling tiling(sizes.batch, maps, channels * int64_t(sizeof(W)),
                      context.threads);
  const double tile_cost =
      double(tiling.pixels()) * double(channels) * kClearCost +
      kGradCost * schedule.cost() / double(tiling.count());

  context.parallel_for(
      tiling.count(), UnitCost(tile_cost), [&](int64_t begin, int64_t end) {
        auto adder = make_adder();
        AlignedVector<W> part_of_map(tiling.pixels() * channels);
        std::vector<const BoxSchedule::Entry*> in_rows;  // of this row of tiles
        bool streamed = false;
        for (int64_t i = begin; i < end; ++i) {
          const Tiling::Unit unit = tiling.unit(i);
          const Tile& tile = unit.tile;
          const FeatureMap<T>& map = maps[unit.map];
          const int64_t row_stride = tile.columns.length() * channels;
          if (i == begin || tile.columns.begin == 0) {
            in_rows.clear();
            for (const BoxSchedule::Entry& entry :
                 schedule.entries(unit.map, unit.image)) {
              if (Overlap(entry.rows, tile.rows)) in_rows.push_back(&entry);
            }
          }

          std::fill_n(part_of_map.data(), tile.rows.length() * row_stride,
                      W(0));
          W* const origin =
              OriginOfMap(part_of_map.data(), tile, row_stride, channels);
          for (const BoxSchedule::Entry* entry : in_rows) {
            if (!Overlap(entry->columns, tile.columns)) continue;
            adder.Add(*entry, tile, row_stride, origin);
          }
          adder.End(row_stride, origin);

          const bool stream = StreamingPays(
              map.data, sizes.batch * map.pixels() * channels, channels);
          streamed |= stream;
          T* const image = ImageOfMap(map, unit.image, channels);
          for (int64_t y = tile.rows.begin; y < tile.rows.end; ++y) {
            const int64_t pixel = y * map.width + tile.columns.begin;
            kernels.pack(
                part_of_map.data() + (y - tile.rows.begin) * row_stride,
                row_stride, stream, image + pixel * channels);
          }
        }
        if (streamed) kernels.stream_fence();
      });
}

// Adds boxes to tiles, for ForEachTile.
template <typename T, typename Table>
class TileAdder {
 public:
  using W = Accumulator<T>;

  TileAdder(const CpuKernels<T>& kernels, const Params& params,
            const Sizes& sizes, const Table& table, const T* grad_output)
      : kernels_(kernels),
        channels_(sizes.channels),
        box_stride_(params.pooled_height() * params.pooled_width() *
                    sizes.channels),
        table_(table),
        grad_output_(grad_output),
        taps_(table),
        summed_(params.pooled_width() *
                std::min(sizes.channels, kMaxBlockChannels)) {}

  void Add(const BoxSchedule::Entry& entry, const Tile& tile,
           int64_t row_stride, W* origin) {
    for (int i = 0; i < Table::kProducts; ++i) {
      const TilePart<T> part =
          MakeTilePart(taps_.Get(entry.box, i),
                       grad_output_ + entry.box * box_stride_, tile);
      if (part.rows.empty() || part.columns.empty()) continue;
      if (table_.is_kept()) {
        if (parts_.size() == kTilePartsHeld) RunAllButLast(row_stride, origin);
        parts_.push_back(part);
      } else {
        Run(part, nullptr, row_stride, origin);
      }
    }
  }

  void End(int64_t row_stride, W* origin) {
    if (parts_.empty()) return;
    RunAllButLast(row_stride, origin);
    Run(parts_.back(), nullptr, row_stride, origin);
    parts_.clear();
  }

 private:
  void RunAllButLast(int64_t row_stride, W* origin) {
    for (size_t i = 0; i + 1 < parts_.size(); ++i) {
      const TilePart<T>& next = parts_[i + 1];
      parts_[i].ahead = UpstreamOf(next, channels_);
      Run(parts_[i], &next, row_stride, origin);
    }
    parts_.erase(parts_.begin(), parts_.end() - 1);
  }
  void Run(const TilePart<T>& part, const TilePart<T>* next, int64_t row_stride,
           W* origin) {
    kernels_.feature_grad(part, next, channels_, row_stride, origin,
                          summed_.data());
  }

  const CpuKernels<T>& kernels_;
  const int64_t channels_;
  const int64_t box_stride_;
  const Table& table_;
  const T* grad_output_;
  typename Table::Reader taps_;
  AlignedVector<W> summed_;
  std::vector<TilePart<T>> parts_;
};

template <typename T, typename B, typename Products>
void FeatureGradNhwc(const CpuContext& context, const Params& params,
                     const Sizes& sizes, const BoxTable<B>& boxes,
                     const T* grad_output, const FeatureMaps<T>& maps,
                     const Products& products) {
  const BoxSchedule schedule(context.parallel_for, params, sizes, maps, boxes);
  using Table = TapTable<T, B, Products>;
  const Table table(context.parallel_for, params, maps, boxes, schedule,
                    products);
  ForEachTile(context, sizes, schedule, maps, [&] {
    return TileAdder<T, Table>(GetCpuKernels<T>(context.level), params, sizes,
                               table, grad_output);
  });
}

template <typename T, typename B>
void BoxGradNhwc(const CpuContext& context, const Params& params,
                 const Sizes& sizes, const BoxTable<B>& boxes,
                 const FeatureMaps<const T>& maps, const T* grad_output,
                 B* grad_boxes) {
  using W = Accumulator<T>;
  const CpuKernels<T>& kernels = GetCpuKernels<T>(context.level);
  const BoxSchedule schedule(context.parallel_for, params, sizes, maps, boxes,
                             context.threads);
  const int64_t channels = sizes.channels;
  const int64_t box_stride =
      params.pooled_height() * params.pooled_width() * channels;
  // Of swept boxes, by box, block of channels, row of bins and coordinate.
  const int64_t block_sums = params.pooled_height() * kCoordinates;
  const int64_t box_sums = schedule.channel_blocks() * block_sums;
  RawArray<double> sums(schedule.swept() * box_sums);
  context.parallel_for(
      schedule.units(), UnitCost(kGradCost * schedule.unit_cost()),
      [&](int64_t begin, int64_t end) {
        const auto run_sweep = [&](const StripSweep& part) {
          const SweepStrip& strip = *part.strip;
          const FeatureMap<const T>& map = maps[strip.map];
          Sweep<T, BoxGradVisitor<T>> sweep(
              {kernels, channels}, ImageOfMap(map, strip.image, channels),
              map.width, channels, part.channels(channels));
          BoxTapsBuilder<W> builder;
          ForEachBoxOf(
              strip, schedule, params, map, boxes,
              [&](int64_t i, const BoxSchedule::Entry& entry,
                  const BoxAxes<B>& axes, const Span& bin_rows) {
                double* const of_box = &sums[i * box_sums];
                for (int64_t b = part.blocks.begin; b < part.blocks.end; ++b) {
                  std::fill_n(
                      of_box + b * block_sums + bin_rows.begin * kCoordinates,
                      bin_rows.length() * kCoordinates, 0.0);
                }
                const BoxTaps<W> taps =
                    builder.BuildWithSlopes(params, map, axes, bin_rows);
                sweep.Add(bin_rows, taps, &builder,
                          {grad_output + entry.box * box_stride, of_box});
              });
          sweep.Run();
        };
        const auto visit = [&](const BoxSchedule::Range& entries) {
          BoxPooler<T> pooler(params);
          ForEachWithNext(entries, [&](const BoxSchedule::Entry& entry,
                                       const BoxSchedule::Entry* next) {
            double grad[kCoordinates] = {};
            if (!entry.finite) {
              std::fill_n(grad, kCoordinates, NaN<double>());
              WriteBoxGrad(grad, boxes.columns(), entry.box, grad_boxes);
              return;
            }
            const FeatureMap<const T>& map = maps[entry.map];
            const BoxAxes<B> axes =
                MakeBoxAxes(params, map, boxes.coordinates(entry.box));
            BoxAhead ahead;
            ahead.window = WindowAhead(maps, channels, next);
            if (next != nullptr) {
              ahead.upstream = {grad_output + next->box * box_stride, 1,
                                box_stride * int64_t(sizeof(T)), 0};
            }
            pooler.BoxGrad(kernels, map, axes,
                           grad_output + entry.box * box_stride,
                           ImageOfMap(map, entry.image, channels),
                           map.width * channels, channels, grad, ahead);
            WriteBoxGrad(grad, boxes.columns(), entry.box, grad_boxes);
          });
        };
        ForEachUnit(schedule, begin, end, run_sweep, visit);
      });
  if (schedule.swept() == 0) return;
  context.parallel_for(schedule.swept(), UnitCost(kPartCost * double(box_sums)),
                       [&](int64_t begin, int64_t end) {
                         for (int64_t i = begin; i < end; ++i) {
                           double grad[kCoordinates] = {};
                           for (int64_t s = 0; s < box_sums; ++s) {
                             grad[s % kCoordinates] += sums[i * box_sums + s];
                           }
                           WriteBoxGrad(grad, boxes.columns(),
                                        schedule.swept_entry(i).box,
                                        grad_boxes);
                         }
                       });
}

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CPU_NHWC_H_
