// The gradient to the boxes. Blocks write partial sums, one set for each part
// of a box; a last kernel adds a box's parts in their order. No atomics.

#ifndef TF_ROIALIGN_CC_CORE_CUDA_KERNELS_BOX_GRAD_H_
#define TF_ROIALIGN_CC_CORE_CUDA_KERNELS_BOX_GRAD_H_

#include <cmath>
#include <cstdint>

#include "cc/core/cuda/kernels/box_sums.h"
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
    const int64_t row_stride = int64_t(box.map().width) * problem.channels;
    BoxSums sums;
    const T* const in = grad_output + (k * problem.bins() +
                                       int64_t(p) * problem.pooled_width()) *
                                          problem.channels;
    for (int q = 0; *image >= 0 && q < problem.pooled_width();
         q += kBinsInHand) {
      const int bins = Min(kBinsInHand, problem.pooled_width() - q);
      taps.Count(box, p, 1, q, bins, kThreads);
      const T* const map =
          box.map().As<const T>() + *image * box.map().height * row_stride;
      // In pieces where the lists do not fit: sums are sums.
      const int y_all = taps.y.begin(1), x_all = taps.x.begin(bins);
      for (int y = 0; y < y_all; y += y_capacity) {
        const int y_to = Min(y_all, y + y_capacity);
        for (int x = 0; x < x_all; x += x_capacity) {
          const int x_to = Min(x_all, x + x_capacity);
          taps.Make(box, p, 1, q, bins, y, y_to, x, x_to, kThreads);
          AddBins(taps, map, row_stride, in + int64_t(q) * problem.channels,
                  y_to - y, bins, x, x_to, &sums);
          SyncThreads();
        }
      }
      SyncThreads();
    }
    ReduceBoxSums<kThreads>(sums, reduced, &parts[unit]);
  }

 private:
  TF_ROIALIGN_DEVICE void AddBins(const Taps& taps, const T* map,
                                  int64_t row_stride, const T* in, int y_count,
                                  int bins, int x_from, int x_to,
                                  BoxSums* sums) const {
    const int groups = kThreads / lanes, group = ThreadIndex() / lanes;
    for (int i = group; i < bins; i += groups) {
      const int begin = Max(x_from, taps.x.begin(i)) - x_from;
      const int end = Min(x_to, taps.x.begin(i + 1)) - x_from;
      if (begin >= end) continue;
      for (int c = (ThreadIndex() & (lanes - 1)) * V; c < problem.channels;
           c += lanes * V) {
        const Packed<T, V> upstream =
            Load<V>(in + int64_t(i) * problem.channels + c);
        Sums<W, V> grad;
        grad.Clear();
        grad.Add(W(1), upstream);
        W x1 = W(0), y1 = W(0), x2 = W(0), y2 = W(0);
        for (int y = 0; y < y_count; ++y) {
          const SlopeTap<W> y_tap = taps.y.tap(y);
          if (y_tap.pixel < 0) continue;
          const T* const row = map + y_tap.pixel * row_stride + c;
          W sum = W(0), sum1 = W(0), sum2 = W(0);
          for (int x = begin; x < end; x += kTapGroup) {
            Packed<T, V> in_row[kTapGroup];
            TF_ROIALIGN_UNROLL
            for (int j = 0; j < kTapGroup; ++j) {
              const int pixel = taps.x.tap(x + j).pixel;
              in_row[j] = {};
              if (pixel >= 0) {
                in_row[j] = Load<V>(row + int64_t(pixel) * problem.channels);
              }
            }
            TF_ROIALIGN_UNROLL
            for (int j = 0; j < kTapGroup; ++j) {
              const SlopeTap<W>& x_tap = taps.x.tap(x + j);
              // A tap that is not there has no part, whatever the upstream is.
              const W dot = x_tap.pixel >= 0 ? grad.Dot(in_row[j]) : W(0);
              sum += x_tap.weight * dot;
              sum1 += x_tap.slope1 * dot;
              sum2 += x_tap.slope2 * dot;
            }
          }
          x1 += y_tap.weight * sum1;
          x2 += y_tap.weight * sum2;
          y1 += y_tap.slope1 * sum;
          y2 += y_tap.slope2 * sum;
        }
        sums->x1 += x1;
        sums->y1 += y1;
        sums->x2 += x2;
        sums->y2 += y2;
      }
    }
  }
};

// Channels first. A block has some channels of one box; its threads lie along
// the x taps, as in the forward.
template <typename T>
struct BoxGradNchw {
  using W = Accumulator<T>;
  using Taps = BoxTapLists<SlopeTap<W>>;
  static constexpr int kThreads = kBlockThreads;
  static constexpr int kMinBlocks = 0;
  static constexpr int kTogether = kNchwTogether;

