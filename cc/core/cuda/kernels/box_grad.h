// The gradient to the boxes. Blocks write partial sums, one set for each part
// of a box; a last kernel adds a box's parts in their order. No atomics.

#ifndef TF_ROIALIGN_CC_CORE_CUDA_KERNELS_BOX_GRAD_H_
#define TF_ROIALIGN_CC_CORE_CUDA_KERNELS_BOX_GRAD_H_

#include <cmath>
#include <cstdint>

#include "cc/core/cuda/kernels/box_sums.h"
#include "cc/core/cuda/kernels/divisor.h"
#include "cc/core/cuda/kernels/problem.h"
#include "cc/core/cuda/kernels/tap_lists.h"
#include "cc/core/cuda/kernels/vectors.h"
#include "cc/core/cuda/platform/portable.h"
#include "cc/core/cuda/tuning.h"

namespace tf_roialign {
namespace cuda {

// Channels last. A block has one row of bins of one box, as in the forward.
template <typename T, int V>
struct BoxGradNhwc {
  using W = Accumulator<T>;
  using Taps = BoxTapLists<SlopeTap<W>>;
  static constexpr int kThreads = kBlockThreads;
  static constexpr int kMinBlocks = 0;

  Problem problem;
  const T* grad_output;
  BoxSums* parts;  // [boxes, pooled_height]
  int lanes;
  int y_capacity;
  int x_capacity;
  int64_t first_unit;

  static int SharedBytes(int y_capacity, int x_capacity) {
    return SharedPieces::Bytes<int64_t>(1) +
           SharedPieces::Bytes<BoxSums>(kThreads) +
           Taps::SharedBytes(y_capacity, x_capacity);
  }

  TF_ROIALIGN_DEVICE void operator()() const {
    const int64_t unit = first_unit + BlockIndex();
    const int64_t k = unit / problem.pooled_height();
    const int p = static_cast<int>(unit - k * problem.pooled_height());
    SharedPieces shared;
    int64_t* image = shared.Take<int64_t>(1);
    BoxSums* reduced = shared.Take<BoxSums>(kThreads);
    Taps taps(&shared, y_capacity, x_capacity);
    const BoxOnMap box(problem, k);
    if (ThreadIndex() == 0) {
      *image = box.MeaningfulImage();
    }
    SyncThreads();
    BoxSums sums;
    const T* const in = grad_output + (k * problem.bins() +
                                       int64_t(p) * problem.pooled_width()) *
                                          problem.channels;
    for (int q = 0; *image >= 0 && q < problem.pooled_width();
         q += kBinsInHand) {
      const int bins = Min(kBinsInHand, problem.pooled_width() - q);
      const Part part = {box.map().As<const T>() +
                             *image * box.map().pixels() * problem.channels,
                         in + int64_t(q) * problem.channels,
                         int64_t(box.map().width) * problem.channels,
                         problem.channels * static_cast<int>(sizeof(T))};
      if (problem.sampling_ratio == 2) {
        taps.MakeTwoSamples(box, p, 1, q, bins, kThreads);
        AddBins(taps, part, bins, &sums);
        SyncThreads();
      } else {  // Count() has a barrier before lists change
        taps.Count(box, p, 1, q, bins, kThreads);
        const int y_all = taps.y.begin(1), x_all = taps.x.begin(bins);
        if (y_all <= y_capacity && x_all <= x_capacity) {
          taps.Make(box, p, 1, q, bins, 0, y_all, 0, x_all, kThreads);
          taps.Compact(1, bins, kThreads);
          AddBins(taps, part, bins, &sums);
        } else {
          AddPieces(box, part, p, q, bins, &taps, &sums);
        }
      }
    }
    ReduceBoxSums<kThreads>(sums, reduced, &parts[unit]);
  }

 private:
  // Taps that a thread has of a row at a time.
  static constexpr int kTogether = 4;

  // The box's image, and the upstream gradient from the first bin in hand on.
  struct Part {
    const T* map;
    const T* upstream;
    int64_t row_stride;
    int channel_bytes;
  };

