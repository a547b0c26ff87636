// Boxes with large windows together, row of the map by row, so that the map is
// read from memory once and not once for each box.

#ifndef TF_ROIALIGN_CC_CORE_CPU_SWEEP_H_
#define TF_ROIALIGN_CC_CORE_CPU_SWEEP_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "cc/core/base/span.h"
#include "cc/core/call/boxes.h"
#include "cc/core/call/feature_maps.h"
#include "cc/core/call/params.h"
#include "cc/core/cpu/aligned_vector.h"
#include "cc/core/cpu/box_taps.h"
#include "cc/core/cpu/simd/kernels.h"
#include "cc/core/cpu/tuning.h"
#include "cc/core/cpu/window.h"
#include "cc/core/dtypes/quantization.h"

namespace tf_roialign {

// What a visit of a sweep brings to a box: some of its taps along y, all of bin
// row p, the pixels behind them, and which channels; `pixels` has the first of
// them.
template <typename T>
struct TapRows {
  int64_t p;
  Span taps;
  Pixels<T> pixels;
  Span channels;
};

// Visitor: what happens to the boxes. It has a type Box, KeptElements(taps,
// channels) of accumulators that a box needs in the meantime, and Visit(taps,
// TapRows, kept, box). A bin's taps come in their order for each block of
// kSweepChannels, so that what comes out does not depend on the other boxes.
template <typename T, typename Visitor>
class Sweep {
 public:
  using W = Accumulator<T>;

  // Of an image's `channels`, it goes through those of `part`.
  Sweep(const Visitor& visitor, const T* image, int64_t width, int64_t channels,
        const Span& part)
      : visitor_(visitor),
        image_{image, width * channels, channels},
        part_(part) {}

  // A box, of which `bin_rows` are visited. `taps`: theirs, which `builder`
  // holds; the sweep keeps it and gives another one. Too many boxes are visited
  // in between.
  void Add(const Span& bin_rows, const BoxTaps<W>& taps,
           BoxTapsBuilder<W>* builder, const typename Visitor::Box& box) {
    if (held_taps_ > kSweptTapsHeld) Run();
    const int64_t size = taps.y.begin[taps.pooled_height] +
                         taps.x.begin[taps.pooled_width] + kSweptBoxTaps;
    held_taps_ += size;
    made_taps_ += size;
    if (count_ == boxes_.size()) boxes_.emplace_back();
    Box& added = boxes_[count_++];
    std::swap(added.builder, *builder);
    added.bin_rows = bin_rows;
    added.taps = taps;
    added.visited = box;
  }

  // Visits all boxes that were added.
  void Run() {
    for (Span some = {part_.begin, 0}; some.begin < part_.end;
         some.begin = some.end) {
      some.end = std::min(some.begin + kSweepChannels, part_.end);
      for (size_t begin = 0, end; begin < count_; begin = end) {
        end = EndOfGroup(begin, some.length());
        RunGroup(begin, end, some);
      }
    }
    count_ = 0;
    held_taps_ = 0;
    // A builder keeps memory for the largest box that it ever had.
    if (made_taps_ > kSweptTapsHeld) {
      boxes_.clear();
      made_taps_ = 0;
    }
  }

 private:
  struct Box {
    BoxTapsBuilder<W> builder;
    Span bin_rows;
    BoxTaps<W> taps;
    typename Visitor::Box visited;
    W* kept;
    // What comes next: a row of bins, and a tap of it along y.
    int64_t bin_row;
    int64_t tap;
  };

  // In whole cache lines.
  int64_t KeptElements(const Box& box, int64_t channels) const {
    constexpr int64_t kLine = 64 / sizeof(W);
    const int64_t count = visitor_.KeptElements(box.taps, channels);
    return (count + kLine - 1) / kLine * kLine;
  }

  // As many boxes as their bins leave room for.
  size_t EndOfGroup(size_t begin, int64_t channels) const {
    int64_t bytes = 0;
    size_t end = begin;
    for (; end < count_ && bytes < kSweepBytes; ++end) {
      bytes += boxes_[end].taps.pooled_width * channels * int64_t(sizeof(W));
    }
    return end;
  }

  // Boxes [begin, end).
  void RunGroup(size_t begin, size_t end, const Span& channels) {
    int64_t size = 0;
    for (size_t b = begin; b < end; ++b) {
      size += KeptElements(boxes_[b], channels.length());
    }
    if (int64_t(kept_.size()) < size) kept_.resize(size);
    W* kept = kept_.data();
    Span rows = {INT64_MAX, 0}, columns = {INT64_MAX, 0};
    for (size_t b = begin; b < end; ++b) {
      Box& box = boxes_[b];
      box.kept = kept;
      kept += KeptElements(box, channels.length());
      box.bin_row = box.bin_rows.begin;
      box.tap = 0;
      Extend(box.taps.y, box.taps.pooled_height, &rows);
      Extend(box.taps.x, box.taps.pooled_width, &columns);
    }
    // At least one: rows of bins without any tap have to be visited, too.
    if (rows.empty()) rows = {0, 1};
    if (columns.empty()) columns = {0, 1};

    Pixels<T> image = image_;
    image.origin += channels.begin;
    const bool copies = channels.length() < image_.pixel_stride;
    // A row stays in cache from box to box. The next one comes meanwhile.
    const int64_t ahead = (columns.length() - 1) / int64_t(end - begin) + 1;
    for (int64_t y = rows.begin; y < rows.end; ++y) {
      const Pixels<T> pixels =
          copies ? CopyRow(image, y, columns, channels.length()) : image;
      int64_t x = y + 1 < rows.end ? columns.begin : columns.end;
      for (size_t b = begin; b < end; ++b) {
        for (const int64_t last = std::min(x + ahead, columns.end); x < last;
             ++x) {
          PrefetchPixel(image.at(y + 1, x), channels.length());
        }
        VisitRow(y, pixels, image, channels, &boxes_[b]);
      }
    }
  }

