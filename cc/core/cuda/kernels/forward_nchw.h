// Forward, channels first. A block has some channels of one box. Its threads
// lie along the box's x taps, which are neighbours in memory: each sums a
// column of pixels with the weights of y; then the columns of a bin are summed
// in shared memory. A block's outputs are one piece of memory.

#ifndef TF_ROIALIGN_CC_CORE_CUDA_KERNELS_FORWARD_NCHW_H_
#define TF_ROIALIGN_CC_CORE_CUDA_KERNELS_FORWARD_NCHW_H_

#include <cmath>
#include <cstdint>

#include "cc/core/cuda/kernels/problem.h"
#include "cc/core/cuda/kernels/tap_lists.h"
#include "cc/core/cuda/kernels/vectors.h"
#include "cc/core/cuda/platform/portable.h"
#include "cc/core/cuda/tuning.h"

namespace tf_roialign {
namespace cuda {

template <typename T>
struct ForwardNchw {
  using W = Accumulator<T>;
  using Taps = BoxTapLists<Tap<W>>;
  static constexpr int kThreads = kBlockThreads;
  static constexpr int kMinBlocks = 0;
  static constexpr int kTogether = kNchwTogether;
  static constexpr int kMaxColumnSums = kColumnSumBytes / int(sizeof(W));

  Problem problem;
  T* output;
  int block_channels;  // a multiple of kTogether
  int column_sums;     // how many fit
  int y_capacity;
  int x_capacity;
  // Whether a pass of kBinsInHand by kBinsInHand bins fits the lists. Otherwise
  // a pass is few enough bins to have a thread for each output.
  bool lists_fit;
  int64_t first_unit;

  static int SharedBytes(int column_sums, int y_capacity, int x_capacity) {
    return SharedPieces::Bytes<W>(column_sums) +
           SharedPieces::Bytes<int64_t>(1) +
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
    W* columns = shared.Take<W>(column_sums);
    int64_t* image = shared.Take<int64_t>(1);
    Taps taps(&shared, y_capacity, x_capacity);

    const BoxOnMap box(problem, k);
    if (ThreadIndex() == 0) {
      *image = box.MeaningfulImage();
    }
    SyncThreads();
    T* const out = output + (k * problem.channels + c) * problem.bins();
    if (*image < 0) {
      const int64_t count = channels * problem.bins();
      for (int64_t i = ThreadIndex(); i < count; i += kThreads) {
        Packed<T, 1> nan;
        Narrow(static_cast<W>(NAN), &nan.e[0]);
        StoreStreaming(nan, out + i);
      }
      return;
    }
    const Planes map = {
        box.map().As<const T>() +
            (*image * problem.channels + c) * box.map().pixels(),
        box.map().width, box.map().pixels()};
    const int rows = lists_fit ? kBinsInHand : 1;
    const int bins =
        lists_fit ? kBinsInHand : Max(1, kThreads / block_channels);
    for (int p = 0; p < problem.pooled_height(); p += rows) {
      for (int q = 0; q < problem.pooled_width(); q += bins) {
        Pass(map, channels, box, p, Min(rows, problem.pooled_height() - p), q,
             Min(bins, problem.pooled_width() - q), columns, &taps, out);
      }
    }
  }

 private:
  // The block's channels of an image.
  struct Planes {
    const T* data;
    int width;
    int64_t stride;
  };

  // Bin rows [p, p + rows) and bins [q, q + bins).
  TF_ROIALIGN_DEVICE void Pass(const Planes& map, int channels,
                               const BoxOnMap& box, int p, int rows, int q,
                               int bins, W* columns, Taps* taps, T* out) const {
    taps->Count(box, p, rows, q, bins, kThreads);
    const int y_all = taps->y.begin(rows), x_all = taps->x.begin(bins);
    W sum = W(0);  // of this thread's one output, unless lists_fit
    if (lists_fit) {
      taps->Make(box, p, rows, q, bins, 0, y_all, 0, x_all, kThreads);
      const int at_once =
          x_all == 0
              ? rows
              : Max(1, Min(rows, column_sums / (block_channels * x_all)));
      for (int r = 0; r < rows; r += at_once) {
        const int count = Min(at_once, rows - r);
        SumColumns(*taps, map, channels, r, count, 0, 0, x_all, columns);
        SyncThreads();
        SumBins<false>(*taps, channels, p + r, count, q, bins, 0, x_all,
                       columns, out, &sum);
        SyncThreads();
      }
      return;
    }
    for (int y = 0; y < y_all; y += y_capacity) {
      const int y_to = Min(y_all, y + y_capacity);
      for (int x = 0; x < x_all; x += x_capacity) {
        const int x_to = Min(x_all, x + x_capacity);
        taps->Make(box, p, rows, q, bins, y, y_to, x, x_to, kThreads);
        SumColumns(*taps, map, channels, 0, 1, y, y_to, x_to - x, columns);
        SyncThreads();
        SumBins<true>(*taps, channels, p, 1, q, bins, x, x_to, columns, out,
                      &sum);
        SyncThreads();
      }
    }
    if (ThreadIndex() < channels * bins) {
      const int i = ThreadIndex() % bins, c = ThreadIndex() / bins;
      Store(sum, out, c, p, q + i);
    }
    SyncThreads();
  }

