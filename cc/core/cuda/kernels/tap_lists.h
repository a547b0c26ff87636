// Taps of several bins of one axis in shared memory, made by all threads of a
// block together.

#ifndef TF_ROIALIGN_CC_CORE_CUDA_KERNELS_TAP_LISTS_H_
#define TF_ROIALIGN_CC_CORE_CUDA_KERNELS_TAP_LISTS_H_

#include <cstdint>

#include "cc/core/cuda/kernels/problem.h"
#include "cc/core/cuda/kernels/two_sample_taps.h"
#include "cc/core/cuda/platform/portable.h"
#include "cc/core/cuda/tuning.h"
#include "cc/core/geometry/taps.h"

namespace tf_roialign {
namespace cuda {

// How many list entries bins of an axis can need; host only. A bin has at most
// one tap for each pixel and two for each sample, and neighbours share at most
// two pixels.
inline int64_t ListTapsBound(int64_t sampling_ratio, int64_t bins,
                             int64_t length) {
  const int64_t by_pixel = length + bins * (2 + kTapGroup);
  if (sampling_ratio <= 0 || sampling_ratio > kMaxListTaps) return by_pixel;
  const int64_t by_sample =
      bins * ((2 * sampling_ratio + kTapGroup - 1) / kTapGroup * kTapGroup);
  return Min(by_pixel, by_sample);
}

// Pixels begin <= i < end of an axis.
struct alignas(8) PixelRange {
  int begin;
  int end;
};

// The taps of bins [first, first + bins) of one axis. Made in steps with a
// barrier between and after: Count(), Place(), then Make() for some entries;
// or, for a sampling_ratio of 2, in the one step MakeTwoSamples().
template <typename AnyTap>
class TapList {
 public:
  static constexpr int SharedBytes(int capacity) {
    return SharedPieces::Bytes<BinTaps>(kBinsInHand) +
           SharedPieces::Bytes<PixelRange>(kBinsInHand) +
           2 * SharedPieces::Bytes<int>(kBinsInHand + 1) +
           SharedPieces::Bytes<AnyTap>(capacity);
  }

  // `group`: bins begin at multiples of it.
  TF_ROIALIGN_DEVICE TapList(SharedPieces* shared, int capacity,
                             int group = kTapGroup)
      : bins_(shared->Take<BinTaps>(kBinsInHand)),
        pixels_(shared->Take<PixelRange>(kBinsInHand)),
        begin_(shared->Take<int>(kBinsInHand + 1)),
        end_(shared->Take<int>(kBinsInHand + 1)),
        taps_(shared->Take<AnyTap>(capacity)),
        capacity_(capacity),
        group_(group) {}

  // Step 1, for thread `lane` of `lanes`.
  template <typename B>
  TF_ROIALIGN_DEVICE void Count(const AxisOnMap<B, int>& box, int first,
                                int bins, int lane, int lanes) {
    for (int i = lane; i < bins; i += lanes) {
      const BinTaps bin = FindBinTaps(box, first + i);
      bins_[i] = bin;
      const int base = static_cast<int>(bin.base);
      pixels_[i] = bin.count == 0  ? PixelRange{INT32_MAX, 0}
                   : bin.by_sample ? PixelRange{0, INT32_MAX}
                                   : PixelRange{base, base + bin.count};
    }
  }

  // Between the steps, after a barrier and before one; all threads of the
  // block.
  TF_ROIALIGN_DEVICE void Place(int bins, int lane, int lanes) {
    for (int i = lane; i <= bins; i += lanes) {
      int64_t sum = 0;
      for (int j = 0; j < i; ++j) {
        sum += (int64_t(bins_[j].count) + group_ - 1) / group_ * group_;
      }
      begin_[i] = static_cast<int>(Min<int64_t>(sum, INT32_MAX));
      if (i < bins) {
        end_[i] =
            static_cast<int>(Min<int64_t>(sum + bins_[i].count, INT32_MAX));
      }
    }
  }

