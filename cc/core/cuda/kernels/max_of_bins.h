// Mode "max": the largest sample of each bin, and what a task wants of it. A
// block has one row of bins of one box (bin_row.h).

#ifndef TF_ROIALIGN_CC_CORE_CUDA_KERNELS_MAX_OF_BINS_H_
#define TF_ROIALIGN_CC_CORE_CUDA_KERNELS_MAX_OF_BINS_H_

#include <cmath>
#include <cstdint>

#include "cc/core/cuda/kernels/bin_row.h"
#include "cc/core/cuda/kernels/box_sums.h"
#include "cc/core/cuda/kernels/problem.h"
#include "cc/core/cuda/kernels/sample_list.h"
#include "cc/core/cuda/kernels/vectors.h"
#include "cc/core/cuda/kernels/winner.h"
#include "cc/core/cuda/platform/portable.h"
#include "cc/core/cuda/tuning.h"

namespace tf_roialign {
namespace cuda {

// Where V channels of a bin lie in outputs and upstream gradients: from
// `offset` on, `stride` from one to the next.
struct PooledPlace {
  int64_t offset;
  int64_t stride;
};

// V channels of the pixels of a sample, one after the other: upper left and
// right, lower left and right. Those that it does not touch are zero.
template <typename T, int V>
struct Corners {
  Packed<T, V> e[4];
};

// ---- Tasks. `Kept` is what one remembers of the largest sample of a channel;
// Set() sees the sample and the values of its pixels.

// Stores the largest samples.
template <typename T>
struct StoreMax {
  using W = Accumulator<T>;
  struct Kept {
    TF_ROIALIGN_DEVICE void Set(const AxisSample<W, int>&,
                                const AxisSample<W, int>&, const W (&)[4]) {}
  };
  struct State {};
  static constexpr int kChannels = kWidest<T>;
  static constexpr int kSharedSums = 0;

  T* output;

  template <int V>
  TF_ROIALIGN_DEVICE void Take(const PooledPlace& place, const W (&largest)[V],
                               const Kept (&)[V], State*) const {
    Packed<T, V> packed;
    TF_ROIALIGN_UNROLL
    for (int v = 0; v < V; ++v) Narrow(largest[v], &packed.e[v]);
    StoreStreaming(packed, output + place.offset);  // V = 1 unless neighbours
  }
  template <int V>
  TF_ROIALIGN_DEVICE void TakeNoMeaning(const PooledPlace& place) const {
    W nan[V];
    Kept kept[V];
    TF_ROIALIGN_UNROLL
    for (int v = 0; v < V; ++v) nan[v] = static_cast<W>(NAN);
    Take(place, nan, kept, nullptr);
  }
  TF_ROIALIGN_DEVICE void End(const State&, BoxSums*, int64_t) const {}
};

// Stores the winners, for the gradient to the features.
template <typename T>
struct StoreWinners {
  using W = Accumulator<T>;
  using Kept = Winner<W>;
  struct State {};
  static constexpr int kChannels = Min(kWidest<T>, kMaxKeptChannels);
  static constexpr int kSharedSums = 0;

  Kept* winners;

  template <int V>
  TF_ROIALIGN_DEVICE void Take(const PooledPlace& place, const W (&)[V],
                               const Kept (&kept)[V], State*) const {
    TF_ROIALIGN_UNROLL
    for (int v = 0; v < V; ++v) {
      winners[place.offset + v * place.stride] = kept[v];
    }
  }
  // Nobody asks for the winners of a box without meaning.
  template <int V>
  TF_ROIALIGN_DEVICE void TakeNoMeaning(const PooledPlace&) const {}
  TF_ROIALIGN_DEVICE void End(const State&, BoxSums*, int64_t) const {}
};

// Adds what the box's coordinates do to its largest samples.
template <typename T>
struct SumMaxBoxGrad {
  using W = Accumulator<T>;
  struct Kept {
    W x1 = W(0);
    W y1 = W(0);
    W x2 = W(0);
    W y2 = W(0);

    TF_ROIALIGN_DEVICE void Set(const AxisSample<W, int>& y,
                                const AxisSample<W, int>& x,
                                const W (&corner)[4]) {
      x1 = y1 = x2 = y2 = W(0);
      if (y.lo < 0 || x.lo < 0) return;
      if (x.hi >= 0) {
        W along = y.weight_lo * (corner[1] - corner[0]);
        if (y.hi >= 0) along += y.weight_hi * (corner[3] - corner[2]);
        x1 = x.slope1 * along;
        x2 = x.slope2 * along;
      }
      if (y.hi >= 0) {
        W along = x.weight_lo * (corner[2] - corner[0]);
        if (x.hi >= 0) along += x.weight_hi * (corner[3] - corner[1]);
        y1 = y.slope1 * along;
        y2 = y.slope2 * along;
      }
    }
  };
  using State = BoxSums;
  static constexpr int kChannels = Min(kWidest<T>, kMaxKeptChannels);
  static constexpr int kSharedSums = kBlockThreads;