  static void Extend(const TapsView<W>& taps, int64_t pooled, Span* span) {
    for (int64_t i = 0; i < taps.begin[pooled]; ++i) {
      span->begin = std::min(span->begin, taps.pixel[i]);
      span->end = std::max(span->end, taps.pixel[i] + 1);
    }
  }

  // Some channels of a row, one pixel next to the other: at the distance of all
  // channels they would have a part of the cache's sets only.
  Pixels<T> CopyRow(const Pixels<T>& from, int64_t y, const Span& columns,
                    int64_t channels) {
    row_.resize(columns.length() * channels);
    T* to = row_.data();
    for (int64_t x = columns.begin; x < columns.end; ++x, to += channels) {
      std::copy_n(from.at(y, x), channels, to);
    }
    return {OriginOfMap(row_.data(), {{0, 1}, columns}, 0, channels), 0,
            channels};
  }

  // Into the second cache.
  static void PrefetchPixel(const T* pixel, int64_t channels) {
    const char* bytes = reinterpret_cast<const char*>(pixel);
    for (int64_t b = 0; b < channels * int64_t(sizeof(T)); b += 64) {
      __builtin_prefetch(bytes + b, 0, 2);
    }
  }

  // What row y of the map means to a box, which then goes on to its next taps.
  void VisitRow(int64_t y, const Pixels<T>& row, const Pixels<T>& image,
                const Span& channels, Box* box) {
    const TapsView<W>& taps = box->taps.y;
    for (; box->bin_row < box->bin_rows.end; ++box->bin_row) {
      const int64_t end = taps.begin[box->bin_row + 1];
      do {
        const int64_t first = box->tap;
        if (first < end && taps.pixel[first] > y) return;
        // Bins that overlap go back by a row or two.
        const bool goes_back = first < end && taps.pixel[first] < y;
        while (box->tap < end && taps.pixel[box->tap] < y + !goes_back) {
          ++box->tap;
        }
        visitor_.Visit(box->taps,
                       {box->bin_row,
                        {first, box->tap},
                        goes_back ? image : row,
                        channels},
                       box->kept, box->visited);
      } while (box->tap < end);
    }
  }

  const Visitor visitor_;
  const Pixels<T> image_;
  const Span part_;
  std::vector<Box> boxes_;
  size_t count_ = 0;
  int64_t held_taps_ = 0;
  int64_t made_taps_ = 0;  // that boxes_ may have memory for
  AlignedVector<W> kept_;
  AlignedVector<T> row_;
};

// The forward. Bins are stored with their last taps; until then their sums are
// kept.
template <typename T>
struct ForwardVisitor {
  using W = Accumulator<T>;
  struct Box {
    Requantization<W> to_codes;
    T* output;
  };

  static int64_t KeptElements(const BoxTaps<W>& taps, int64_t channels) {
    return taps.pooled_width * (channels + 1);
  }
  void Visit(const BoxTaps<W>& taps, const TapRows<T>& rows, W* kept,
             const Box& box) const {
    kernels.forward_rows(taps, rows.p, rows.taps, rows.pixels,
                         rows.channels.length(), box.to_codes, stream, kept,
                         box.output + rows.p * taps.pooled_width * bin_stride +
                             rows.channels.begin,
                         bin_stride);
  }

  const CpuKernels<T>& kernels;
  bool stream;
  int64_t bin_stride;
};

// The gradient to the boxes: kCoordinates sums for each block of channels and
// row of bins. Made apart and added in their order, they give the same bits,
// whichever sweeps they come from.
template <typename T>
struct BoxGradVisitor {
  using W = Accumulator<T>;
  struct Box {
    const T* grad_output;
    double* sums;
  };

  static int64_t KeptElements(const BoxTaps<W>&, int64_t) { return 0; }
  void Visit(const BoxTaps<W>& taps, const TapRows<T>& rows, W*,
             const Box& box) const {
    const int64_t row =
        rows.channels.begin / kSweepChannels * taps.pooled_height + rows.p;
    const T* const bin = box.grad_output +
                         rows.p * taps.pooled_width * bin_stride +
                         rows.channels.begin;
    // One by one: how many come together depends on where the sweep begins.
    for (int64_t i = rows.taps.begin; i < rows.taps.end; ++i) {
      kernels.box_grad_rows(taps, {i, i + 1}, rows.pixels,
                            rows.channels.length(), bin, bin_stride,
                            box.sums + row * kCoordinates);
    }
  }

  const CpuKernels<T>& kernels;
  int64_t bin_stride;
};

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CPU_SWEEP_H_