  // A bin's sums of some channels.
  struct BinSums {
    W x1 = W(0);
    W y1 = W(0);
    W x2 = W(0);
    W y2 = W(0);

    TF_ROIALIGN_DEVICE void AddTo(BoxSums* sums) const {
      sums->x1 += x1;
      sums->y1 += y1;
      sums->x2 += x2;
      sums->y2 += y2;
    }
  };

  TF_ROIALIGN_DEVICE void AddBins(const Taps& taps, const Part& part, int bins,
                                  BoxSums* sums) const {
    const int groups = kThreads / lanes, group = ThreadIndex() / lanes;
    const int y = taps.y.begin(0), y_end = taps.y.end(0);
    for (int i = group; i < bins; i += groups) {
      const int x_begin = taps.x.begin(i), x_end = taps.x.end(i);
      for (int c = (ThreadIndex() & (lanes - 1)) * V; c < problem.channels;
           c += lanes * V) {
        const Packed<T, V> upstream =
            Load<V>(Advance(part.upstream + c, i, part.channel_bytes));
        Sums<W, V> grad;
        TF_ROIALIGN_UNROLL
        for (int v = 0; v < V; ++v) grad.e[v] = Widen(upstream.e[v]);
        const T* const map = part.map + c;
        BinSums of_bin;
        TF_ROIALIGN_NO_UNROLL
        for (int x = x_begin; x < x_end; x += kTogether) {
          switch (x_end - x) {
            case 1:
              AddColumns<1>(taps, part, map, grad, y, y_end, x, &of_bin);
              break;
            case 2:
              AddColumns<2>(taps, part, map, grad, y, y_end, x, &of_bin);
              break;
            case 3:
              AddColumns<3>(taps, part, map, grad, y, y_end, x, &of_bin);
              break;
            default:
              AddColumns<kTogether>(taps, part, map, grad, y, y_end, x,
                                    &of_bin);
          }
        }
        of_bin.AddTo(sums);
      }
    }
  }

  // Taps y [y, y_end) and N taps of x from `x` on, all of which are there.
  template <int N>
  TF_ROIALIGN_DEVICE static void AddColumns(const Taps& taps, const Part& part,
                                            const T* map,
                                            const Sums<W, V>& grad, int y,
                                            int y_end, int x, BinSums* sums) {
    SlopeTap<W> x_taps[N];
    TF_ROIALIGN_UNROLL
    for (int i = 0; i < N; ++i) x_taps[i] = taps.x.tap(x + i);
    TF_ROIALIGN_NO_UNROLL
    for (; y < y_end; ++y) {
      const SlopeTap<W> y_tap = taps.y.tap(y);
      const T* const row = Settled(map + y_tap.pixel * part.row_stride);
      Packed<T, V> pixels[N];
      TF_ROIALIGN_UNROLL
      for (int i = 0; i < N; ++i) {
        pixels[i] = Load<V>(Advance(row, x_taps[i].pixel, part.channel_bytes));
      }
      W sum = W(0), sum1 = W(0), sum2 = W(0);
      TF_ROIALIGN_UNROLL
      for (int i = 0; i < N; ++i) {
        const W dot = grad.Dot(pixels[i]);
        sum += x_taps[i].weight * dot;
        sum1 += x_taps[i].slope1 * dot;
        sum2 += x_taps[i].slope2 * dot;
      }
      sums->x1 += y_tap.weight * sum1;
      sums->x2 += y_tap.weight * sum2;
      sums->y1 += y_tap.slope1 * sum;
      sums->y2 += y_tap.slope2 * sum;
    }
  }

  // In pieces where the lists do not fit: sums are sums.
  TF_ROIALIGN_DEVICE void AddPieces(const BoxOnMap& box, const Part& part,
                                    int p, int q, int bins, Taps* taps,
                                    BoxSums* sums) const {
    const int y_all = taps->y.begin(1), x_all = taps->x.begin(bins);
    for (int y = 0; y < y_all; y += y_capacity) {
      const int y_to = Min(y_all, y + y_capacity);
      for (int x = 0; x < x_all; x += x_capacity) {
        const int x_to = Min(x_all, x + x_capacity);
        taps->Make(box, p, 1, q, bins, y, y_to, x, x_to, kThreads);
        AddPiece(*taps, part, y_to - y, bins, x, x_to, sums);
        SyncThreads();
      }
    }
  }