  const T* grad_output;
  BoxSums* parts;  // [boxes, pooled_height]

  template <int V>
  TF_ROIALIGN_DEVICE void Take(const PooledPlace& place, const W (&)[V],
                               const Kept (&kept)[V], State* sums) const {
    W x1 = W(0), y1 = W(0), x2 = W(0), y2 = W(0);
    const Packed<T, V> upstream = Load<V>(grad_output + place.offset);
    TF_ROIALIGN_UNROLL
    for (int v = 0; v < V; ++v) {
      const W grad = Widen(upstream.e[v]);
      x1 += grad * kept[v].x1;
      y1 += grad * kept[v].y1;
      x2 += grad * kept[v].x2;
      y2 += grad * kept[v].y2;
    }
    sums->x1 += x1;
    sums->y1 += y1;
    sums->x2 += x2;
    sums->y2 += y2;
  }
  template <int V>
  TF_ROIALIGN_DEVICE void TakeNoMeaning(const PooledPlace&) const {}
  TF_ROIALIGN_DEVICE void End(const State& sums, BoxSums* shared,
                              int64_t unit) const {
    ReduceBoxSums<kBlockThreads>(sums, shared, &parts[unit]);
  }
};

// ---- The kernel. V > 1: channels last.
template <typename T, int V, typename Task>
struct MaxOfBins {
  using W = Accumulator<T>;
  using Kept = typename Task::Kept;
  static constexpr int kThreads = kBlockThreads;
  static constexpr int kMinBlocks = 0;

  Problem problem;
  Task task;
  int y_capacity;  // samples of a bin in hand
  int x_capacity;
  int64_t first_unit;

  static int SharedBytes(int bins, int y_capacity, int x_capacity) {
    return SharedPieces::Bytes<int64_t>(1) +
           SharedPieces::Bytes<BoxSums>(Task::kSharedSums) +
           SampleList<W>::SharedBytes(1, y_capacity) +
           SampleList<W>::SharedBytes(bins, x_capacity);
  }

  TF_ROIALIGN_DEVICE void operator()() const {
    const int64_t unit = first_unit + BlockIndex();
    const int64_t k = unit / problem.pooled_height();
    const int p = static_cast<int>(unit - k * problem.pooled_height());
    SharedPieces shared;
    int64_t* image = shared.Take<int64_t>(1);
    BoxSums* reduced = shared.Take<BoxSums>(Task::kSharedSums);
    SampleList<W> y(&shared, 1, y_capacity);
    SampleList<W> x(&shared, Min(kBinsInHand, problem.pooled_width()),
                    x_capacity);
    const BoxOnMap box(problem, k);
    if (ThreadIndex() == 0) *image = box.MeaningfulImage();
    SyncThreads();
    typename Task::State state;
    for (int q = 0; q < problem.pooled_width(); q += kBinsInHand) {
      const int bins = Min(kBinsInHand, problem.pooled_width() - q);
      const BinRow row = {k, p, q, bins};
      if (*image >= 0) {
        PoolRow(box, row, *image, &y, &x, &state);
      } else {
        const int64_t items = ItemsOfRow<V>(problem, row);
        TF_ROIALIGN_NO_UNROLL
        for (int64_t item = ThreadIndex(); item < items; item += kThreads) {
          task.template TakeNoMeaning<V>(
              PlaceOf(row, ItemOfRow<V>(problem, row, item)));
        }
      }
    }
    task.End(state, reduced, unit);
  }

 private:
  struct Largest {
    W value[V];
    Kept kept[V];
    bool any = false;
  };

  TF_ROIALIGN_DEVICE PooledPlace PlaceOf(const BinRow& row,
                                         const RowItem& item) const {
    return {PooledOffset<V>(problem, row, item),
            ChannelsLast<V>(problem) ? 1 : problem.bins()};
  }

  // The next samples of y, and of x, each bin's by a thread of its own. Returns
  // whether this thread's bin has more.
  TF_ROIALIGN_DEVICE bool FillY(const BoxOnMap& box, const BinRow& row,
                                SampleList<W>* y) const {
    if (ThreadIndex() != kThreads - 1) return false;
    return problem.boxes_are_double ? y->Fill(box.AxisY<double>(), row.p, 0)
                                    : y->Fill(box.AxisY<float>(), row.p, 0);
  }
  TF_ROIALIGN_DEVICE bool FillX(const BoxOnMap& box, const BinRow& row,
                                SampleList<W>* x) const {
    const int i = ThreadIndex();
    if (i >= row.bins) return false;
    return problem.boxes_are_double ? x->Fill(box.AxisX<double>(), row.q + i, i)
                                    : x->Fill(box.AxisX<float>(), row.q + i, i);
  }