  TF_ROIALIGN_DEVICE void Store(W value, T* out, int c, int p, int q) const {
    Packed<T, 1> packed;
    Narrow(value, &packed.e[0]);
    StoreStreaming(packed, out + c * problem.bins() +
                               int64_t(p) * problem.pooled_width() + q);
  }

  // columns[c][r][x]: the pixels of tap x summed over bin row r, for `rows`
  // rows from `first` on and x taps [0, x_count) in hand. y_to: where the y
  // taps in hand end, y where they begin, or y_to = 0 if all are in hand.
  TF_ROIALIGN_DEVICE void SumColumns(const Taps& taps, const Planes& map,
                                     int channels, int first, int rows, int y,
                                     int y_to, int x_count, W* columns) const {
    const int quads = (channels + kTogether - 1) / kTogether;
    const int64_t plane = map.stride;
    const int items = quads * rows * x_count;
    for (int item = ThreadIndex(); item < items; item += kThreads) {
      const int row_item = item / x_count;
      const int x = item - row_item * x_count;
      const int quad = row_item / rows;
      const int r = row_item - quad * rows;
      const int c = quad * kTogether;
      const Tap<W> x_tap = taps.x.tap(x);
      W sums[kTogether] = {};
      if (x_tap.pixel >= 0) {
        const T* const column = map.data + c * plane + x_tap.pixel;
        const int begin = Max(0, taps.y.begin(first + r) - y);
        int end = taps.y.begin(first + r + 1);
        if (y_to > 0) end = Min(end, y_to);
        end -= y;
        for (int i = begin; i < end; i += kTapGroup) {
          Packed<T, 1> in[kTapGroup][kTogether];
          W weight[kTapGroup];
          TF_ROIALIGN_UNROLL
          for (int j = 0; j < kTapGroup; ++j) {
            const Tap<W> y_tap = taps.y.tap(i + j);
            weight[j] = y_tap.weight;
            const T* const pixel = column + int64_t(y_tap.pixel) * map.width;
            TF_ROIALIGN_UNROLL
            for (int u = 0; u < kTogether; ++u) {
              in[j][u] = {};
              if (y_tap.pixel >= 0 && c + u < channels) {
                in[j][u] = Load<1>(pixel + u * plane);
              }
            }
          }
          TF_ROIALIGN_UNROLL
          for (int j = 0; j < kTapGroup; ++j) {
            TF_ROIALIGN_UNROLL
            for (int u = 0; u < kTogether; ++u) {
              sums[u] += weight[j] * Widen(in[j][u].e[0]);
            }
          }
        }
      }
      TF_ROIALIGN_UNROLL
      for (int u = 0; u < kTogether; ++u) {
        if (c + u < channels) {
          columns[((c + u) * rows + r) * x_count + x] = x_tap.weight * sums[u];
        }
      }
    }
  }

  // The outputs of `rows` bin rows from p on, out of the columns of x taps
  // [x_from, x_to). kOne: each thread has one output, adds to `sum`, and stores
  // nothing.
  template <bool kOne>
  TF_ROIALIGN_DEVICE void SumBins(const Taps& taps, int channels, int p,
                                  int rows, int q, int bins, int x_from,
                                  int x_to, const W* columns, T* out,
                                  W* sum) const {
    const int outputs = channels * rows * bins;
    for (int o = ThreadIndex(); o < outputs; o += kThreads) {
      const int row = o / bins;
      const int i = o - row * bins;
      const W* const in_row = columns + int64_t(row) * (x_to - x_from) - x_from;
      W total = W(0);
      const int begin = Max(x_from, taps.x.begin(i));
      const int end = Min(x_to, taps.x.begin(i + 1));
      for (int x = begin; x < end; ++x) total += in_row[x];
      if (kOne) {
        *sum += total;
      } else {
        Store(total, out, row / rows, p + row % rows, q + i);
      }
    }
  }
};

}  // namespace cuda
}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CUDA_KERNELS_FORWARD_NCHW_H_
