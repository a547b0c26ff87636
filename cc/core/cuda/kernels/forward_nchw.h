// Forward, channels first. A block has some channels of one box. Its threads
// lie along the columns of the map that the box touches, which are neighbours
// in memory: each sums pixels of its columns with the weights of y, several
// channels of them, into shared memory, where the columns of a bin are then
// summed with the weights of x.

#ifndef TF_ROIALIGN_CC_CORE_CUDA_KERNELS_FORWARD_NCHW_H_
#define TF_ROIALIGN_CC_CORE_CUDA_KERNELS_FORWARD_NCHW_H_

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

template <typename T>
struct ForwardNchw {
  using W = Accumulator<T>;
  using Taps = BoxTapLists<Tap<W>>;
  static constexpr int kThreads = kBlockThreads;
  static constexpr int kMinBlocks = 0;
  static constexpr int kTogether = kNchwTogether;
  static constexpr int kWide = Min(kNchwPixels, kWidest<T>);
  static constexpr int kMaxColumnSums = kColumnSumBytes / int(sizeof(W));

  Problem problem;
  T* output;
  int block_channels;  // a multiple of kTogether
  int column_sums;     // how many fit
  int y_capacity;
  int x_capacity;
  // Whether a pass of kBinsInHand by kBinsInHand bins fits the lists, and the
  // columns of their taps, one row of bins and kTogether channels at a time,
  // fit too. Otherwise a pass is few enough bins to have a thread for each
  // output.
  bool lists_fit;
  int64_t first_unit;

  static int SharedBytes(int column_sums, int y_capacity, int x_capacity) {
    return SharedPieces::Bytes<W>(column_sums) +
           SharedPieces::Bytes<int64_t>(1) +
           SharedPieces::Bytes<int>(x_capacity) +
           Taps::SharedBytes(y_capacity, x_capacity);
  }

  // Elements from column to column: of the channels in hand, an odd number of
  // kTogether, so that those of neighbours lie in different banks.
  static TF_ROIALIGN_HOST_DEVICE_INLINE int ColumnStride(int channels) {
    return kTogether * ((channels + kTogether - 1) / kTogether | 1);
  }

