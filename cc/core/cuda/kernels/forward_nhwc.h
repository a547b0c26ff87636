// Forward, channels last. A block has one row of bins of one box; its threads
// lie along the channels, several bins at a time where there are few channels.

#ifndef TF_ROIALIGN_CC_CORE_CUDA_KERNELS_FORWARD_NHWC_H_
#define TF_ROIALIGN_CC_CORE_CUDA_KERNELS_FORWARD_NHWC_H_

#include <cmath>
#include <cstdint>

#include "cc/core/cuda/kernels/problem.h"
#include "cc/core/cuda/kernels/tap_lists.h"
#include "cc/core/cuda/kernels/two_sample_taps.h"
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
  int lanes;  // threads along the channels, a power of two
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
    if (ThreadIndex() == kThreads / 2) {
      *image = box.MeaningfulImage();
    }
    T* const out =
        output + (k * problem.bins() + int64_t(p) * problem.pooled_width()) *
                     problem.channels;
    for (int q = 0; q < problem.pooled_width(); q += kBinsInHand) {
      const int bins = Min(kBinsInHand, problem.pooled_width() - q);
      if (kRatio2) {
        if (problem.boxes_are_double) {
          MakeTwoSampleTaps<double>(box, p, q, bins, &taps);
        } else {
          MakeTwoSampleTaps<float>(box, p, q, bins, &taps);
        }
        SyncThreads();
      } else {
        taps.Count(box, p, 1, q, bins, kThreads);
      }
      if (*image < 0) {
        StoreNaN(out, q, bins);
        continue;  // nothing but a barrier lies between here and the next q
      }
      const T* const map = box.map().As<const T>() +
                           *image * box.map().pixels() * problem.channels;
      const int y_end = kRatio2 ? kTapGroup : taps.y.begin(1);
      const int x_end = kRatio2 ? kTapGroup * bins : taps.x.begin(bins);
      if (kRatio2 || (y_end <= y_capacity && x_end <= x_capacity)) {
        if (!kRatio2) {
          taps.Make(box, p, 1, q, bins, 0, y_end, 0, x_end, kThreads);
        }
        PoolBins(taps, map, box, y_end, q, bins, out);
      } else {
        PoolInPieces(&taps, map, box, p, q, bins, out);
      }
      SyncThreads();
    }
  }

 private:
  TF_ROIALIGN_DEVICE int lane() const { return ThreadIndex() & (lanes - 1); }
  TF_ROIALIGN_DEVICE int group() const { return ThreadIndex() / lanes; }
  TF_ROIALIGN_DEVICE int groups() const { return kThreads / lanes; }

  template <typename B>
  TF_ROIALIGN_DEVICE void MakeTwoSampleTaps(const BoxOnMap& box, int p, int q,
                                            int bins, Taps* taps) const {
    const int thread = ThreadIndex();
    if (thread < bins) {
      TwoSampleTaps(box.AxisX<B>(), q + thread,
                    taps->x.taps() + kTapGroup * thread);
    } else if (thread == kThreads / 4 * 3) {
      TwoSampleTaps(box.AxisY<B>(), p, taps->y.taps());
    }
  }

  TF_ROIALIGN_DEVICE void StoreNaN(T* out, int q, int bins) const {
    Sums<W, V> nan;
    TF_ROIALIGN_UNROLL
    for (int i = 0; i < V; ++i) nan.e[i] = static_cast<W>(NAN);
    for (int i = group(); i < bins; i += groups()) {
      for (int c = lane() * V; c < problem.channels; c += lanes * V) {
        nan.StoreTo(out + int64_t(q + i) * problem.channels + c);
      }
    }
  }

  // Adds the taps y [0, y_end) times x [x_begin, x_end) to `sum`. Two rows and
  // kTapGroup pixels are loaded at a time.
  TF_ROIALIGN_DEVICE void AddTaps(const Taps& taps, const T* map,
                                  const BoxOnMap& box, int y_end, int x_begin,
                                  int x_end, Sums<W, V>* sum) const {
    const int64_t row_stride = int64_t(box.map().width) * problem.channels;
    for (int y = 0; y < y_end; y += 2) {
      const Tap<W> tap0 = taps.y.tap(y), tap1 = taps.y.tap(y + 1);
      if (tap0.pixel < 0 && tap1.pixel < 0) continue;
      const T* const row0 = map + tap0.pixel * row_stride;
      const T* const row1 = map + tap1.pixel * row_stride;
      Sums<W, V> sum0, sum1;
      sum0.Clear();
      sum1.Clear();
      for (int x = x_begin; x < x_end; x += kTapGroup) {
        Packed<T, V> in_row0[kTapGroup], in_row1[kTapGroup];
        W weight[kTapGroup];
        TF_ROIALIGN_UNROLL
        for (int i = 0; i < kTapGroup; ++i) {
          const Tap<W> tap = taps.x.tap(x + i);
          weight[i] = tap.weight;
          in_row0[i] = {};
          in_row1[i] = {};
          const int64_t offset = int64_t(tap.pixel) * problem.channels;
          if (tap.pixel >= 0 && tap0.pixel >= 0) {
            in_row0[i] = Load<V>(row0 + offset);
          }
          if (tap.pixel >= 0 && tap1.pixel >= 0) {
            in_row1[i] = Load<V>(row1 + offset);
          }
        }
        TF_ROIALIGN_UNROLL
        for (int i = 0; i < kTapGroup; ++i) {
          sum0.Add(weight[i], in_row0[i]);
          sum1.Add(weight[i], in_row1[i]);
        }
      }
      sum->Add(tap0.weight, sum0);
      sum->Add(tap1.weight, sum1);
    }
  }

  TF_ROIALIGN_DEVICE void PoolBins(const Taps& taps, const T* map,
                                   const BoxOnMap& box, int y_end, int q,
                                   int bins, T* out) const {
    for (int i = group(); i < bins; i += groups()) {
      const int begin = kRatio2 ? kTapGroup * i : taps.x.begin(i);
      const int end = kRatio2 ? begin + kTapGroup : taps.x.begin(i + 1);
      for (int c = lane() * V; c < problem.channels; c += lanes * V) {
        Sums<W, V> sum;
        sum.Clear();
        AddTaps(taps, map + c, box, y_end, begin, end, &sum);
        sum.StoreTo(out + int64_t(q + i) * problem.channels + c);
      }
    }
  }

  // For boxes that span more pixels than the lists hold: bin by bin, the lists
  // made again piece by piece. All threads help with the lists; the first group
  // pools.
  TF_ROIALIGN_DEVICE void PoolInPieces(Taps* taps, const T* map,
                                       const BoxOnMap& box, int p, int q,
                                       int bins, T* out) const {
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
            if (mine) {
              AddTaps(*taps, map + c, box, y_to - y, 0, x_to - x, &sum);
            }
            SyncThreads();
          }
        }
        if (mine) sum.StoreTo(out + int64_t(q + i) * problem.channels + c);
      }
    }
  }
};

}  // namespace cuda
}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CUDA_KERNELS_FORWARD_NHWC_H_
