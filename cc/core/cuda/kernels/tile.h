// Feature gradient: what one block, the owner of a tile of the map, has to add.
//
// For each pixel of the tile there is a list of (bin of the upstream gradient,
// weight), made in the order of the boxes: an owner adds the same numbers in
// the same order every time, and nothing is added by anyone else.

#ifndef TF_ROIALIGN_CC_CORE_CUDA_KERNELS_TILE_H_
#define TF_ROIALIGN_CC_CORE_CUDA_KERNELS_TILE_H_

#include <cstdint>
#include <type_traits>

#include "cc/core/cuda/kernels/box_order.h"
#include "cc/core/cuda/kernels/moved_weight.h"
#include "cc/core/cuda/kernels/problem.h"
#include "cc/core/cuda/kernels/tap_lists.h"
#include "cc/core/cuda/platform/portable.h"
#include "cc/core/cuda/tuning.h"
#include "cc/core/geometry/taps.h"

namespace tf_roialign {
namespace cuda {

// Elements from the upstream gradient's begin to the bin in channel 0.
template <typename W>
struct alignas(16) TileEntry {
  int64_t offset;
  W weight;
};

// The bins of one box that touch one row or column of a tile. Weight: W, or
// MovedWeight<W>.
template <typename Weight>
struct PixelRecord {
  int begin;
  int count;
  uint32_t touched;  // bit i: bin begin + i does touch it (i < kKeptWeights)
  Weight weight[kKeptWeights];  // of further bins, it is computed again
};

// One axis of a box before it is scaled.
template <typename B>
struct AxisCorners {
  B c1;
  B c2;
  B scale;
  int pooled;
  int length;
};

// The same, and how the corners move.
template <typename B>
struct MovingCorners : AxisCorners<B> {
  B move1;
  B move2;
};

template <typename B>
TF_ROIALIGN_DEVICE AxisOnMap<B, int> ScaleAxis(const AxisCorners<B>& corners,
                                               int64_t sampling_ratio,
                                               bool aligned) {
  return {MakeAxis(corners.c1, corners.c2, corners.scale, corners.pooled,
                   sampling_ratio, aligned),
          corners.pooled, corners.length, corners.scale};
}

// Whether a bin touches a pixel, and its weight there.
template <typename W, typename B>
TF_ROIALIGN_DEVICE bool WeightAt(const AxisCorners<B>&,
                                 const AxisOnMap<B, int>& box, int bin,
                                 int pixel, W* weight) {
  Tap<W> tap;
  SetTap(pixel, SumPixel<false>(box, bin, pixel, HasManySamples(box, bin)),
         ShareOfSample(box.axis), &tap);
  *weight = tap.weight;
  return tap.pixel >= 0;
}

template <typename W, typename B>
TF_ROIALIGN_DEVICE bool WeightAt(const MovingCorners<B>& corners,
                                 const AxisOnMap<B, int>& box, int bin,
                                 int pixel, MovedWeight<W>* weight) {
  SlopeTap<W> tap;
  SetTap(pixel, SumPixel<true>(box, bin, pixel, HasManySamples(box, bin)),
         ShareOfSample(box.axis), &tap);
  *weight = {tap.weight, MovedWeightOf(tap, corners.move1, corners.move2)};
  return tap.pixel >= 0;
}

template <typename Weight, typename Corners>
TF_ROIALIGN_DEVICE_CALL void MakeRecord(Corners corners, int64_t sampling_ratio,
                                        bool aligned, int pixel,
                                        PixelRecord<Weight>* record) {
  const auto box = ScaleAxis(corners, sampling_ratio, aligned);
  Span bins;
  if (pixel < box.length) bins = FindPixelBins(box, pixel);
  record->begin = static_cast<int>(bins.begin);
  record->count = static_cast<int>(bins.length());
  uint32_t touched = 0;
  for (int i = 0; i < Min(record->count, kKeptWeights); ++i) {
    if (WeightAt(corners, box, record->begin + i, pixel, &record->weight[i])) {
      touched |= uint32_t(1) << i;
    }
  }
  record->touched = touched;
}

template <typename Weight, typename Corners>
TF_ROIALIGN_DEVICE_CALL bool WeightAgain(Corners corners,
                                         int64_t sampling_ratio, bool aligned,
                                         int bin, int pixel, Weight* weight) {
  return WeightAt(corners, ScaleAxis(corners, sampling_ratio, aligned), bin,
                  pixel, weight);
}

struct TileShape {
  int width_log2;
  int height_log2;

