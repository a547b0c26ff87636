// Before a feature gradient: which pixels each box may touch, and the boxes of
// each image together, in the order given. No atomics: the same every time.

#ifndef TF_ROIALIGN_CC_CORE_CUDA_BOX_ORDER_H_
#define TF_ROIALIGN_CC_CORE_CUDA_BOX_ORDER_H_

#include <cstdint>

#include "cc/core/cuda/portable.h"
#include "cc/core/cuda/problem.h"

namespace tf_roialign {
namespace gpu {

// A box and all pixels that it may touch, bounds included; none if y0 > y1.
struct alignas(16) BoxSpan {
  int y0;
  int y1;
  int x0;
  int x1;
};

// [begin, end) of an image's boxes in the order by image.
struct alignas(16) BoxRange {
  int64_t begin;
  int64_t end;
};

// The pixels that an axis may touch. Rounding moves a sample by no more than a
// few units in the last place of the box's own coordinates.
template <typename B>
TF_ROIALIGN_DEVICE void AxisSpan(const Axis<B>& axis, int pooled, int length,
                                 int* first, int* last) {
  *first = 0;
  *last = -1;
  if (axis.grid <= 0) return;
  const B end = axis.start + axis.bin * B(pooled);
  const B low = Min(axis.start, end), high = Max(axis.start, end);
  const B margin =
      B(2) + Max(-low, high) * (sizeof(B) == 4 ? B(1e-5f) : B(1e-14));
  if (low - margin > B(length) || high + margin < B(-1)) return;
  *first = static_cast<int>(Max(low - margin, B(0)));
  *last = static_cast<int>(Min(high + margin, B(length - 1)));
}

// One thread per box: its image (-1: none, it has no meaning) and its span.
struct FindBoxSpans {
  static constexpr int kThreads = 128;
  static constexpr int kMinBlocks = 0;

  Problem problem;
  int* images;
  BoxSpan* spans;
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
    const Axis<B> y = BoxAxisY<B>(problem, k), x = BoxAxisX<B>(problem, k);
    const int64_t image = y.finite && x.finite ? BoxImage<B>(problem, k) : -1;
    BoxSpan span = {0, -1, 0, -1};
    if (image >= 0) {
      AxisSpan(y, problem.pooled_height, problem.height, &span.y0, &span.y1);
      AxisSpan(x, problem.pooled_width, problem.width, &span.x0, &span.x1);
    }
    images[k] = static_cast<int>(image);
    spans[k] = span;
  }
};

// One block per image: counts the boxes of earlier images, then moves its own
// to the place behind them. Boxes without meaning are left out.
struct GroupBoxes {
  static constexpr int kThreads = 256;
  static constexpr int kMinBlocks = 0;
  static constexpr int kWarps = kThreads / kWarp;

  int64_t boxes;
  const int* images;
  const BoxSpan* spans;
  int* order;
  BoxSpan* ordered_spans;
  BoxRange* ranges;
  int64_t first_unit;

  static int SharedBytes() { return 2 * SharedPieces::Bytes<int>(kWarps); }

  TF_ROIALIGN_DEVICE void operator()() const {
    const int image = static_cast<int>(first_unit + BlockIndex());
    const int warp = ThreadIndex() / kWarp, lane = ThreadIndex() % kWarp;
    SharedPieces shared;
    int* counts = shared.Take<int>(kWarps);
    int* totals = shared.Take<int>(kWarps);

    int earlier = 0;  // counted by lane 0 of each warp
    for (int64_t base = 0; base < boxes; base += kThreads) {
      const int64_t k = base + ThreadIndex();
      const int its = k < boxes ? images[k] : -1;
      earlier += CountBits(Ballot(its >= 0 && its < image));
    }
    if (lane == 0) totals[warp] = earlier;
    SyncThreads();
    int64_t place = 0;
    for (int i = 0; i < kWarps; ++i) place += totals[i];

    const int64_t begin = place;
    for (int64_t base = 0; base < boxes; base += kThreads) {
      const int64_t k = base + ThreadIndex();
      const bool mine = k < boxes && images[k] == image;
      const uint32_t bits = Ballot(mine);
      if (lane == 0) counts[warp] = CountBits(bits);
      SyncThreads();
      int before = 0, all = 0;
      for (int i = 0; i < kWarps; ++i) {
        if (i < warp) before += counts[i];
        all += counts[i];
      }
      if (mine) {
        const int64_t to =
            place + before + CountBits(bits & ((uint32_t(1) << lane) - 1));
        order[to] = static_cast<int>(k);
        ordered_spans[to] = spans[k];
      }
      place += all;
      SyncThreads();
    }
    if (ThreadIndex() == 0) ranges[image] = {begin, place};
  }
};

}  // namespace gpu
}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CUDA_BOX_ORDER_H_
