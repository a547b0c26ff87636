// RoIAlign on features [N, H, W, C]: the kernels' own layout.

#ifndef TF_ROIALIGN_CC_CORE_CPU_NHWC_H_
#define TF_ROIALIGN_CC_CORE_CPU_NHWC_H_

#include <algorithm>
#include <cstdint>
#include <vector>

#include "cc/core/call/feature_maps.h"
#include "cc/core/call/params.h"
#include "cc/core/cpu/aligned_vector.h"
#include "cc/core/cpu/box_schedule.h"
#include "cc/core/cpu/box_table.h"
#include "cc/core/cpu/box_taps.h"
#include "cc/core/cpu/context.h"
#include "cc/core/cpu/simd/kernels.h"
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

template <typename T, typename B>
void ForwardNhwc(const CpuContext& context, const Params& params,
                 const Sizes& sizes, const BoxTable<B>& boxes,
                 const Fillers<T>& fillers, const FeatureMaps<const T>& maps,
                 T* output) {
  using W = Accumulator<T>;
  const CpuKernels<T>& kernels = GetCpuKernels<T>(context.level);
  const BoxSchedule schedule(params, sizes, maps, boxes);
  const int64_t channels = sizes.channels;
  const int64_t box_stride =
      params.pooled_height() * params.pooled_width() * channels;
  const bool stream =
      StreamingPays(output, boxes.count() * box_stride, channels);
  context.parallel_for(
      schedule.shares(), UnitCost(schedule.share_cost()),
      [&](int64_t begin, int64_t end) {
        BoxTapsBuilder<W> builder;
        for (auto* entry = schedule.share_begin(begin);
             entry != schedule.share_begin(end); ++entry) {
          T* out = output + entry->box * box_stride;
          if (!entry->finite) {
            std::fill_n(out, box_stride, fillers.no_meaning);
            continue;
          }
          const FeatureMap<const T>& map = maps[entry->map];
          const BoxAxes<B> axes =
              MakeBoxAxes(params, map, boxes.coordinates(entry->box));
          kernels.forward(builder.template BuildFor<T>(params, map, axes),
                          ImageOfMap(map, entry->image, channels),
                          map.width * channels, channels,
                          fillers.quantization.OfBins(SamplesPerBin<W>(axes)),
                          stream, out);
        }
        if (stream) kernels.stream_fence();
      });
}

template <typename T, typename B>
void FeatureGradNhwc(const CpuContext& context, const Params& params,
                     const Sizes& sizes, const BoxTable<B>& boxes,
                     const T* grad_output, const FeatureMaps<T>& maps) {
  using W = Accumulator<T>;
  const CpuKernels<T>& kernels = GetCpuKernels<T>(context.level);
  const BoxSchedule schedule(params, sizes, maps, boxes);
  const TapTable<T, B> table(context.parallel_for, params, maps, boxes,
                             schedule);
  const int64_t channels = sizes.channels;
  const Tiling tiling(sizes.batch, maps, channels * int64_t(sizeof(W)));
  const int64_t box_stride =
      params.pooled_height() * params.pooled_width() * channels;
  const double tile_cost =
      double(tiling.pixels()) * double(channels) * kClearCost +
      kGradCost * schedule.cost() / double(tiling.count());

  context.parallel_for(
      tiling.count(), UnitCost(tile_cost), [&](int64_t begin, int64_t end) {
        typename TapTable<T, B>::Reader taps(table);
        AlignedVector<W> summed(params.pooled_width() *
                                std::min(channels, kMaxBlockChannels));
        AlignedVector<W> part_of_map(tiling.pixels() * channels);
        std::vector<const BoxSchedule::Entry*> in_rows;  // of this row of tiles
        std::vector<TilePart<T>> parts;
        bool streamed = false;
        for (int64_t i = begin; i < end; ++i) {
          const Tiling::Unit unit = tiling.unit(i);
          const Tile& tile = unit.tile;
          const FeatureMap<T>& map = maps[unit.map];
          const int64_t row_stride = tile.columns.length() * channels;
          if (i == begin || tile.columns.begin == 0) {
            in_rows.clear();
            for (auto* entry = schedule.begin(unit.map, unit.image);
                 entry != schedule.end(unit.map, unit.image); ++entry) {
              if (Overlap(entry->rows, tile.rows)) in_rows.push_back(entry);
            }
          }

          std::fill_n(part_of_map.data(), tile.rows.length() * row_stride,
                      W(0));
          W* const origin =
              OriginOfMap(part_of_map.data(), tile, row_stride, channels);
          const auto add = [&](const TilePart<T>& part,
                               const TilePart<T>* next) {
            kernels.feature_grad(part, next, channels, row_stride, origin,
                                 summed.data());
          };
          parts.clear();
          for (const BoxSchedule::Entry* entry : in_rows) {
            if (!Overlap(entry->columns, tile.columns)) continue;
            const TilePart<T> part =
                MakeTilePart(taps.Get(entry->box),
                             grad_output + entry->box * box_stride, tile);
            if (part.rows.empty() || part.columns.empty()) continue;
            if (table.is_kept()) {
              parts.push_back(part);
            } else {
              add(part, nullptr);
            }
          }
          for (size_t j = 0; j < parts.size(); ++j) {
            add(parts[j], j + 1 < parts.size() ? &parts[j + 1] : nullptr);
          }

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

template <typename T, typename B>
void BoxGradNhwc(const CpuContext& context, const Params& params,
                 const Sizes& sizes, const BoxTable<B>& boxes,
                 const FeatureMaps<const T>& maps, const T* grad_output,
                 std::vector<double>* grads) {
  using W = Accumulator<T>;
  const CpuKernels<T>& kernels = GetCpuKernels<T>(context.level);
  const BoxSchedule schedule(params, sizes, maps, boxes);
  const int64_t channels = sizes.channels;
  const int64_t box_stride =
      params.pooled_height() * params.pooled_width() * channels;
  context.parallel_for(
      schedule.shares(), UnitCost(kGradCost * schedule.share_cost()),
      [&](int64_t begin, int64_t end) {
        BoxTapsBuilder<W> builder;
        for (auto* entry = schedule.share_begin(begin);
             entry != schedule.share_begin(end); ++entry) {
          if (!entry->finite) continue;
          const FeatureMap<const T>& map = maps[entry->map];
          const BoxAxes<B> axes =
              MakeBoxAxes(params, map, boxes.coordinates(entry->box));
          kernels.box_grad(builder.BuildWithSlopes(params, map, axes),
                           grad_output + entry->box * box_stride,
                           ImageOfMap(map, entry->image, channels),
                           map.width * channels, channels,
                           &(*grads)[entry->box * kCoordinates]);
        }
      });
}

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CPU_NHWC_H_