  TF_ROIALIGN_HOST_DEVICE_INLINE int width() const { return 1 << width_log2; }
  TF_ROIALIGN_HOST_DEVICE_INLINE int height() const { return 1 << height_log2; }
  TF_ROIALIGN_HOST_DEVICE_INLINE int pixels() const {
    return 1 << (width_log2 + height_log2);
  }
};

// The boxes, by group. `order` null: as they were given, all of one group.
struct OrderedBoxes {
  const int* order;
  const BoxPixels* pixels;
  const BoxRange* ranges;
};

// Where a block is: an image of a map, a tile of it, and one of the shares of
// the channels.
struct TilePlace {
  int map;
  int64_t image;
  int y;
  int x;
  int slice_group;
};

// Weight: along an axis. kThreads: of the block; at least as many as the tile's
// pixels.
template <typename Weight, int kThreads>
class Tile {
 public:
  using W = decltype(Weight() * Weight());
  static constexpr int kWarps = kThreads / kWarp;
  static constexpr int kRecords = kTileRecords;
  static constexpr int kMaxHits = kTileMaxBoxes;

  static int SharedBytes(int entries) {
    return SharedPieces::Bytes<int>(kWarps) +
           SharedPieces::Bytes<int>(kThreads) +
           SharedPieces::Bytes<int64_t>(kMaxHits + kThreads) +
           SharedPieces::Bytes<PixelRecord<Weight>>(kRecords) +
           SharedPieces::Bytes<TileEntry<W>>(entries);
  }

  // `entries`: how many fit, shared evenly by the pixels. Strides: elements of
  // the upstream gradient from box to box and from bin to bin.
  TF_ROIALIGN_DEVICE Tile(const Problem& problem, const OrderedBoxes& boxes,
                          const TileShape& shape, int entries,
                          int64_t box_stride, int64_t bin_stride,
                          const TilePlace& place)
      : problem_(problem),
        map_(problem.maps[place.map]),
        boxes_(boxes),
        shape_(shape),
        per_pixel_(entries >> (shape.width_log2 + shape.height_log2)),
        box_stride_(box_stride),
        bin_stride_(bin_stride),
        group_(GroupOf(problem, place.map, place.image)),
        y_(place.y),
        x_(place.x) {
    SharedPieces shared;
    warp_counts_ = shared.Take<int>(kWarps);
    counts_ = shared.Take<int>(kThreads);
    found_ = shared.Take<int64_t>(kMaxHits + kThreads);
    records_ = shared.Take<PixelRecord<Weight>>(kRecords);
    entries_ = shared.Take<TileEntry<W>>(entries);
  }

  // The lists in hand, of pixel `i` of the tile.
  TF_ROIALIGN_DEVICE int count(int i) const { return counts_[i]; }
  TF_ROIALIGN_DEVICE const TileEntry<W>& entry(int i, int j) const {
    return entries_[(j << (shape_.width_log2 + shape_.height_log2)) + i];
  }
  // From one entry of a pixel to the next.
  TF_ROIALIGN_DEVICE int entry_step() const { return shape_.pixels(); }
  TF_ROIALIGN_DEVICE int row(int i) const { return i >> shape_.width_log2; }
  TF_ROIALIGN_DEVICE int column(int i) const {
    return i & (shape_.width() - 1);
  }

  // Makes the lists, as many at a time as fit, and calls add(first, last)
  // whenever they are ready: at least once, with `first` and `last` for the
  // first and the last time. All threads call it, and may call it again at
  // once. Returns whether one call was enough: the lists then stay as they are.
  template <typename Add>
  TF_ROIALIGN_DEVICE bool ForEachList(const Add& add) {
    const int hits_at_once =
        Min(kMaxHits, kRecords / (shape_.height() + shape_.width()));
    BoxRange range = {0, problem_.boxes};
    if (boxes_.ranges != nullptr) range = boxes_.ranges[group_];
    int64_t next = range.begin;
    int calls = 0;
    do {
      const int found = FindBoxes(range.end, hits_at_once, &next);
      int first = 0;
      do {  // once where none is left: the lists are empty then
        const int hits = Min(hits_at_once, found - first);
        MakeRecords(first, hits);
        int hit = ThreadIndex() < shape_.pixels() ? 0 : hits;
        int i = 0, j = 0;  // of the thread's own pixel: where to go on
        for (bool more = true; more;) {
          if (ThreadIndex() < shape_.pixels()) {
            FillList(first, hits, &hit, &i, &j);
          }
          more = SyncThreadsOr(hit < hits);
          const bool last =
              !more && next >= range.end && first + hits_at_once >= found;
          add(calls == 0, last);
          ++calls;
          // Otherwise MakeRecords() has one before a list is filled again.
          if (more) SyncThreads();
        }
        first += hits_at_once;
      } while (first < found);
    } while (next < range.end);
    return calls == 1;
  }