  // The taps in hand, some of which are none.
  TF_ROIALIGN_DEVICE void AddPiece(const Taps& taps, const Part& part,
                                   int y_count, int bins, int x_from, int x_to,
                                   BoxSums* sums) const {
    const int groups = kThreads / lanes, group = ThreadIndex() / lanes;
    for (int i = group; i < bins; i += groups) {
      const int begin = Max(x_from, taps.x.begin(i)) - x_from;
      const int end = Min(x_to, taps.x.end(i)) - x_from;
      for (int c = (ThreadIndex() & (lanes - 1)) * V;
           begin < end && c < problem.channels; c += lanes * V) {
        const Packed<T, V> upstream =
            Load<V>(Advance(part.upstream + c, i, part.channel_bytes));
        Sums<W, V> grad;
        TF_ROIALIGN_UNROLL
        for (int v = 0; v < V; ++v) grad.e[v] = Widen(upstream.e[v]);
        BinSums of_bin;
        for (int y = 0; y < y_count; ++y) {
          if (taps.y.tap(y).pixel < 0) continue;
          TF_ROIALIGN_NO_UNROLL
          for (int x = begin; x < end; ++x) {
            if (taps.x.tap(x).pixel < 0) continue;
            AddColumns<1>(taps, part, part.map + c, grad, y, y + 1, x, &of_bin);
          }
        }
        of_bin.AddTo(sums);
      }
    }
  }
};

// Channels first. A block has some channels of one box; its threads lie along
// the x taps, which are neighbours in memory, kTogether channels each.
template <typename T>
struct BoxGradNchw {
  using W = Accumulator<T>;
  using Taps = BoxTapLists<SlopeTap<W>>;
  static constexpr int kThreads = kBlockThreads;
  static constexpr int kMinBlocks = 0;
  static constexpr int kTogether = kNchwBoxGradTogether;

  Problem problem;
  const T* grad_output;
  BoxSums* parts;  // [boxes, channel slices]
  int block_channels;
  int y_capacity;
  int x_capacity;
  // Whether a pass of kBinsInHand by kBinsInHand bins fits the lists.
  bool lists_fit;
  int64_t first_unit;

  static int SharedBytes(int y_capacity, int x_capacity) {
    return SharedPieces::Bytes<int64_t>(1) +
           SharedPieces::Bytes<BoxSums>(kThreads) +
           SharedPieces::Bytes<Entry>(x_capacity) +
           Taps::SharedBytes(y_capacity, x_capacity);
  }

  TF_ROIALIGN_DEVICE void operator()() const {
    const int64_t unit = first_unit + BlockIndex();
    const int slices = (problem.channels + block_channels - 1) / block_channels;
    const int64_t k = unit / slices;
    const int c = static_cast<int>(unit - k * slices) * block_channels;
    const int channels = Min(block_channels, problem.channels - c);
    SharedPieces shared;
    int64_t* image = shared.Take<int64_t>(1);
    BoxSums* reduced = shared.Take<BoxSums>(kThreads);
    Entry* entries = shared.Take<Entry>(x_capacity);
    Taps taps(&shared, y_capacity, x_capacity);
    const BoxOnMap box(problem, k);
    if (ThreadIndex() == kThreads / 2 - 1) {
      *image = box.MeaningfulImage();
    }
    SyncThreads();
    BoxSums sums;
    const T* const in =
        grad_output + (k * problem.channels + c) * problem.bins();
    for (int p = 0; *image >= 0 && p < problem.pooled_height();
         p += kBinsInHand) {
      const int rows = Min(kBinsInHand, problem.pooled_height() - p);
      for (int q = 0; q < problem.pooled_width(); q += kBinsInHand) {
        const int bins = Min(kBinsInHand, problem.pooled_width() - q);
        const Part part = {
            box.map().As<const T>() +
                (*image * problem.channels + c) * box.map().pixels(),
            in + int64_t(p) * problem.pooled_width() + q,
            box.map().pixels(),
            problem.bins(),
            box.map().width * static_cast<int>(sizeof(T)),
            channels};
        if (lists_fit && problem.sampling_ratio == 2) {
          const ListRange all = {0, INT32_MAX};
          taps.MakeTwoSamples(box, p, rows, q, bins, kThreads);
          const int count = ListEntries(taps, bins, all, entries);
          SyncThreads();
          AddPiece(taps, part, rows, all, count, entries, &sums);
          SyncThreads();
        } else {
          AddPieces(box, part, p, rows, q, bins, &taps, entries, &sums);
        }
      }
    }
    ReduceBoxSums<kThreads>(sums, reduced, &parts[unit]);
  }

