// Forward, channels last. A block has some rows of bins of one box; its threads
// lie along the channels, several bins at a time where there are few channels.

#ifndef TF_ROIALIGN_CC_CORE_CUDA_KERNELS_FORWARD_NHWC_H_
#define TF_ROIALIGN_CC_CORE_CUDA_KERNELS_FORWARD_NHWC_H_

#include <cmath>
#include <cstdint>

#include "cc/core/cuda/kernels/divisor.h"
#include "cc/core/cuda/kernels/problem.h"
#include "cc/core/cuda/kernels/tap_lists.h"
#include "cc/core/cuda/kernels/vectors.h"
#include "cc/core/cuda/platform/portable.h"
#include "cc/core/cuda/tuning.h"

namespace tf_roialign {
namespace cuda {

// kRatio2: sampling_ratio is 2, so that each bin has one group of taps per
// axis, which is found without counting and placing.
template <typename T, int V, bool kRatio2>
struct ForwardNhwc {
  using W = Accumulator<T>;
  using Taps = BoxTapLists<Tap<W>>;
  static constexpr int kThreads = kBlockThreads;
  static constexpr int kMinBlocks = V >= 8 ? kMinWideForwardBlocks
                                    : V == 4 && kRatio2
                                        ? kMinTwoSampleForwardBlocks
                                        : 0;

  Problem problem;
  T* output;
  int lanes;       // threads along the channels, a power of two
  int block_rows;  // at most kBinsInHand
  int y_capacity;
  int x_capacity;
  int64_t first_unit;

  static int SharedBytes(int y_capacity, int x_capacity) {
    return SharedPieces::Bytes<int64_t>(1) +
           Taps::SharedBytes(y_capacity, x_capacity);
  }

  TF_ROIALIGN_DEVICE void operator()() const {
    const int64_t unit = first_unit + BlockIndex();
    const int parts = (problem.pooled_height() + block_rows - 1) / block_rows;
    const int64_t k = unit / parts;
    const int p = static_cast<int>(unit - k * parts) * block_rows;
    const int rows = Min(block_rows, problem.pooled_height() - p);
    SharedPieces shared;
    int64_t* image = shared.Take<int64_t>(1);
    Taps taps(&shared, y_capacity, x_capacity);
    const BoxOnMap box(problem, k);
    if (ThreadIndex() == kThreads / 2 - 1) {
      *image = box.MeaningfulImage();
    }
    T* const out =
        output + (k * problem.bins() + int64_t(p) * problem.pooled_width()) *
                     problem.channels;
    for (int q = 0; q < problem.pooled_width(); q += kBinsInHand) {
      const int bins = Min(kBinsInHand, problem.pooled_width() - q);
      T* const out_of_pass = out + int64_t(q) * problem.channels;
      if (kRatio2) {
        taps.MakeTwoSamples(box, p, rows, q, bins, kThreads);
      } else {
        taps.Count(box, p, rows, q, bins, kThreads);
      }
      if (*image < 0) {
        StoreNaN(out_of_pass, rows, bins);
        continue;  // nothing but a barrier lies between here and the next q
      }
      const T* const map = box.map().As<const T>() +
                           *image * box.map().pixels() * problem.channels;
      const int y_end = kRatio2 ? 0 : taps.y.begin(rows);
      const int x_end = kRatio2 ? 0 : taps.x.begin(bins);
      if (kRatio2 || (y_end <= y_capacity && x_end <= x_capacity)) {
        if (!kRatio2) {
          taps.Make(box, p, rows, q, bins, 0, y_end, 0, x_end, kThreads);
          taps.Compact(rows, bins, kThreads);
        }
        PoolBins(taps, map, box, rows, bins, out_of_pass);
      } else {
        for (int r = 0; r < rows; ++r) {
          PoolInPieces(&taps, map, box, p + r, q, bins,
                       OutputOf(out_of_pass, r, 0));
        }
      }
      // Count() has a barrier before lists change.
      if (kRatio2) SyncThreads();
    }
  }

 private:
  // Taps that a thread has of a row at a time.
  static constexpr int kTogether = 4;

  TF_ROIALIGN_DEVICE int lane() const { return ThreadIndex() & (lanes - 1); }
  TF_ROIALIGN_DEVICE int group() const { return ThreadIndex() / lanes; }
  TF_ROIALIGN_DEVICE int groups() const { return kThreads / lanes; }
  TF_ROIALIGN_DEVICE int channel_bytes() const {
    return problem.channels * static_cast<int>(sizeof(T));
  }
  TF_ROIALIGN_DEVICE int64_t row_stride(const BoxOnMap& box) const {
    return int64_t(box.map().width) * problem.channels;
  }
  // Of bin i of row r of those in hand.
  TF_ROIALIGN_DEVICE T* OutputOf(T* out, int r, int i) const {
    return Advance(out, r * problem.pooled_width() + i, channel_bytes());
  }

  TF_ROIALIGN_DEVICE void StoreNaN(T* out, int rows, int bins) const {
    Sums<W, V> nan;
    TF_ROIALIGN_UNROLL
    for (int i = 0; i < V; ++i) nan.e[i] = static_cast<W>(NAN);
    for (int r = 0; r < rows; ++r) {
      for (int i = group(); i < bins; i += groups()) {
        for (int c = lane() * V; c < problem.channels; c += lanes * V) {
          nan.StoreTo(OutputOf(out + c, r, i));
        }
      }
    }
  }