 private:
  // Looks through the boxes from *next on until at least `enough` are found
  // that may touch the tile. Ends with a barrier.
  TF_ROIALIGN_DEVICE int FindBoxes(int64_t end, int enough, int64_t* next) {
    const int warp = ThreadIndex() / kWarp, lane = ThreadIndex() % kWarp;
    int found = 0;
    while (*next < end && found < enough) {
      const int64_t i = *next + ThreadIndex();
      bool hit = false;
      if (i < end) {
        const BoxPixels pixels = boxes_.pixels[i];
        hit = pixels.y_begin < y_ + shape_.height() && pixels.y_end > y_ &&
              pixels.x_begin < x_ + shape_.width() && pixels.x_end > x_;
      }
      const uint32_t bits = Ballot(hit);
      if (lane == 0) warp_counts_[warp] = CountBits(bits);
      SyncThreads();
      int before = found, all = 0;
      for (int j = 0; j < kWarps; ++j) {
        if (j < warp) before += warp_counts_[j];
        all += warp_counts_[j];
      }
      if (hit) {
        found_[before + CountBits(bits & ((uint32_t(1) << lane) - 1))] =
            boxes_.order == nullptr ? i : boxes_.order[i];
      }
      found += all;
      *next += kThreads;
      SyncThreads();
    }
    return found;
  }

  // What MakeRecord and WeightAgain need of a box: values, so that they can be
  // functions of their own and keep their registers to themselves.
  template <typename B>
  TF_ROIALIGN_DEVICE auto CornersOf(int64_t k, bool is_row) const {
    const B* box = problem_.BoxesAs<B>().coordinates(k);
    const AxisCorners<B> corners =
        is_row
            ? AxisCorners<B>{box[kY1], box[kY2], static_cast<B>(map_.scale_y),
                             problem_.pooled_height(), map_.height}
            : AxisCorners<B>{box[kX1], box[kX2], static_cast<B>(map_.scale_x),
                             problem_.pooled_width(), map_.width};
    if constexpr (std::is_same_v<Weight, W>) {
      return corners;
    } else {
      const B* move = CoordinatesOfRow(
          static_cast<const B*>(problem_.direction), problem_.columns, k);
      return MovingCorners<B>{corners, move[is_row ? kY1 : kX1],
                              move[is_row ? kY2 : kX2]};
    }
  }

  // For found boxes [first, first + hits). Ends with a barrier.
  TF_ROIALIGN_DEVICE void MakeRecords(int first, int hits) {
    const int per_box = shape_.height() + shape_.width();
    TF_ROIALIGN_NO_UNROLL
    for (int item = ThreadIndex(); item < hits * per_box; item += kThreads) {
      const int hit = item / per_box, i = item - hit * per_box;
      const int64_t k = found_[first + hit];
      const bool is_row = i < shape_.height();
      const int pixel = is_row ? y_ + i : x_ + (i - shape_.height());
      if (problem_.boxes_are_double) {
        MakeRecord(CornersOf<double>(k, is_row), problem_.sampling_ratio,
                   problem_.aligned, pixel, &records_[item]);
      } else {
        MakeRecord(CornersOf<float>(k, is_row), problem_.sampling_ratio,
                   problem_.aligned, pixel, &records_[item]);
      }
    }
    SyncThreads();
  }