  // Step 2: entries [from, to) of the whole list, at most `capacity` of them,
  // which then are tap(0), tap(1), ...
  template <typename B>
  TF_ROIALIGN_DEVICE void Make(const AxisOnMap<B, int>& box, int first,
                               int bins, int from, int to, int lane,
                               int lanes) {
    for (int entry = from + lane; entry < to; entry += lanes) {
      int low = 0, high = bins;  // the bin that the entry is of
      while (high - low > 1) {
        const int middle = (low + high) / 2;
        (begin_[middle] <= entry ? low : high) = middle;
      }
      taps_[entry - from] =
          TapAt<AnyTap>(box, first + low, bins_[low], entry - begin_[low]);
    }
  }

  // All steps at once for bins of two samples, at most kTapGroup taps each.
  template <typename B>
  TF_ROIALIGN_DEVICE void MakeTwoSamples(const AxisOnMap<B, int>& box,
                                         int first, int bins, int lane,
                                         int lanes) {
    for (int i = lane; i < bins; i += lanes) {
      AnyTap* const taps = taps_ + kTapGroup * i;
      const int count = TwoSampleTaps(box, first + i, taps);
      begin_[i] = kTapGroup * i;
      end_[i] = kTapGroup * i + count;
      pixels_[i] = count == 0
                       ? PixelRange{INT32_MAX, 0}
                       : PixelRange{taps[0].pixel, taps[count - 1].pixel + 1};
    }
    if (lane == 0) begin_[bins] = kTapGroup * bins;
  }

  // The pixels that the bins' taps lie in; any, where there are taps by sample.
  TF_ROIALIGN_DEVICE PixelRange Pixels(int bins) const {
    PixelRange all = {INT32_MAX, 0};
    for (int i = 0; i < bins; ++i) {
      const PixelRange pixels = pixels_[i];
      all.begin = Min(all.begin, pixels.begin);
      all.end = Max(all.end, pixels.end);
    }
    return {Min(all.begin, all.end), all.end};
  }

  // Once all entries are made: those that are no tap go from between those that
  // are, so that a bin's are [begin(i), end(i)). All threads of the block;
  // between barriers.
  TF_ROIALIGN_DEVICE void Compact(int bins, int lane, int lanes) {
    for (int i = lane; i < bins; i += lanes) {
      int to = begin_[i];
      for (int from = to; from < end_[i]; ++from) {
        const AnyTap tap = taps_[from];
        if (tap.pixel < 0) continue;
        if (to < from) taps_[to] = tap;
        ++to;
      }
      end_[i] = to;
    }
  }

  // Entries of bin i of those in hand: [begin(i), end(i)), and none from there
  // to begin(i + 1), which is a multiple of the group.
  TF_ROIALIGN_DEVICE int begin(int i) const { return begin_[i]; }
  TF_ROIALIGN_DEVICE int end(int i) const { return end_[i]; }
  TF_ROIALIGN_DEVICE const AnyTap& tap(int i) const { return taps_[i]; }
  TF_ROIALIGN_DEVICE AnyTap* taps() { return taps_; }
  TF_ROIALIGN_DEVICE int capacity() const { return capacity_; }

 private:
  BinTaps* bins_;
  PixelRange* pixels_;
  int* begin_;
  int* end_;
  AnyTap* taps_;
  int capacity_;
  int group_;
};

// Both axes of box k, of bin rows [p, p + rows) and bins [q, q + columns) of
// each. Threads of the block's first half take y, the others x.
template <typename AnyTap>
struct BoxTapLists {
  TapList<AnyTap> y;
  TapList<AnyTap> x;

  static constexpr int SharedBytes(int y_capacity, int x_capacity) {
    return TapList<AnyTap>::SharedBytes(y_capacity) +
           TapList<AnyTap>::SharedBytes(x_capacity);
  }

  TF_ROIALIGN_DEVICE BoxTapLists(SharedPieces* shared, int y_capacity,
                                 int x_capacity, int group = kTapGroup)
      : y(shared, y_capacity, group), x(shared, x_capacity, group) {}