 private:
  // An x tap and the bin that it is of, of those in hand.
  struct Entry {
    int tap;
    int bin;
  };

  // The block's channels, and the upstream gradient from the bins in hand on.
  struct Part {
    const T* map;
    const T* upstream;
    int64_t plane;
    int64_t bins;
    int row_bytes;  // of the map
    int channels;
  };

  struct ListRange {
    int begin;
    int end;
  };

  TF_ROIALIGN_DEVICE void AddPieces(const BoxOnMap& box, const Part& part,
                                    int p, int rows, int q, int bins,
                                    Taps* taps, Entry* entries,
                                    BoxSums* sums) const {
    taps->Count(box, p, rows, q, bins, kThreads);
    const int y_all = taps->y.begin(rows), x_all = taps->x.begin(bins);
    for (int y = 0; y < y_all; y += y_capacity) {
      const int y_to = Min(y_all, y + y_capacity);
      for (int x = 0; x < x_all; x += x_capacity) {
        const int x_to = Min(x_all, x + x_capacity);
        const int count = ListEntries(*taps, bins, {x, x_to}, entries);
        taps->Make(box, p, rows, q, bins, y, y_to, x, x_to, kThreads);
        AddPiece(*taps, part, rows, {y, y_to}, count, entries, sums);
        SyncThreads();
      }
    }
  }

  // Of the x taps that come in hand, those that may be taps, so that no thread
  // has padding. Returns how many; a barrier has to follow.
  TF_ROIALIGN_DEVICE int ListEntries(const Taps& taps, int bins,
                                     const ListRange& x, Entry* entries) const {
    int all = 0;
    for (int i = 0; i < bins; ++i) {
      const int begin = Max(x.begin, taps.x.begin(i));
      const int count = Max(0, Min(x.end, taps.x.end(i)) - begin);
      if (i % kThreads == ThreadIndex()) {
        for (int j = 0; j < count; ++j) {
          entries[all + j] = {begin - x.begin + j, i};
        }
      }
      all += count;
    }
    return all;
  }

  // Adds what the taps y and the entries in hand give, of `rows` rows of bins.
  TF_ROIALIGN_DEVICE void AddPiece(const Taps& taps, const Part& part, int rows,
                                   const ListRange& y, int count,
                                   const Entry* entries, BoxSums* sums) const {
    if (count == 0) return;
    const Divisor by_entry(count), by_row(rows);
    const int groups = (part.channels + kTogether - 1) / kTogether;
    for (int item = ThreadIndex(); item < groups * rows * count;
         item += kThreads) {
      const int row_item = by_entry.Quotient(item);
      const Entry entry = entries[by_entry.Remainder(item, row_item)];
      const int group = by_row.Quotient(row_item);
      const int r = by_row.Remainder(row_item, group);
      const int begin = Max(y.begin, taps.y.begin(r)) - y.begin;
      const int end = Min(y.end, taps.y.end(r)) - y.begin;
      const SlopeTap<W> x_tap = taps.x.tap(entry.tap);
      if (x_tap.pixel < 0 || begin >= end) continue;
      const int c = group * kTogether;
      const T* const column = part.map + c * part.plane + x_tap.pixel;
      const T* const upstream = part.upstream + c * part.bins +
                                (r * problem.pooled_width() + entry.bin);
      const AxisSums of_y =
          c + kTogether <= part.channels
              ? SumColumn<true>(taps, part, column, upstream, begin, end,
                                kTogether)
              : SumColumn<false>(taps, part, column, upstream, begin, end,
                                 part.channels - c);
      sums->x1 += of_y.weight * x_tap.slope1;
      sums->x2 += of_y.weight * x_tap.slope2;
      sums->y1 += of_y.slope1 * x_tap.weight;
      sums->y2 += of_y.slope2 * x_tap.weight;
    }
  }