  // Whether bin `i` of the record touches its pixel, and its weight.
  TF_ROIALIGN_DEVICE bool WeightOf(const PixelRecord<Weight>& record, int i,
                                   int64_t k, bool is_row, int pixel,
                                   Weight* weight) const {
    if (i < kKeptWeights) {
      *weight = record.weight[i];
      return (record.touched >> i & 1) != 0;
    }
    const int bin = record.begin + i;
    return problem_.boxes_are_double
               ? WeightAgain(CornersOf<double>(k, is_row),
                             problem_.sampling_ratio, problem_.aligned, bin,
                             pixel, weight)
               : WeightAgain(CornersOf<float>(k, is_row),
                             problem_.sampling_ratio, problem_.aligned, bin,
                             pixel, weight);
  }

  // Fills the list of this thread's pixel, from bin row *i and bin *j of what
  // touches it of box *hit on.
  TF_ROIALIGN_DEVICE void FillList(int first, int hits, int* hit, int* i,
                                   int* j) {
    const int pixel = ThreadIndex(), per_box = shape_.height() + shape_.width();
    const int shift = shape_.width_log2 + shape_.height_log2;
    int count = 0;
    while (*hit < hits && count < per_pixel_) {
      const PixelRecord<Weight>& in_row = records_[*hit * per_box + row(pixel)];
      const PixelRecord<Weight>& in_column =
          records_[*hit * per_box + shape_.height() + column(pixel)];
      const int64_t k = found_[first + *hit];
      const int columns = in_column.count;
      while (columns > 0 && *i < in_row.count && count < per_pixel_) {
        Weight y_weight;
        if (!WeightOf(in_row, *i, k, true, y_ + row(pixel), &y_weight)) {
          ++*i;
          *j = 0;
          continue;
        }
        const int64_t bin =
            int64_t(in_row.begin + *i) * problem_.pooled_width() +
            in_column.begin;
        for (; *j < columns && count < per_pixel_; ++*j) {
          Weight x_weight;
          if (WeightOf(in_column, *j, k, false, x_ + column(pixel),
                       &x_weight)) {
            entries_[(count << shift) + pixel] = {
                k * box_stride_ + (bin + *j) * bin_stride_,
                y_weight * x_weight};
            ++count;
          }
        }
        if (*j >= columns) {
          ++*i;
          *j = 0;
        }
      }
      if (columns <= 0 || *i >= in_row.count) {
        ++*hit;
        *i = *j = 0;
      }
    }
    counts_[pixel] = count;
  }

  const Problem& problem_;
  const DeviceMap& map_;
  OrderedBoxes boxes_;
  TileShape shape_;
  int per_pixel_;
  int64_t box_stride_;
  int64_t bin_stride_;
  int64_t group_;
  int y_;
  int x_;
  int* warp_counts_;
  int* counts_;
  int64_t* found_;
  PixelRecord<Weight>* records_;
  TileEntry<W>* entries_;
};

// How a map is covered by tiles.
struct TileGrid {
  int64_t across;
  int64_t down;

  TF_ROIALIGN_HOST_DEVICE_INLINE TileGrid(const DeviceMap& map,
                                          const TileShape& shape)
      : across((int64_t(map.width) + shape.width() - 1) >> shape.width_log2),
        down((int64_t(map.height) + shape.height() - 1) >> shape.height_log2) {}
};

// Where block `index` is, of `slice_groups` shares of the channels.
TF_ROIALIGN_DEVICE TilePlace PlaceOfTile(int64_t index, const Problem& problem,
                                         const TileShape& shape,
                                         int slice_groups) {
  TilePlace place;
  place.map = 0;
  for (;;) {
    const TileGrid grid(problem.maps[place.map], shape);
    const int64_t blocks =
        problem.batch * slice_groups * grid.down * grid.across;
    if (index < blocks || place.map + 1 >= problem.map_count) {
      // Neighbours in x follow one another: they read the same boxes.
      const int64_t slice_and_row = index / grid.across;
      const int64_t image_and_slice = slice_and_row / grid.down;
      place.x = static_cast<int>(index - slice_and_row * grid.across)
                << shape.width_log2;
      place.y = static_cast<int>(slice_and_row - image_and_slice * grid.down)
                << shape.height_log2;
      place.image = image_and_slice / slice_groups;
      place.slice_group =
          static_cast<int>(image_and_slice - place.image * slice_groups);
      return place;
    }
    index -= blocks;
    ++place.map;
  }
}

}  // namespace cuda
}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CUDA_KERNELS_TILE_H_
