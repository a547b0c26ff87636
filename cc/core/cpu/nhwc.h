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

// What a thread does for some shares of a schedule: swept boxes go through a
// part of the channels, and each other box is visited with one of the parts.
struct Visit {
  int64_t part;
  int64_t parts;
  Span channels;
  BoxSchedule::Range entries;

  bool takes(const BoxSchedule::Entry& entry) const {
    return entry.is_swept || entry.box % parts == part;
  }
};

// Calls run(Visit) for the units [begin, end) of a schedule. Shares of the same
// part are visited together.
template <typename Run>
void ForEachVisit(const BoxSchedule& schedule, int64_t channels, int64_t begin,
                  int64_t end, const Run& run) {
  const int64_t shares = schedule.shares(), parts = schedule.channel_parts();
  for (int64_t unit = begin, stop; unit < end; unit = stop) {
    const int64_t part = unit / shares, first = part * shares;
    stop = std::min(end, first + shares);
    Span some = {0, channels};
    if (parts > 1) {
      some.begin = part * kSweepChannels;
      some.end = std::min(some.begin + kSweepChannels, channels);
    }
    run(Visit{part, parts, some,
              schedule.entries_of_shares(unit - first, stop - first)});
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
  context.parallel_for(
      schedule.units(), UnitCost(schedule.unit_cost()),
      [&](int64_t begin, int64_t end) {
        BoxPooler<T> pooler(params);
        BoxTapsBuilder<W> builder;
        const auto run = [&](const Visit& visit) {
          Sweep<T, ForwardVisitor<T>> sweep({kernels, stream, channels},
                                            channels, visit.channels);
          const auto run_box = [&](const BoxSchedule::Entry& entry,
                                   const BoxSchedule::Entry* next) {
            if (!visit.takes(entry)) return;
            T* out = output + entry.box * box_stride;
            if (!entry.finite) {
              std::fill_n(out, box_stride, fillers.no_meaning);
              return;
            }
            const FeatureMap<const T>& map = maps[entry.map];
            const BoxAxes<B> axes =
                MakeBoxAxes(params, map, boxes.coordinates(entry.box));
            const T* image = ImageOfMap(map, entry.image, channels);
            const int64_t row_stride = map.width * channels;
            const Requantization<W> to_codes =
                fillers.quantization.OfBins(SamplesPerBin<W>(axes));
            BoxAhead ahead;
            ahead.window = WindowAhead(maps, channels, next);
            if (entry.is_swept) {
              const BoxTaps<W> taps =
                  builder.template BuildFor<T>(params, map, axes);
              sweep.Add(image, row_stride, taps, &builder, {to_codes, out});
            } else {
              pooler.Forward(kernels, map, axes, image, row_stride, channels,
                             to_codes, stream, out, ahead);
            }
          };
          ForEachWithNext(visit.entries, run_box);
          sweep.Run();
        };
        ForEachVisit(schedule, channels, begin, end, run);
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
  const int64_t parts = schedule.channel_parts();
  // Of swept boxes, by box and part of the channels.
  RawArray<double> sums(parts > 1 ? boxes.count() * parts * kCoordinates : 0);
  context.parallel_for(
      schedule.units(), UnitCost(kGradCost * schedule.unit_cost()),
      [&](int64_t begin, int64_t end) {
        BoxPooler<T> pooler(params);
        BoxTapsBuilder<W> builder;
        const auto run = [&](const Visit& visit) {
          const auto finish = [&](int64_t box, const double* grad) {
            if (parts == 1) {
              WriteBoxGrad(grad, boxes.columns(), box, grad_boxes);
            } else {
              std::copy_n(grad, kCoordinates,
                          &sums[(box * parts + visit.part) * kCoordinates]);
            }
          };
          Sweep<T, BoxGradVisitor<T, decltype(finish)>> sweep(
              {kernels, channels, finish}, channels, visit.channels);
          const auto run_box = [&](const BoxSchedule::Entry& entry,
                                   const BoxSchedule::Entry* next) {
            if (!visit.takes(entry)) return;
            double grad[kCoordinates] = {};
            if (!entry.finite) {
              std::fill_n(grad, kCoordinates, NaN<double>());
              WriteBoxGrad(grad, boxes.columns(), entry.box, grad_boxes);
              return;
            }
            const FeatureMap<const T>& map = maps[entry.map];
            const BoxAxes<B> axes =
                MakeBoxAxes(params, map, boxes.coordinates(entry.box));
            const T* upstream = grad_output + entry.box * box_stride;
            const T* image = ImageOfMap(map, entry.image, channels);
            const int64_t row_stride = map.width * channels;
            BoxAhead ahead;
            ahead.window = WindowAhead(maps, channels, next);
            if (next != nullptr) {
              ahead.upstream = {grad_output + next->box * box_stride, 1,
                                box_stride * int64_t(sizeof(T)), 0};
            }
            if (entry.is_swept) {
              const BoxTaps<W> taps =
                  builder.BuildWithSlopes(params, map, axes);
              sweep.Add(image, row_stride, taps, &builder,
                        {entry.box, upstream});
            } else {
              pooler.BoxGrad(kernels, map, axes, upstream, image, row_stride,
                             channels, grad, ahead);
              WriteBoxGrad(grad, boxes.columns(), entry.box, grad_boxes);
            }
          };
          ForEachWithNext(visit.entries, run_box);
          sweep.Run();
        };
        ForEachVisit(schedule, channels, begin, end, run);
      });
  if (parts == 1) return;
  const int64_t box_sums = parts * kCoordinates;
  context.parallel_for(boxes.count(), UnitCost(kPartCost * double(box_sums)),
                       [&](int64_t begin, int64_t end) {
                         for (int64_t k = begin; k < end; ++k) {
                           if (!schedule.entry(k).is_swept) continue;
                           double grad[kCoordinates] = {};
                           for (int64_t i = 0; i < box_sums; ++i) {
                             grad[i % kCoordinates] += sums[k * box_sums + i];
                           }
                           WriteBoxGrad(grad, boxes.columns(), k, grad_boxes);
                         }
                       });
}

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CPU_NHWC_H_