  Problem problem;
  const T* grad_output;
  BoxSums* parts;  // [boxes, channel slices]
  int block_channels;
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
    const int64_t slices =
        (problem.channels + block_channels - 1) / block_channels;
    const int64_t k = unit / slices;
    const int c = static_cast<int>(unit - k * slices) * block_channels;
    const int channels = Min(block_channels, problem.channels - c);
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
    const T* const in =
        grad_output + (k * problem.channels + c) * problem.bins();
    for (int p = 0; *image >= 0 && p < problem.pooled_height();
         p += kBinsInHand) {
      const int rows = Min(kBinsInHand, problem.pooled_height() - p);
      for (int q = 0; q < problem.pooled_width(); q += kBinsInHand) {
        const int bins = Min(kBinsInHand, problem.pooled_width() - q);
        taps.Count(box, p, rows, q, bins, kThreads);
        const T* const map =
            box.map().As<const T>() +
            (*image * problem.channels + c) * box.map().pixels();
        const int y_all = taps.y.begin(rows), x_all = taps.x.begin(bins);
        for (int y = 0; y < y_all; y += y_capacity) {
          const int y_to = Min(y_all, y + y_capacity);
          for (int x = 0; x < x_all; x += x_capacity) {
            const int x_to = Min(x_all, x + x_capacity);
            taps.Make(box, p, rows, q, bins, y, y_to, x, x_to, kThreads);
            AddColumns(taps, map, box.map(), in, channels, p, rows, q, bins, y,
                       y_to, x, x_to, &sums);
            SyncThreads();
          }
        }
        SyncThreads();
      }
    }
    ReduceBoxSums<kThreads>(sums, reduced, &parts[unit]);
  }

 private:
  TF_ROIALIGN_DEVICE void AddColumns(const Taps& taps, const T* map,
                                     const DeviceMap& device_map, const T* in,
                                     int channels, int p, int rows, int q,
                                     int bins, int y, int y_to, int x, int x_to,
                                     BoxSums* sums) const {
    const int quads = (channels + kTogether - 1) / kTogether;
    const int64_t plane = device_map.pixels();
    const int x_count = x_to - x;
    const int64_t items = int64_t(quads) * rows * x_count;
    for (int64_t item = ThreadIndex(); item < items; item += kThreads) {
      const int64_t row_item = item / x_count;
      const int entry = static_cast<int>(item - row_item * x_count);
      const int quad = static_cast<int>(row_item / rows);
      const int r = static_cast<int>(row_item - int64_t(quad) * rows);
      const int c = quad * kTogether;
      const SlopeTap<W> x_tap = taps.x.tap(entry);
      const int begin = Max(y, taps.y.begin(r)) - y;
      const int end = Min(y_to, taps.y.begin(r + 1)) - y;
      if (x_tap.pixel < 0 || begin >= end) continue;
      int low = 0, high = bins;  // the bin that the tap is of
      while (high - low > 1) {
        const int middle = (low + high) / 2;
        (taps.x.begin(middle) <= x + entry ? low : high) = middle;
      }
      const T* const upstream = in + c * problem.bins() +
                                int64_t(p + r) * problem.pooled_width() +
                                (q + low);
      const T* const column = map + c * plane + x_tap.pixel;
      W x1 = W(0), y1 = W(0), x2 = W(0), y2 = W(0);
      W grad[kTogether];
      TF_ROIALIGN_UNROLL
      for (int u = 0; u < kTogether; ++u) {
        Packed<T, 1> packed = {};
        if (c + u < channels) {
          packed = Load<1>(upstream + u * problem.bins());
        }
        grad[u] = Widen(packed.e[0]);
      }
      for (int i = begin; i < end; ++i) {
        const SlopeTap<W> y_tap = taps.y.tap(i);
        if (y_tap.pixel < 0) continue;
        const T* const pixel = column + int64_t(y_tap.pixel) * device_map.width;
        W dot = W(0);
        TF_ROIALIGN_UNROLL
        for (int u = 0; u < kTogether; ++u) {
          Packed<T, 1> value = {};
          if (c + u < channels) value = Load<1>(pixel + u * plane);
          dot += grad[u] * Widen(value.e[0]);
        }
        x1 += y_tap.weight * dot;
        y1 += y_tap.slope1 * dot;
        y2 += y_tap.slope2 * dot;
      }
      x2 = x1 * x_tap.slope2;
      x1 *= x_tap.slope1;
      sums->x1 += x1;
      sums->x2 += x2;
      sums->y1 += y1 * x_tap.weight;
      sums->y2 += y2 * x_tap.weight;
    }
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
    if (problem.boxes_are_double) {
      Finish<double>(k);
    } else {
      Finish<float>(k);
    }
  }

 private:
  template <typename B>
  TF_ROIALIGN_DEVICE void Finish(int64_t k) const {
    BoxSums sums;
    for (int64_t i = 0; i < parts_per_box; ++i) {
      const BoxSums part = parts[k * parts_per_box + i];
      sums.x1 += part.x1;
      sums.y1 += part.y1;
      sums.x2 += part.x2;
      sums.y2 += part.y2;
    }
    if (BoxOnMap(problem, k).MeaningfulImageAs<B>() < 0) {
      sums.x1 = sums.y1 = sums.x2 = sums.y2 = NAN;
    }
    const double grad[kCoordinates] = {sums.x1, sums.y1, sums.x2, sums.y2};
    WriteBoxGrad(grad, problem.columns, k, static_cast<B*>(grad_boxes));
  }
};

}  // namespace cuda
}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CUDA_KERNELS_BOX_GRAD_H_