  // Counts and places; ends with a barrier.
  TF_ROIALIGN_DEVICE void Count(const BoxOnMap& box, int p, int rows, int q,
                                int columns, int threads) {
    if (box.problem().boxes_are_double) {
      CountAs<double>(box, p, rows, q, columns, threads);
    } else {
      CountAs<float>(box, p, rows, q, columns, threads);
    }
    SyncThreads();
    y.Place(rows, ThreadIndex(), threads);
    x.Place(columns, ThreadIndex(), threads);
    SyncThreads();
  }

  // Makes entries [y_from, y_to) and [x_from, x_to); ends with a barrier.
  TF_ROIALIGN_DEVICE void Make(const BoxOnMap& box, int p, int rows, int q,
                               int columns, int y_from, int y_to, int x_from,
                               int x_to, int threads) {
    if (box.problem().boxes_are_double) {
      MakeAs<double>(box, p, rows, q, columns, y_from, y_to, x_from, x_to,
                     threads);
    } else {
      MakeAs<float>(box, p, rows, q, columns, y_from, y_to, x_from, x_to,
                    threads);
    }
    SyncThreads();
  }

  // Once all entries are made: those of a bin are [begin, end). Ends with a
  // barrier.
  TF_ROIALIGN_DEVICE void Compact(int rows, int columns, int threads) {
    y.Compact(rows, ThreadIndex(), threads);
    x.Compact(columns, threads - 1 - ThreadIndex(), threads);
    SyncThreads();
  }

  // Both steps for a sampling_ratio of 2; ends with a barrier.
  TF_ROIALIGN_DEVICE void MakeTwoSamples(const BoxOnMap& box, int p, int rows,
                                         int q, int columns, int threads) {
    if (box.problem().boxes_are_double) {
      MakeTwoSamplesAs<double>(box, p, rows, q, columns, threads);
    } else {
      MakeTwoSamplesAs<float>(box, p, rows, q, columns, threads);
    }
    SyncThreads();
  }

 private:
  template <typename B>
  TF_ROIALIGN_DEVICE void MakeTwoSamplesAs(const BoxOnMap& box, int p, int rows,
                                           int q, int columns, int threads) {
    const int half = threads / 2, lane = ThreadIndex() % half;
    const bool is_y = ThreadIndex() < half;
    const int bins = is_y ? rows : columns;
    if (lane >= bins) return;
    ListOf(is_y).MakeTwoSamples(is_y ? box.AxisY<B>() : box.AxisX<B>(),
                                is_y ? p : q, bins, lane, half);
  }

  // Chosen before taps are made, so that their code is there once for both.
  TF_ROIALIGN_DEVICE TapList<AnyTap> ListOf(bool is_y) const {
    return is_y ? y : x;
  }

  template <typename B>
  TF_ROIALIGN_DEVICE void CountAs(const BoxOnMap& box, int p, int rows, int q,
                                  int columns, int threads) {
    const int half = threads / 2, lane = ThreadIndex() % half;
    const bool is_y = ThreadIndex() < half;
    const int bins = is_y ? rows : columns;
    if (lane >= bins) return;
    ListOf(is_y).Count(is_y ? box.AxisY<B>() : box.AxisX<B>(), is_y ? p : q,
                       bins, lane, half);
  }

  template <typename B>
  TF_ROIALIGN_DEVICE void MakeAs(const BoxOnMap& box, int p, int rows, int q,
                                 int columns, int y_from, int y_to, int x_from,
                                 int x_to, int threads) {
    const int half = threads / 2, lane = ThreadIndex() % half;
    const bool is_y = ThreadIndex() < half;
    const int from = is_y ? y_from : x_from, to = is_y ? y_to : x_to;
    if (from + lane >= to) return;
    ListOf(is_y).Make(is_y ? box.AxisY<B>() : box.AxisX<B>(), is_y ? p : q,
                      is_y ? rows : columns, from, to, lane, half);
  }
};

}  // namespace cuda
}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CUDA_KERNELS_TAP_LISTS_H_