  TF_ROIALIGN_DEVICE void PoolBins(const Taps& taps, const T* map,
                                   const BoxOnMap& box, int rows, int bins,
                                   T* out) const {
    const Divisor by_bin(bins);
    for (int item = group(); item < rows * bins; item += groups()) {
      const int r = by_bin.Quotient(item), i = by_bin.Remainder(item, r);
      const int y = taps.y.begin(r), y_end = taps.y.end(r);
      const int x = taps.x.begin(i), x_end = taps.x.end(i);
      for (int c = lane() * V; c < problem.channels; c += lanes * V) {
        Sums<W, V> sum;
        sum.Clear();
        AddTaps(taps, map + c, box, y, y_end, x, x_end, &sum);
        sum.StoreTo(OutputOf(out + c, r, i));
      }
    }
  }

  // Adds the taps y [y, y_end) times x [x, x_end) to `sum`, all of which are
  // there. How many there are is the same for a warp, or for neighbouring bins.
  TF_ROIALIGN_DEVICE void AddTaps(const Taps& taps, const T* map,
                                  const BoxOnMap& box, int y, int y_end, int x,
                                  int x_end, Sums<W, V>* sum) const {
    TF_ROIALIGN_NO_UNROLL
    for (; x < x_end; x += kTogether) {
      switch (x_end - x) {
        case 1:
          AddColumns<1>(taps, map, row_stride(box), y, y_end, x, sum);
          break;
        case 2:
          AddColumns<2>(taps, map, row_stride(box), y, y_end, x, sum);
          break;
        case 3:
          AddColumns<3>(taps, map, row_stride(box), y, y_end, x, sum);
          break;
        default:
          AddColumns<kTogether>(taps, map, row_stride(box), y, y_end, x, sum);
      }
    }
  }

  // N taps of x from `x` on.
  template <int N>
  TF_ROIALIGN_DEVICE void AddColumns(const Taps& taps, const T* map,
                                     int64_t row_stride, int y, int y_end,
                                     int x, Sums<W, V>* sum) const {
    Tap<W> x_taps[N];
    TF_ROIALIGN_UNROLL
    for (int i = 0; i < N; ++i) x_taps[i] = taps.x.tap(x + i);
    TF_ROIALIGN_NO_UNROLL
    for (; y < y_end; ++y) {
      const Tap<W> y_tap = taps.y.tap(y);
      const T* const row = Settled(map + y_tap.pixel * row_stride);
      Packed<T, V> pixels[N];
      TF_ROIALIGN_UNROLL
      for (int i = 0; i < N; ++i) {
        pixels[i] = Load<V>(Advance(row, x_taps[i].pixel, channel_bytes()));
      }
      TF_ROIALIGN_UNROLL
      for (int v = 0; v < V; ++v) {
        W of_row = x_taps[0].weight * Widen(pixels[0].e[v]);
        TF_ROIALIGN_UNROLL
        for (int i = 1; i < N; ++i) {
          of_row += x_taps[i].weight * Widen(pixels[i].e[v]);
        }
        sum->e[v] += y_tap.weight * of_row;
      }
    }
  }

  // For boxes that span more pixels than the lists hold: bin by bin, the lists
  // made again piece by piece. All threads help with the lists; the first group
  // pools.
  TF_ROIALIGN_DEVICE void PoolInPieces(Taps* taps, const T* map,
                                       const BoxOnMap& box, int p, int q,
                                       int bins, T* out) const {
    taps->Count(box, p, 1, q, bins, kThreads);
    for (int i = 0; i < bins; ++i) {
      for (int c0 = 0; c0 < problem.channels; c0 += lanes * V) {
        const int c = c0 + lane() * V;
        const bool mine = group() == 0 && c < problem.channels;
        Sums<W, V> sum;
        sum.Clear();
        const int y_all = taps->y.begin(1);
        for (int y = 0; y < y_all; y += y_capacity) {
          const int y_to = Min(y_all, y + y_capacity);
          for (int x = taps->x.begin(i); x < taps->x.begin(i + 1);
               x += x_capacity) {
            const int x_to = Min(taps->x.begin(i + 1), x + x_capacity);
            taps->Make(box, p, 1, q, bins, y, y_to, x, x_to, kThreads);
            if (mine) AddPiece(*taps, map + c, box, y_to - y, x_to - x, &sum);
            SyncThreads();
          }
        }
        if (mine) sum.StoreTo(OutputOf(out + c, 0, i));
      }
    }
  }

  // All taps in hand, of which some are none.
  TF_ROIALIGN_DEVICE void AddPiece(const Taps& taps, const T* map,
                                   const BoxOnMap& box, int y_count,
                                   int x_count, Sums<W, V>* sum) const {
    for (int y = 0; y < y_count; ++y) {
      const Tap<W> y_tap = taps.y.tap(y);
      if (y_tap.pixel < 0) continue;
      const T* const row = map + y_tap.pixel * row_stride(box);
      TF_ROIALIGN_NO_UNROLL
      for (int x = 0; x < x_count; ++x) {
        const Tap<W> x_tap = taps.x.tap(x);
        if (x_tap.pixel < 0) continue;
        sum->Add(y_tap.weight * x_tap.weight,
                 Load<V>(Advance(row, x_tap.pixel, channel_bytes())));
      }
    }
  }
};

}  // namespace cuda
}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CUDA_KERNELS_FORWARD_NHWC_H_
