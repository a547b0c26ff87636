// RoIAlign on features [N, H, W, C]: the kernels' own layout.

#ifndef TF_ROIALIGN_CC_CORE_CPU_NHWC_H_
#define TF_ROIALIGN_CC_CORE_CPU_NHWC_H_

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

// Whether a tensor of `count` elements, which is only written, is stored past
// the caches: if it is too large to be read again from there.
template <typename T>
bool StreamingPays(const T* tensor, int64_t count, int64_t channels) {
  constexpr int64_t kMinBytes = 8 << 20;
  return count >= kMinBytes / int64_t(sizeof(T)) &&
         channels * sizeof(T) % kStreamAlignment == 0 &&
         reinterpret_cast<uintptr_t>(tensor) % kStreamAlignment == 0;
}

template <typename T, typename B>
void ForwardNhwc(const CpuContext& context, const Params& params,
                 const Sizes& sizes, const BoxTable<B>& boxes,
                 const Fillers<T>& fillers, const T* features, T* output) {
  using W = Accumulator<T>;
  const CpuKernels<T>& kernels = GetCpuKernels<T>(context.level);
  const BoxSchedule schedule(params, sizes, boxes);
  const int64_t row_stride = sizes.width * sizes.channels;
  const int64_t box_stride =
      params.pooled_height * params.pooled_width * sizes.channels;
  const bool stream =
      StreamingPays(output, boxes.count * box_stride, sizes.channels);
  context.parallel_for(
      schedule.shares(), UnitCost(schedule.share_cost()),
      [&](int64_t first, int64_t last) {
        BoxTapsBuilder<W> builder;
        for (auto* entry = schedule.share_begin(first);
             entry != schedule.share_begin(last); ++entry) {
          T* out = output + entry->box * box_stride;
          if (!entry->finite) {
            std::fill_n(out, box_stride, fillers.no_meaning);
            continue;
          }
          const BoxAxes<B> axes =
              MakeBoxAxes(params, boxes.coordinates(entry->box));
          kernels.forward(builder.template BuildFor<T>(params, sizes, axes),
                          features + entry->image * sizes.height * row_stride,
                          row_stride, sizes.channels,
                          fillers.quantization.OfBins(SamplesPerBin<W>(axes)),
                          stream, out);
        }
        if (stream) kernels.stream_fence();
      });
}

template <typename T, typename B>
void FeatureGradNhwc(const CpuContext& context, const Params& params,
                     const Sizes& sizes, const BoxTable<B>& boxes,
                     const T* grad_output, T* grad_features) {
  using W = Accumulator<T>;
  const CpuKernels<T>& kernels = GetCpuKernels<T>(context.level);
  const BoxSchedule schedule(params, sizes, boxes);
  const TapTable<W, B> table(context.parallel_for, params, sizes, boxes,
                             schedule);
  const Tiling tiling(sizes, sizes.channels * int64_t(sizeof(W)));
  const int64_t channels = sizes.channels;
  const int64_t box_stride =
      params.pooled_height * params.pooled_width * channels;
  const double tile_cost = double(tiling.pixels()) * double(channels) / 8 +
                           1.5 * schedule.cost() / double(tiling.count());
  const bool stream = StreamingPays(
      grad_features, sizes.batch * sizes.height * sizes.width * channels,
      channels);

  context.parallel_for(
      tiling.count(), UnitCost(tile_cost), [&](int64_t first, int64_t last) {
        typename TapTable<W, B>::Reader taps(table);
        AlignedVector<W> summed(params.pooled_width *
                                std::min(channels, kMaxBlockChannels));
        AlignedVector<W> map(tiling.pixels() * channels);
        std::vector<const BoxSchedule::Entry*> in_rows;  // of this row of tiles
        std::vector<TilePart<T>> parts;
        for (int64_t unit = first; unit < last; ++unit) {
          const int64_t image = tiling.image(unit);
          const Tile tile = tiling.tile(unit);
          const int64_t row_stride = tile.columns.length() * channels;
          if (unit == first || tile.columns.first == 0) {
            in_rows.clear();
            for (auto* entry = schedule.begin(image);
                 entry != schedule.end(image); ++entry) {
              if (Overlap(entry->rows, tile.rows)) in_rows.push_back(entry);
            }
          }

          std::fill_n(map.data(), tile.rows.length() * row_stride, W(0));
          // As an integer: the address may lie outside the buffer.
          W* const map_origin = reinterpret_cast<W*>(
              reinterpret_cast<uintptr_t>(map.data()) -
              (tile.rows.first * row_stride + tile.columns.first * channels) *
                  sizeof(W));
          const auto add = [&](const TilePart<T>& part,
                               const TilePart<T>* next) {
            kernels.feature_grad(part, next, channels, row_stride, map_origin,
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
          for (size_t i = 0; i < parts.size(); ++i) {
            add(parts[i], i + 1 < parts.size() ? &parts[i + 1] : nullptr);
          }

          for (int64_t y = tile.rows.first; y < tile.rows.last; ++y) {
            const int64_t pixel =
                (image * sizes.height + y) * sizes.width + tile.columns.first;
            kernels.pack(map.data() + (y - tile.rows.first) * row_stride,
                         row_stride, stream, grad_features + pixel * channels);
          }
        }
        if (stream) kernels.stream_fence();
      });
}

template <typename T, typename B>
void BoxGradNhwc(const CpuContext& context, const Params& params,
                 const Sizes& sizes, const BoxTable<B>& boxes,
                 const T* features, const T* grad_output,
                 std::vector<double>* grads) {
  using W = Accumulator<T>;
  const CpuKernels<T>& kernels = GetCpuKernels<T>(context.level);
  const BoxSchedule schedule(params, sizes, boxes);
  const int64_t row_stride = sizes.width * sizes.channels;
  const int64_t box_stride =
      params.pooled_height * params.pooled_width * sizes.channels;
  context.parallel_for(
      schedule.shares(), UnitCost(1.5 * schedule.share_cost()),
      [&](int64_t first, int64_t last) {
        BoxTapsBuilder<W> builder;
        for (auto* entry = schedule.share_begin(first);
             entry != schedule.share_begin(last); ++entry) {
          if (!entry->finite) continue;
          const BoxAxes<B> axes =
              MakeBoxAxes(params, boxes.coordinates(entry->box));
          kernels.box_grad(builder.BuildWithSlopes(params, sizes, axes),
                           grad_output + entry->box * box_stride,
                           features + entry->image * sizes.height * row_stride,
                           row_stride, sizes.channels,
                           &(*grads)[entry->box * 4]);
        }
      });
}

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CPU_NHWC_H_
