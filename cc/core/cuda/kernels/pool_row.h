// What is summed over the taps of a bin without a kernel made for a layout. A
// block has one row of bins of one box (bin_row.h).

#ifndef TF_ROIALIGN_CC_CORE_CUDA_KERNELS_POOL_ROW_H_
#define TF_ROIALIGN_CC_CORE_CUDA_KERNELS_POOL_ROW_H_

#include <cstdint>

#include "cc/core/cuda/kernels/bin_row.h"
#include "cc/core/cuda/kernels/problem.h"
#include "cc/core/cuda/kernels/tap_lists.h"
#include "cc/core/cuda/kernels/vectors.h"
#include "cc/core/cuda/platform/portable.h"
#include "cc/core/cuda/tuning.h"

namespace tf_roialign {
namespace cuda {

// V > 1: channels last. A task says what is summed:
//
//   kChannels        V, where loads may be wide.
//   kListTaps        Taps of an axis in hand, at most.
//   AnyTap           What a list holds.
//   OfBox            What one box has of its own; Begin(box, k) makes it.
//   kChangesTaps     Whether Change(of_box, is_y, &tap) is done to the taps of
//                    both axes once they are made.
//   Sum<V>           Add(y tap, x tap, pixel) for each tap, then
//                    StoreTo(of_box, to).
//   NoMeaning<V>()   What a box without meaning gets.
template <typename T, int V, typename Task>
struct PoolRow {
  using Tap = typename Task::AnyTap;
  using Taps = BoxTapLists<Tap>;
  static constexpr int kThreads = kBlockThreads;
  static constexpr int kMinBlocks = 0;

  Problem problem;
  Task task;
  T* output;
  int y_capacity;
  int x_capacity;
  int64_t first_unit;

  static int SharedBytes(int y_capacity, int x_capacity) {
    return SharedPieces::Bytes<int64_t>(1) +
           Taps::SharedBytes(y_capacity, x_capacity);
  }

  TF_ROIALIGN_DEVICE void operator()() const {
    const int64_t unit = first_unit + BlockIndex();
    const int64_t k = unit / problem.pooled_height();
    const int p = static_cast<int>(unit - k * problem.pooled_height());
    SharedPieces shared;
    int64_t* image = shared.Take<int64_t>(1);
    Taps taps(&shared, y_capacity, x_capacity);
    const BoxOnMap box(problem, k);
    if (ThreadIndex() == 0) *image = box.MeaningfulImage();
    SyncThreads();
    for (int q = 0; q < problem.pooled_width(); q += kBinsInHand) {
      const BinRow row = {k, p, q,
                          Min(kBinsInHand, problem.pooled_width() - q)};
      if (*image >= 0) {
        Pool(box, row, *image, &taps);
      } else {
        const int64_t items = ItemsOfRow<V>(problem, row);
        for (int64_t item = ThreadIndex(); item < items; item += kThreads) {
          StoreStreaming(task.template NoMeaning<V>(),
                         OutputOf(row, ItemOfRow<V>(problem, row, item)));
        }
      }
    }
  }

 private:
  // Taps [y, y_to) and [x, x_to) of all of a row are in hand.
  struct Piece {
    int y;
    int y_to;
    int x;
    int x_to;
  };

  TF_ROIALIGN_DEVICE T* OutputOf(const BinRow& row, const RowItem& item) const {
    return output + PooledOffset<V>(problem, row, item);
  }

  TF_ROIALIGN_DEVICE void Pool(const BoxOnMap& box, const BinRow& row,
                               int64_t image, Taps* taps) const {
    const typename Task::OfBox of_box = task.Begin(box, row.k);
    taps->Count(box, row.p, 1, row.q, row.bins, kThreads);
    const Piece all = {0, taps->y.begin(1), 0, taps->x.begin(row.bins)};
    const bool fits = all.y_to <= y_capacity && all.x_to <= x_capacity;
    if (fits) Make(box, row, of_box, all, taps);
    const int64_t items = ItemsOfRow<V>(problem, row);
    for (int64_t first = 0; first < items; first += kThreads) {
      const bool mine = first + ThreadIndex() < items;
      const RowItem item =
          ItemOfRow<V>(problem, row, mine ? first + ThreadIndex() : 0);
      typename Task::template Sum<V> sum;
      if (fits) {
        if (mine) AddTaps(*taps, box, image, item, all, &sum);
      } else {
        // Lists that hold less than a row has are made again piece by piece.
        for (int y = 0; y < all.y_to; y += y_capacity) {
          for (int x = 0; x < all.x_to; x += x_capacity) {
            const Piece piece = {y, Min(all.y_to, y + y_capacity), x,
                                 Min(all.x_to, x + x_capacity)};
            Make(box, row, of_box, piece, taps);
            if (mine) AddTaps(*taps, box, image, item, piece, &sum);
            SyncThreads();
          }
        }
      }
      if (mine) sum.StoreTo(of_box, OutputOf(row, item));
    }
  }

  // Ends with a barrier.
  TF_ROIALIGN_DEVICE void Make(const BoxOnMap& box, const BinRow& row,
                               const typename Task::OfBox& of_box,
                               const Piece& piece, Taps* taps) const {
    taps->Make(box, row.p, 1, row.q, row.bins, piece.y, piece.y_to, piece.x,
               piece.x_to, kThreads);
    if constexpr (Task::kChangesTaps) {
      for (int i = ThreadIndex(); i < piece.y_to - piece.y; i += kThreads) {
        task.Change(of_box, true, &taps->y.taps()[i]);
      }
      for (int i = ThreadIndex(); i < piece.x_to - piece.x; i += kThreads) {
        task.Change(of_box, false, &taps->x.taps()[i]);
      }
      SyncThreads();
    }
  }

  // Adds the taps in hand of the item's bin, in their order.
  TF_ROIALIGN_DEVICE void AddTaps(const Taps& taps, const BoxOnMap& box,
                                  int64_t image, const RowItem& item,
                                  const Piece& piece,
                                  typename Task::template Sum<V>* sum) const {
    const DeviceMap& map = box.map();
    const int64_t stride = ChannelsLast<V>(problem) ? problem.channels : 1;
    const int64_t row_stride = map.width * stride;
    const T* const in =
        map.As<const T>() + ImageOffset<V>(problem, map, image, item.c);
    const int begin = Max(piece.x, taps.x.begin(item.i)) - piece.x;
    const int end = Min(piece.x_to, taps.x.begin(item.i + 1)) - piece.x;
    for (int i = 0; i < piece.y_to - piece.y; ++i) {
      const Tap y = taps.y.tap(i);
      if (y.pixel < 0) continue;
      const T* const in_row = in + y.pixel * row_stride;
      for (int j = begin; j < end; j += kTapGroup) {
        // Loads first, so that several are under way.
        Packed<T, V> pixels[kTapGroup];
        TF_ROIALIGN_UNROLL
        for (int u = 0; u < kTapGroup; ++u) {
          const int pixel = taps.x.tap(j + u).pixel;
          if (pixel >= 0) pixels[u] = Load<V>(in_row + pixel * stride);
        }
        TF_ROIALIGN_UNROLL
        for (int u = 0; u < kTapGroup; ++u) {
          const Tap x = taps.x.tap(j + u);
          if (x.pixel >= 0) sum->Add(y, x, pixels[u]);
        }
      }
    }
  }
};

}  // namespace cuda
}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CUDA_KERNELS_POOL_ROW_H_
