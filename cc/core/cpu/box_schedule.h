// In which order the boxes of a call are visited, and how they are shared out.

#ifndef TF_ROIALIGN_CC_CORE_CPU_BOX_SCHEDULE_H_
#define TF_ROIALIGN_CC_CORE_CPU_BOX_SCHEDULE_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "cc/core/call/boxes.h"
#include "cc/core/call/params.h"
#include "cc/core/base/span.h"

namespace tf_roialign {

// Pixels that the samples of an axis may touch; none: an empty span.
template <typename B>
Span TouchedPixels(const Axis<B>& axis, int64_t pooled, int64_t length) {
  if (axis.grid <= 0) return {};
  // The coordinates of all samples lie between those of the first and the last,
  // up to rounding, for which a pixel is added on either side.
  const B a = SampleCoordinate(axis, 0, 0);
  const B b = SampleCoordinate(axis, pooled - 1, axis.grid - 1);
  const B slack = B(1) + (std::abs(a) + std::abs(b)) * 4 *
                             std::numeric_limits<B>::epsilon();
  const B low = std::min(a, b) - slack;
  const B high = std::max(a, b) + slack + B(1);
  if (!(low <= B(length)) || !(high >= B(-1))) return {};
  return {low > B(0) ? static_cast<int64_t>(low) : 0,
          high < B(length - 1) ? static_cast<int64_t>(high) + 1 : length};
}

// Boxes of an image stand together, neighbours on the map one after the other,
// so that the second finds in cache what the first has brought in. Shares are
// runs of boxes that cost about the same: an adaptive box of 800 pixels is not
// one of 8.
class BoxSchedule {
 public:
  struct Entry {
    int64_t box;
    int64_t image;
    bool finite;
    // The window: what the box's samples may touch.
    Span rows;
    Span columns;
    // Orders the boxes of an image.
    uint64_t place;
    // Of the forward, roughly, in nanoseconds.
    double cost;

    bool touches_map() const { return !rows.empty() && !columns.empty(); }
    bool operator<(const Entry& other) const {
      if (image != other.image) return image < other.image;
      if (place != other.place) return place < other.place;
      return box < other.box;
    }
  };

  template <typename B>
  BoxSchedule(const Params& params, const Sizes& sizes,
              const BoxTable<B>& boxes) {
    entries_.reserve(boxes.count);
    for (int64_t k = 0; k < boxes.count; ++k) {
      entries_.push_back(MakeEntry(params, sizes, boxes, k));
      cost_ += entries_.back().cost;
      edge_pixels_ +=
          double(entries_[k].rows.length() + entries_[k].columns.length());
      window_pixels_ += double(entries_[k].rows.length()) *
                        double(entries_[k].columns.length());
    }
    std::sort(entries_.begin(), entries_.end());

    image_begin_.assign(sizes.batch + 1, 0);
    for (const Entry& entry : entries_) ++image_begin_[entry.image + 1];
    for (int64_t n = 0; n < sizes.batch; ++n) {
      image_begin_[n + 1] += image_begin_[n];
    }
    CutShares();
  }

  const std::vector<Entry>& entries() const { return entries_; }
  const Entry* begin(int64_t image) const {
    return entries_.data() + image_begin_[image];
  }
  const Entry* end(int64_t image) const { return begin(image + 1); }

  int64_t shares() const { return int64_t(share_begin_.size()) - 1; }
  double share_cost() const { return cost_ / double(shares()); }
  // The first entry of a share; that of share `shares()` is the end.
  const Entry* share_begin(int64_t share) const {
    return entries_.data() + share_begin_[share];
  }

  // All boxes together.
  double cost() const { return cost_; }
  // Heights and widths of all windows.
  double edge_pixels() const { return edge_pixels_; }
  double window_pixels() const { return window_pixels_; }

 private:
  // Enough that the last ones to be taken are short.
  static constexpr int64_t kShares = 64;
  static constexpr int64_t kCell = 8;  // pixels

  template <typename B>
  static Entry MakeEntry(const Params& params, const Sizes& sizes,
                         const BoxTable<B>& boxes, int64_t k) {
    const BoxAxes<B> axes = MakeBoxAxes(params, boxes.coordinates(k));
    Entry entry{k, boxes.image[k], axes.finite(), {}, {}, 0, 500};
    double taps = 0;
    if (entry.finite) {
      entry.rows = TouchedPixels(axes.y, params.pooled_height, sizes.height);
      entry.columns = TouchedPixels(axes.x, params.pooled_width, sizes.width);
      entry.place = MortonCode(Cell(entry.rows), Cell(entry.columns));
      taps = CountTaps(axes.y, params.pooled_height, entry.rows) *
             CountTaps(axes.x, params.pooled_width, entry.columns);
    }
    const double bins = double(params.pooled_height) * params.pooled_width;
    entry.cost += 0.08 * double(sizes.channels) * (taps + 2 * bins);
    return entry;
  }

  static uint32_t Cell(const Span& span) {
    return static_cast<uint32_t>((span.first + span.last) / 2 / kCell);
  }

  // Interleaves the bits of two coordinates: what is near on the curve is near
  // on the map.
  static uint64_t MortonCode(uint32_t y, uint32_t x) {
    const auto spread = [](uint64_t v) {
      v = (v | v << 16) & 0x0000ffff0000ffffu;
      v = (v | v << 8) & 0x00ff00ff00ff00ffu;
      v = (v | v << 4) & 0x0f0f0f0f0f0f0f0fu;
      v = (v | v << 2) & 0x3333333333333333u;
      return (v | v << 1) & 0x5555555555555555u;
    };
    return spread(y) << 1 | spread(x);
  }

  // About how many taps the axis has.
  template <typename B>
  static double CountTaps(const Axis<B>& axis, int64_t pooled,
                          const Span& touched) {
    const double bin = std::abs(double(axis.bin));
    const double inside = std::min(
        1.0, double(touched.length() + 1) / (bin * double(pooled) + 1));
    return inside * double(pooled) * std::min(2.0 * double(axis.grid), bin + 2);
  }

  void CutShares() {
    const int64_t count = int64_t(entries_.size());
    const int64_t shares = std::min(count, kShares);
    share_begin_.push_back(0);
    double cost = 0;
    for (int64_t i = 0; i < count; ++i) {
      const int64_t made = int64_t(share_begin_.size());
      cost += entries_[i].cost;
      if (made < shares && cost * double(shares) >= cost_ * double(made)) {
        share_begin_.push_back(i + 1);
      }
    }
    if (share_begin_.back() < count) share_begin_.push_back(count);
  }

  std::vector<Entry> entries_;
  std::vector<int64_t> image_begin_;
  std::vector<int64_t> share_begin_;
  double cost_ = 0;
  double edge_pixels_ = 0;
  double window_pixels_ = 0;
};

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CPU_BOX_SCHEDULE_H_
