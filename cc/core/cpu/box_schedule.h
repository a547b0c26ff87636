// In which order the boxes of a call are visited, and how they are shared out.

#ifndef TF_ROIALIGN_CC_CORE_CPU_BOX_SCHEDULE_H_
#define TF_ROIALIGN_CC_CORE_CPU_BOX_SCHEDULE_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "cc/core/base/span.h"
#include "cc/core/call/feature_maps.h"
#include "cc/core/call/params.h"
#include "cc/core/cpu/box_table.h"
#include "cc/core/cpu/tuning.h"
#include "cc/core/geometry/box_axes.h"
#include "cc/core/geometry/touched_pixels.h"

namespace tf_roialign {

// Boxes of an image of a map stand together, neighbours on it one after the
// other, so that the second finds in cache what the first has brought in.
// Shares are runs of boxes that cost about the same: an adaptive box of 800
// pixels is not one of 8.
class BoxSchedule {
 public:
  struct Entry {
    int64_t box;
    int map;
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
      if (map != other.map) return map < other.map;
      if (image != other.image) return image < other.image;
      if (place != other.place) return place < other.place;
      return box < other.box;
    }
  };

  template <typename T, typename B>
  BoxSchedule(const Params& params, const Sizes& sizes,
              const FeatureMaps<T>& maps, const BoxTable<B>& boxes)
      : batch_(sizes.batch) {
    entries_.reserve(boxes.count());
    for (int64_t k = 0; k < boxes.count(); ++k) {
      const FeatureMap<T>& map = maps[boxes.map(k)];
      entries_.push_back(MakeEntry(params, sizes.channels, map, boxes, k));
      const Entry& entry = entries_.back();
      cost_ += entry.cost;
      edge_pixels_ += double(entry.rows.length() + entry.columns.length());
      window_pixels_ +=
          double(entry.rows.length()) * double(entry.columns.length());
    }
    std::sort(entries_.begin(), entries_.end());

    image_begin_.assign(maps.count() * batch_ + 1, 0);
    for (const Entry& entry : entries_) {
      ++image_begin_[entry.map * batch_ + entry.image + 1];
    }
    for (size_t i = 1; i < image_begin_.size(); ++i) {
      image_begin_[i] += image_begin_[i - 1];
    }
    CutShares();
  }

  const std::vector<Entry>& entries() const { return entries_; }
  // The boxes of an image of a map.
  const Entry* begin(int map, int64_t image) const {
    return entries_.data() + image_begin_[map * batch_ + image];
  }
  const Entry* end(int map, int64_t image) const {
    return entries_.data() + image_begin_[map * batch_ + image + 1];
  }

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
  template <typename T, typename B>
  static Entry MakeEntry(const Params& params, int64_t channels,
                         const FeatureMap<T>& map, const BoxTable<B>& boxes,
                         int64_t k) {
    const BoxAxes<B> axes = MakeBoxAxes(params, map, boxes.coordinates(k));
    Entry entry{k, boxes.map(k), boxes.image(k), axes.finite(), {}, {},
                0, kBoxCost};
    double taps = 0;
    if (entry.finite) {
      entry.rows = TouchedPixels(axes.y, params.pooled_height(), map.height);
      entry.columns = TouchedPixels(axes.x, params.pooled_width(), map.width);
      entry.place = MortonCode(Cell(entry.rows), Cell(entry.columns));
      taps = CountTaps(axes.y, params.pooled_height(), entry.rows) *
             CountTaps(axes.x, params.pooled_width(), entry.columns);
    }
    const double bins =
        double(params.pooled_height()) * double(params.pooled_width());
    entry.cost += kTapCost * double(channels) * (taps + 2 * bins);
    return entry;
  }

  static uint32_t Cell(const Span& span) {
    return static_cast<uint32_t>((span.begin + span.end) / 2 / kNeighbourCell);
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
    const int64_t shares = std::min(count, kBoxShares);
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

  int64_t batch_;
  std::vector<Entry> entries_;
  std::vector<int64_t> image_begin_;  // [maps * batch + 1]
  std::vector<int64_t> share_begin_;
  double cost_ = 0;
  double edge_pixels_ = 0;
  double window_pixels_ = 0;
};

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CPU_BOX_SCHEDULE_H_