  // Sums over y taps.
  struct AxisSums {
    W weight;
    W slope1;
    W slope2;
  };

  // A column of pixels by y taps [begin, end), of `channels` channels, each
  // times its upstream gradient. kAll: of kTogether.
  template <bool kAll>
  TF_ROIALIGN_DEVICE AxisSums SumColumn(const Taps& taps, const Part& part,
                                        const T* column, const T* upstream,
                                        int begin, int end,
                                        int channels) const {
    W grad[kTogether];
    const T* planes[kTogether];
    TF_ROIALIGN_UNROLL
    for (int u = 0; u < kTogether; ++u) {
      planes[u] = column;
      grad[u] = W(0);
      if (kAll || u < channels) grad[u] = Widen(Load<1>(upstream).e[0]);
      column += part.plane;
      upstream += part.bins;
    }
    AxisSums sums = {W(0), W(0), W(0)};
    TF_ROIALIGN_NO_UNROLL
    for (int i = begin; i < end; ++i) {
      const SlopeTap<W> tap = taps.y.tap(i);
      if (tap.pixel < 0) continue;
      Packed<T, 1> pixels[kTogether];
      TF_ROIALIGN_UNROLL
      for (int u = 0; u < kTogether; ++u) {
        pixels[u] = {};
        if (kAll || u < channels) {
          pixels[u] = Load<1>(Advance(planes[u], tap.pixel, part.row_bytes));
        }
      }
      W dot = grad[0] * Widen(pixels[0].e[0]);
      TF_ROIALIGN_UNROLL
      for (int u = 1; u < kTogether; ++u) {
        dot += grad[u] * Widen(pixels[u].e[0]);
      }
      sums.weight += tap.weight * dot;
      sums.slope1 += tap.slope1 * dot;
      sums.slope2 += tap.slope2 * dot;
    }
    return sums;
  }
};

// One thread per box: adds its parts and writes its row. An image index gets 0;
// a box without meaning, NaN.
struct FinishBoxGrad {
  static constexpr int kThreads = kBlockThreads;
  static constexpr int kMinBlocks = 0;

  Problem problem;
  const BoxSums* parts;
  int64_t parts_per_box;
  void* grad_boxes;
  int64_t first_unit;

  TF_ROIALIGN_DEVICE void operator()() const {
    const int64_t k = (first_unit + BlockIndex()) * kThreads + ThreadIndex();
    if (k >= problem.boxes) return;
    const BoxOnMap box(problem, k);
    if (problem.boxes_are_double) {
      Finish<double>(box, k);
    } else {
      Finish<float>(box, k);
    }
  }

 private:
  template <typename B>
  TF_ROIALIGN_DEVICE void Finish(const BoxOnMap& box, int64_t k) const {
    BoxSums sums;
    for (int64_t i = 0; i < parts_per_box; ++i) {
      const BoxSums part = parts[k * parts_per_box + i];
      sums.x1 += part.x1;
      sums.y1 += part.y1;
      sums.x2 += part.x2;
      sums.y2 += part.y2;
    }
    if (box.MeaningfulImageAs<B>() < 0) {
      sums.x1 = sums.y1 = sums.x2 = sums.y2 = NAN;
    }
    const double grad[kCoordinates] = {sums.x1, sums.y1, sums.x2, sums.y2};
    WriteBoxGrad(grad, problem.columns, k, static_cast<B*>(grad_boxes));
  }
};

}  // namespace cuda
}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CUDA_KERNELS_BOX_GRAD_H_