  TF_ROIALIGN_DEVICE void operator()() const {
    const int64_t unit = first_unit + BlockIndex();
    const int slices = (problem.channels + block_channels - 1) / block_channels;
    const int64_t k = unit / slices;
    const int c = static_cast<int>(unit - k * slices) * block_channels;
    const int channels = Min(block_channels, problem.channels - c);
    SharedPieces shared;
    W* sums = shared.Take<W>(column_sums);
    int64_t* image = shared.Take<int64_t>(1);
    int* tap_pixels = shared.Take<int>(x_capacity);
    Taps taps(&shared, y_capacity, x_capacity);

    const BoxOnMap box(problem, k);
    if (ThreadIndex() == kThreads / 2 - 1) {
      *image = box.MeaningfulImage();
    }
    SyncThreads();
    T* const out = output + (k * problem.channels + c) * problem.bins();
    if (*image < 0) {
      StoreNaN(channels * problem.bins(), out);
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
        const Bins pass = {p, Min(rows, problem.pooled_height() - p), q,
                           Min(bins, problem.pooled_width() - q)};
        if (lists_fit) {
          Pass(map, channels, box, pass, sums, tap_pixels, &taps, out);
        } else {
          PassInPieces(map, channels, box, pass, sums, tap_pixels, &taps, out);
        }
      }
    }
  }

 private:
  // Channels of an image, from the one at `data` on.
  struct Planes {
    const T* data;
    int width;
    int64_t stride;
  };

  // Bin rows [p, p + rows) and bins [q, q + count) of each.
  struct Bins {
    int p;
    int rows;
    int q;
    int count;
  };

  // How the columns of a pass lie in shared memory: sums[row of bins][column]
  // [channel].
  struct Columns {
    bool by_tap;  // one for each x tap in hand; else for each pixel from
    int first;    // this one on
    int items;    // of a row: columns, or kWide of them
    int per_row;  // columns
    int stride;   // ColumnStride
    const int* tap_pixels;

    // Those that threads of a warp have at the same time lie side by side.
    TF_ROIALIGN_DEVICE int PlaceOfWide(int column) const {
      return column % kWide * items + column / kWide;
    }
  };

  TF_ROIALIGN_DEVICE void StoreNaN(int64_t count, T* out) const {
    Packed<T, 1> nan;
    Narrow(static_cast<W>(NAN), &nan.e[0]);
    for (int64_t i = ThreadIndex(); i < count; i += kThreads) {
      StoreStreaming(nan, out + i);
    }
  }

  // Whether kWide pixels are aligned if their column is a multiple of kWide.
  TF_ROIALIGN_DEVICE static bool IsAligned(const Planes& map) {
    return ((reinterpret_cast<uintptr_t>(map.data) |
             uintptr_t(map.width) * sizeof(T)) &
            (sizeof(T) * kWide - 1)) == 0;
  }

  // Each pixel between the first and the last that the bins touch has a column
  // if those are not more to load than taps, which neighbouring bins share
  // pixels of.
  TF_ROIALIGN_DEVICE Columns ChooseColumns(const Planes& map,
                                           const PixelRange& pixels, int taps,
                                           bool* wide) const {
    const int count = pixels.end - pixels.begin;
    const int first = pixels.begin / kWide * kWide;
    const int groups = count == 0 ? 0 : (pixels.end - 1 - first) / kWide + 1;
    *wide = kWide > 1 && IsAligned(map) && groups <= taps &&
            groups * kWide * kTogether <= column_sums;
    if (*wide) {
      return {false, first, groups, Max(1, groups * kWide), 0, nullptr};
    }
    if (count <= taps) {
      return {false, pixels.begin, count, Max(1, count), 0, nullptr};
    }
    return {true, 0, taps, taps, 0, nullptr};
  }

  TF_ROIALIGN_DEVICE void Pass(const Planes& map, int channels,
                               const BoxOnMap& box, const Bins& bins, W* sums,
                               int* tap_pixels, Taps* taps, T* out) const {
    MakeTaps(box, bins, taps);
    const int x_all = taps->x.begin(bins.count);
    bool wide;
    Columns columns =
        ChooseColumns(map, taps->x.Pixels(bins.count), x_all, &wide);
    columns.tap_pixels = tap_pixels;
    // All rows of bins at a time, so that outputs are stored in large pieces,
    // if that leaves enough channels; else as many channels as fit with one.
    const int room = column_sums / (kTogether * columns.per_row);
    const int rows = Max(1, Min(bins.rows, room / kNchwLeastGroups));
    const int rows_at_once = EvenShare(bins.rows, rows);
    const int groups = (room / rows_at_once - 1) | 1;
    const int channels_at_once =
        RoundUpToGroup(EvenShare(channels, Min(channels, kTogether * groups)));
    columns.stride = ColumnStride(channels_at_once);
    LocateTaps(x_all, columns, wide, tap_pixels, taps);
    if (columns.by_tap) SyncThreads();
    for (int c = 0; c < channels; c += channels_at_once) {
      const Planes some = {map.data + c * map.stride, map.width, map.stride};
      const int count = Min(channels_at_once, channels - c);
      for (int r = 0; r < bins.rows; r += rows_at_once) {
        const Bins part = {bins.p + r, Min(rows_at_once, bins.rows - r), bins.q,
                           bins.count};
        if (wide) {
          SumColumns<kWide, false>(*taps, some, count, r, part.rows, 0, 0,
                                   columns, sums);
        } else {
          SumColumns<1, false>(*taps, some, count, r, part.rows, 0, 0, columns,
                               sums);
        }
        SyncThreads();
        SumBins(*taps, count, part, columns, sums, out + c * problem.bins());
        SyncThreads();
      }
    }
  }

  // `count` in shares of at most `most`, about the same.
  TF_ROIALIGN_DEVICE static int EvenShare(int count, int most) {
    if (most >= count) return count;
    const int shares = (count + most - 1) / most;
    return (count + shares - 1) / shares;
  }

  TF_ROIALIGN_DEVICE static int RoundUpToGroup(int channels) {
    return (channels + kTogether - 1) / kTogether * kTogether;
  }

  // Ends with a barrier.
  TF_ROIALIGN_DEVICE void MakeTaps(const BoxOnMap& box, const Bins& bins,
                                   Taps* taps) const {
    if (problem.sampling_ratio == 2) {
      taps->MakeTwoSamples(box, bins.p, bins.rows, bins.q, bins.count,
                           kThreads);
      return;
    }
    taps->Count(box, bins.p, bins.rows, bins.q, bins.count, kThreads);
    taps->Make(box, bins.p, bins.rows, bins.q, bins.count, 0,
               taps->y.begin(bins.rows), 0, taps->x.begin(bins.count),
               kThreads);
    taps->Compact(bins.rows, bins.count, kThreads);
  }

  // Puts in the place of each x tap's pixel where its column lies, in bytes.
  TF_ROIALIGN_DEVICE void LocateTaps(int x_all, const Columns& columns,
                                     bool wide, int* tap_pixels,
                                     Taps* taps) const {
    for (int i = ThreadIndex(); i < x_all; i += kThreads) {
      int& pixel = taps->x.taps()[i].pixel;
      if (columns.by_tap) tap_pixels[i] = pixel;
      const int column = columns.by_tap ? i : pixel - columns.first;
      pixel = (wide ? columns.PlaceOfWide(column) : column) * columns.stride *
              static_cast<int>(sizeof(W));
    }
  }

  // sums[r][x][c]: column x summed over bin row first + r, for `rows` rows.
  // N: pixels of a thread. kPieces: of y taps [y, y_to), which are in hand, and
  // of which some are none.
  template <int N, bool kPieces>
  TF_ROIALIGN_DEVICE void SumColumns(const Taps& taps, const Planes& map,
                                     int channels, int first, int rows, int y,
                                     int y_to, const Columns& columns,
                                     W* sums) const {
    const int groups = (channels + kTogether - 1) / kTogether;
    const int across = groups * columns.items;
    if (across == 0) return;
    // Few columns: rows go to several threads.
    const int parts = Max(1, Min(rows, kThreads / across));
    const int part_rows = (rows + parts - 1) / parts;
    const int row_stride = columns.per_row * columns.stride;
    const int row_bytes = map.width * static_cast<int>(sizeof(T));
    for (int item = ThreadIndex(); item < across * parts; item += kThreads) {
      const int part = item / across, in_part = item - part * across;
      const int group = in_part / columns.items;
      const int x = in_part - group * columns.items;
      const int c = group * kTogether;
      const int pixel =
          columns.by_tap ? columns.tap_pixels[x] : columns.first + x * N;
      const T* in[kTogether];
      TF_ROIALIGN_UNROLL
      for (int u = 0; u < kTogether; ++u) {
        // A channel that is not there is another one: its sum is not used.
        in[u] =
            map.data + Min(c + u, channels - 1) * map.stride + Max(0, pixel);
      }
      const int row_end = Min(rows, (part + 1) * part_rows);
      int r = part * part_rows;
      W* to = sums + r * row_stride + x * columns.stride + c;
      for (; r < row_end; ++r) {
        Sums<W, kTogether> column[N];
        int i = taps.y.begin(first + r), end = taps.y.end(first + r);
        if (kPieces) {
          i = Max(0, i - y);
          end = Min(y_to, end) - y;
        }
        if (i >= end || pixel < 0) {
          TF_ROIALIGN_UNROLL
          for (int n = 0; n < N; ++n) column[n].Clear();
        } else {
          AddRow<N, kPieces, true>(taps.y.tap(i), in, row_bytes, column);
          TF_ROIALIGN_NO_UNROLL
          for (++i; i < end; ++i) {
            AddRow<N, kPieces, false>(taps.y.tap(i), in, row_bytes, column);
          }
        }
        TF_ROIALIGN_UNROLL
        for (int n = 0; n < N; ++n) {
          StoreShared(column[n], to + n * columns.items * columns.stride);
        }
        to += row_stride;
      }
    }
  }

  // N pixels of the row of a tap, of kTogether channels. kFirst: of what was
  // summed before there is nothing.
  template <int N, bool kPieces, bool kFirst>
  TF_ROIALIGN_DEVICE static void AddRow(const Tap<W>& tap,
                                        const T* const (&in)[kTogether],
                                        int row_bytes,
                                        Sums<W, kTogether>* column) {
    Packed<T, N> pixels[kTogether];
    TF_ROIALIGN_UNROLL
    for (int u = 0; u < kTogether; ++u) {
      pixels[u] = {};
      if (!kPieces || tap.pixel >= 0) {
        pixels[u] = Load<N>(Advance(in[u], tap.pixel, row_bytes));
      }
    }
    TF_ROIALIGN_UNROLL
    for (int n = 0; n < N; ++n) {
      TF_ROIALIGN_UNROLL
      for (int u = 0; u < kTogether; ++u) {
        const W value = tap.weight * Widen(pixels[u].e[n]);
        column[n].e[u] = kFirst ? value : column[n].e[u] + value;
      }
    }
  }

  // The outputs of `part` out of the columns.
  TF_ROIALIGN_DEVICE void SumBins(const Taps& taps, int channels,
                                  const Bins& part, const Columns& columns,
                                  const W* sums, T* out) const {
    const Divisor cells(part.rows * part.count), bins(part.count);
    const int groups = (channels + kTogether - 1) / kTogether;
    const int items = part.rows * part.count * groups;
    const int row_stride = columns.per_row * columns.stride;
    const int64_t plane = problem.bins();
    T* const out_of_part =
        out + int64_t(part.p) * problem.pooled_width() + part.q;
    for (int item = ThreadIndex(); item < items; item += kThreads) {
      const int group = cells.Quotient(item);
      const int cell = cells.Remainder(item, group);
      const int r = bins.Quotient(cell), i = bins.Remainder(cell, r);
      const int c = group * kTogether;
      const W* const in = sums + (r * row_stride + c);
      Sums<W, kTogether> sum;
      sum.Clear();
      const int end = taps.x.end(i);
      TF_ROIALIGN_NO_UNROLL
      for (int j = taps.x.begin(i); j < end; ++j) {
        const Tap<W> tap = taps.x.tap(j);
        sum.Add(tap.weight, LoadShared<kTogether>(AddBytes(in, tap.pixel)));
      }
      T* to = out_of_part + c * plane + (r * problem.pooled_width() + i);
      if (c + kTogether <= channels) {
        TF_ROIALIGN_UNROLL
        for (int u = 0; u < kTogether; ++u) {
          StoreOne(sum.e[u], to);
          to += plane;
        }
      } else {
        TF_ROIALIGN_UNROLL
        for (int u = 0; u < kTogether; ++u) {
          if (c + u < channels) StoreOne(sum.e[u], to + u * plane);
        }
      }
    }
  }

  TF_ROIALIGN_DEVICE static const W* AddBytes(const W* from, int bytes) {
    return reinterpret_cast<const W*>(
        reinterpret_cast<const unsigned char*>(from) + bytes);
  }

  TF_ROIALIGN_DEVICE static void StoreOne(W value, T* to) {
    Packed<T, 1> packed;
    Narrow(value, &packed.e[0]);
    StoreStreaming(packed, to);
  }

  // The lists made again piece by piece, of one row of bins. Each thread has
  // one output.
  TF_ROIALIGN_DEVICE void PassInPieces(const Planes& map, int channels,
                                       const BoxOnMap& box, const Bins& bins,
                                       W* sums, int* tap_pixels, Taps* taps,
                                       T* out) const {
    taps->Count(box, bins.p, 1, bins.q, bins.count, kThreads);
    const int y_all = taps->y.begin(1), x_all = taps->x.begin(bins.count);
    const int stride = ColumnStride(channels);
    const int c = ThreadIndex() / bins.count;
    const int i = ThreadIndex() - c * bins.count;
    W sum = W(0);
    for (int y = 0; y < y_all; y += y_capacity) {
      const int y_to = Min(y_all, y + y_capacity);
      for (int x = 0; x < x_all; x += x_capacity) {
        const int x_to = Min(x_all, x + x_capacity);
        taps->Make(box, bins.p, 1, bins.q, bins.count, y, y_to, x, x_to,
                   kThreads);
        for (int j = ThreadIndex(); j < x_to - x; j += kThreads) {
          tap_pixels[j] = taps->x.tap(j).pixel;
        }
        SyncThreads();
        SumColumns<1, true>(*taps, map, channels, 0, 1, y, y_to,
                            {true, 0, x_to - x, x_to - x, stride, tap_pixels},
                            sums);
        SyncThreads();
        if (c < channels) {
          const int end = Min(x_to, taps->x.end(i));
          for (int j = Max(x, taps->x.begin(i)); j < end; ++j) {
            const Tap<W> tap = taps->x.tap(j - x);
            if (tap.pixel >= 0) {
              sum += tap.weight * sums[(j - x) * stride + c];
            }
          }
        }
        SyncThreads();
      }
    }
    if (c < channels) {
      StoreOne(sum, out + c * problem.bins() +
                        int64_t(bins.p) * problem.pooled_width() + bins.q + i);
    }
  }
};

}  // namespace cuda
}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CUDA_KERNELS_FORWARD_NCHW_H_
