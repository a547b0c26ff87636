// Before a feature gradient: which pixels each box may touch, and the boxes of
// each image of each map together, in the order given. No atomics: the same
// every time.

#ifndef TF_ROIALIGN_CC_CORE_CUDA_KERNELS_BOX_ORDER_H_
#define TF_ROIALIGN_CC_CORE_CUDA_KERNELS_BOX_ORDER_H_

#include <cstdint>

#include "cc/core/base/span.h"
#include "cc/core/cuda/kernels/problem.h"
#include "cc/core/cuda/platform/portable.h"
#include "cc/core/cuda/tuning.h"
#include "cc/core/geometry/touched_pixels.h"

namespace tf_roialign {
namespace cuda {

// All pixels that a box may touch, half-open; none if a range is empty.
struct alignas(16) BoxPixels {
  int y_begin;
  int y_end;
  int x_begin;
  int x_end;
};

// [begin, end) of a group's boxes in the order by group.
struct alignas(16) BoxRange {
  int64_t begin;
  int64_t end;
};

// The images of all maps, one after the other, are what boxes are grouped by.
TF_ROIALIGN_HOST_DEVICE_INLINE int64_t GroupOf(const Problem& problem, int map,
                                               int64_t image) {
  return map * problem.batch + image;
}

// One thread per box: its group (-1: none, it has no meaning) and its pixels.
struct FindBoxPixels {
  static constexpr int kThreads = kBlockThreads;
  static constexpr int kMinBlocks = 0;

  Problem problem;
  int* groups;
  BoxPixels* pixels;
  int64_t first_unit;

  TF_ROIALIGN_DEVICE void operator()() const {
    const int64_t k = (first_unit + BlockIndex()) * kThreads + ThreadIndex();
    if (k >= problem.boxes) return;
    if (problem.boxes_are_double) {
      Find<double>(k);
    } else {
      Find<float>(k);
    }
  }

 private:
  template <typename B>
  TF_ROIALIGN_DEVICE void Find(int64_t k) const {
    const BoxOnMap box(problem, k);
    const int64_t image = box.MeaningfulImageAs<B>();
    groups[k] = -1;
    pixels[k] = {0, 0, 0, 0};
    if (image < 0) return;
    const AxisOnMap<B, int> y = box.AxisY<B>();
    const AxisOnMap<B, int> x = box.AxisX<B>();
    const Span rows = TouchedPixels(y.axis, y.pooled, y.length);
    const Span columns = TouchedPixels(x.axis, x.pooled, x.length);
    groups[k] = static_cast<int>(GroupOf(problem, box.map_index(), image));
    pixels[k] = {static_cast<int>(rows.begin), static_cast<int>(rows.end),
                 static_cast<int>(columns.begin),
                 static_cast<int>(columns.end)};
  }
};

// One block per group: counts the boxes of earlier groups, then moves its own
// to the place behind them. Boxes without meaning are left out.
struct GroupBoxes {
  static constexpr int kThreads = kGroupingThreads;
  static constexpr int kMinBlocks = 0;
  static constexpr int kWarps = kThreads / kWarp;

  int64_t boxes;
  const int* groups;
  const BoxPixels* pixels;
  int* order;
  BoxPixels* ordered_pixels;
  BoxRange* ranges;
  int64_t first_unit;

  static int SharedBytes() { return 2 * SharedPieces::Bytes<int>(kWarps); }

  TF_ROIALIGN_DEVICE void operator()() const {
    const int group = static_cast<int>(first_unit + BlockIndex());
    const int warp = ThreadIndex() / kWarp, lane = ThreadIndex() % kWarp;
    SharedPieces shared;
    int* counts = shared.Take<int>(kWarps);
    int* earlier_counts = shared.Take<int>(kWarps);

    int earlier = 0;  // counted by lane 0 of each warp
    for (int64_t base = 0; base < boxes; base += kThreads) {
      const int64_t k = base + ThreadIndex();
      const int other = k < boxes ? groups[k] : -1;
      earlier += CountBits(Ballot(other >= 0 && other < group));
    }
    if (lane == 0) earlier_counts[warp] = earlier;
    SyncThreads();
    int64_t place = 0;
    for (int i = 0; i < kWarps; ++i) place += earlier_counts[i];

    const int64_t begin = place;
    for (int64_t base = 0; base < boxes; base += kThreads) {
      const int64_t k = base + ThreadIndex();
      const bool belongs = k < boxes && groups[k] == group;
      const uint32_t bits = Ballot(belongs);
      if (lane == 0) counts[warp] = CountBits(bits);
      SyncThreads();
      int before = 0, all = 0;
      for (int i = 0; i < kWarps; ++i) {
        if (i < warp) before += counts[i];
        all += counts[i];
      }
      if (belongs) {
        const int64_t to =
            place + before + CountBits(bits & ((uint32_t(1) << lane) - 1));
        order[to] = static_cast<int>(k);
        ordered_pixels[to] = pixels[k];
      }
      place += all;
      // The next counts go where nobody reads any more since the barrier.
      int* const read = counts;
      counts = earlier_counts;
      earlier_counts = read;
    }
    if (ThreadIndex() == 0) ranges[group] = {begin, place};
  }
};

}  // namespace cuda
}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CUDA_KERNELS_BOX_ORDER_H_