  TF_ROIALIGN_DEVICE void PoolRow(const BoxOnMap& box, const BinRow& row,
                                  int64_t image, SampleList<W>* y,
                                  SampleList<W>* x,
                                  typename Task::State* state) const {
    static_assert(kBinsInHand < kThreads, "a thread for each bin and for y");
    if (ThreadIndex() < row.bins) x->Restart(ThreadIndex());
    if (ThreadIndex() == kThreads - 1) y->Restart(0);
    const bool more_y = FillY(box, row, y), more_x = FillX(box, row, x);
    const bool all_in_hand = !SyncThreadsOr(more_y || more_x);
    const int64_t items = ItemsOfRow<V>(problem, row);
    for (int64_t first = 0; first < items; first += kThreads) {
      const bool mine = first + ThreadIndex() < items;
      const RowItem item =
          ItemOfRow<V>(problem, row, mine ? first + ThreadIndex() : 0);
      Largest largest;
      TF_ROIALIGN_UNROLL
      for (int v = 0; v < V; ++v) largest.value[v] = W(0);
      if (!all_in_hand) {
        LookInPieces(box, row, image, item, mine, y, x, &largest);
      } else if (mine) {
        Look(box, image, item, *y, 0, y->count(0), *x, &largest);
      }
      if (mine)
        task.Take(PlaceOf(row, item), largest.value, largest.kept, state);
    }
    SyncThreads();
  }

  // For bins with more samples than the lists hold: one row of samples after
  // the other, so that they come in their order.
  TF_ROIALIGN_DEVICE void LookInPieces(const BoxOnMap& box, const BinRow& row,
                                       int64_t image, const RowItem& item,
                                       bool mine, SampleList<W>* y,
                                       SampleList<W>* x,
                                       Largest* largest) const {
    SyncThreads();  // the lists may still be read
    if (ThreadIndex() == kThreads - 1) y->Restart(0);
    for (bool more_y = true; more_y;) {
      more_y = SyncThreadsOr(FillY(box, row, y));
      const int rows = y->count(0);
      for (int i = 0; i < rows; ++i) {
        if (ThreadIndex() < row.bins) x->Restart(ThreadIndex());
        for (bool more_x = true; more_x;) {
          more_x = SyncThreadsOr(FillX(box, row, x));
          if (mine) Look(box, image, item, *y, i, i + 1, *x, largest);
          SyncThreads();
        }
      }
    }
  }

  // At samples [y_begin, y_end) of y in hand, and all of x in hand.
  TF_ROIALIGN_DEVICE void Look(const BoxOnMap& box, int64_t image,
                               const RowItem& item, const SampleList<W>& y,
                               int y_begin, int y_end, const SampleList<W>& x,
                               Largest* largest) const {
    const DeviceMap& map = box.map();
    const int64_t pixel = ChannelsLast<V>(problem) ? problem.channels : 1;
    const int64_t row_stride = map.width * pixel;
    const T* const in =
        map.As<const T>() + ImageOffset<V>(problem, map, image, item.c);
    const int count = x.count(item.i);
    for (int i = y_begin; i < y_end; ++i) {
      const AxisSample<W, int> in_y = y.sample(0, i);
      for (int j = 0; j < count; ++j) {
        const AxisSample<W, int> in_x = x.sample(item.i, j);
        Corners<T, V> corners = {};
        Sums<W, V> value;
        value.Clear();
        if (in_y.lo >= 0 && in_x.lo >= 0) {
          const T* const at = in + in_y.lo * row_stride + in_x.lo * pixel;
          const int64_t down = (in_y.hi - in_y.lo) * row_stride;
          const bool right = in_x.hi >= 0, lower = in_y.hi >= 0;
          corners.e[0] = Load<V>(at);
          if (right) corners.e[1] = Load<V>(at + pixel);
          if (lower) corners.e[2] = Load<V>(at + down);
          if (right && lower) corners.e[3] = Load<V>(at + down + pixel);
          value.Add(in_y.weight_lo * in_x.weight_lo, corners.e[0]);
          if (right) value.Add(in_y.weight_lo * in_x.weight_hi, corners.e[1]);
          if (lower) value.Add(in_y.weight_hi * in_x.weight_lo, corners.e[2]);
          if (right && lower) {
            value.Add(in_y.weight_hi * in_x.weight_hi, corners.e[3]);
          }
        }
        TF_ROIALIGN_UNROLL
        for (int v = 0; v < V; ++v) {
          // The first of equal ones stays, and the first NaN.
          const W now = value.e[v], before = largest->value[v];
          if (largest->any && !(now > before) &&
              !(now != now && before == before)) {
            continue;
          }
          largest->value[v] = now;
          const W corner[4] = {
              Widen(corners.e[0].e[v]), Widen(corners.e[1].e[v]),
              Widen(corners.e[2].e[v]), Widen(corners.e[3].e[v])};
          largest->kept[v].Set(in_y, in_x, corner);
        }
        largest->any = true;
      }
    }
  }
};

}  // namespace cuda
}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CUDA_KERNELS_MAX_OF_BINS_H_
