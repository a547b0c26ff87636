// In which order the boxes of a call are visited, and how they are shared out.

#ifndef TF_ROIALIGN_CC_CORE_CPU_BOX_SCHEDULE_H_
#define TF_ROIALIGN_CC_CORE_CPU_BOX_SCHEDULE_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <mutex>
#include <vector>

#include "cc/core/base/parallel.h"
#include "cc/core/base/span.h"
#include "cc/core/call/feature_maps.h"
#include "cc/core/call/params.h"
#include "cc/core/cpu/box_order.h"
#include "cc/core/cpu/box_table.h"
#include "cc/core/cpu/raw_array.h"
#include "cc/core/cpu/sweep_pays.h"
#include "cc/core/cpu/sweep_strips.h"
#include "cc/core/cpu/tuning.h"
#include "cc/core/cpu/woken_threads.h"
#include "cc/core/geometry/box_axes.h"
#include "cc/core/geometry/touched_pixels.h"

namespace tf_roialign {

// Boxes of an image of a map stand together, neighbours on it one after the
// other, so that the second finds in cache what the first has brought in.
// Shares are runs of boxes that cost about the same: an adaptive box of 800
// pixels is not one of 8. Boxes that are worth a sweep are shared out by strips
// of their map and blocks of channels instead.
class BoxSchedule {
 public:
  struct Entry {
    int64_t box;
    int64_t image;
    int map;
    bool finite;
    bool is_swept;  // sweep.h
    // The window: what the box's samples may touch.
    Span rows;
    Span columns;

    bool touches_map() const { return !rows.empty() && !columns.empty(); }
  };

  // Entries in the schedule's order.
  class Range {
   public:
    class Iterator {
     public:
      Iterator(const BoxKey* key, const Entry* entries)
          : key_(key), entries_(entries) {}
      const Entry& operator*() const { return entries_[key_->box]; }
      Iterator& operator++() {
        ++key_;
        return *this;
      }
      bool operator!=(const Iterator& other) const {
        return key_ != other.key_;
      }

     private:
      const BoxKey* key_;
      const Entry* entries_;
    };

    Range(const BoxKey* keys, int64_t count, const Entry* entries)
        : keys_(keys), count_(count), entries_(entries) {}

    Iterator begin() const { return {keys_, entries_}; }
    Iterator end() const { return {keys_ + count_, entries_}; }
    bool empty() const { return count_ == 0; }
    // Of `parts` parts of about as many entries.
    Range part(int64_t parts, int64_t i) const {
      const Span part = PartOf(count_, parts, i);
      return {keys_ + part.begin, part.length(), entries_};
    }

   private:
    const BoxKey* keys_;
    int64_t count_;
    const Entry* entries_;
  };

  // `sweeping_threads`: the threads of a call that sweeps, else 0.
  template <typename T, typename B>
  BoxSchedule(const ParallelFor& parallel_for, const Params& params,
              const Sizes& sizes, const FeatureMaps<T>& maps,
              const BoxTable<B>& boxes, int64_t sweeping_threads = 0)
      : batch_(sizes.batch),
        entries_(boxes.count()),
        keys_(boxes.count()),
        count_(boxes.count()),
        image_begin_(maps.count() * sizes.batch + 1, 0) {
    RawArray<double> costs(boxes.count());
    const KeyBits bits =
        BitsOfKeys(sizes, maps,
                   sweeping_threads > 1 &&
                       boxes.count() < kBoxesPerThread * sweeping_threads);
    std::mutex mutex;
    // The threads that this wakes are needed next: it may cost as much.
    parallel_for(boxes.count(), UnitCost(kEntryCost),
                 [&](int64_t begin, int64_t end) {
                   Totals totals;
                   for (int64_t k = begin; k < end; ++k) {
                     costs[k] = MakeEntry(params, sizes, maps, boxes, bits, k);
                     totals.Add(entries_[k], costs[k]);
                   }
                   std::lock_guard<std::mutex> lock(mutex);
                   totals_.Add(totals);
                 });
    SortByKey(bits.image + bits.cost + bits.place, &keys_);
    CutImages();
    if (sweeping_threads > 0 && totals_.swept_cost > 0) {
      CutStrips(params, maps, costs, sizes.channels, sweeping_threads);
    }
    CutShares(costs, sweeping_threads);
  }

  // Of a box, by its number.
  const Entry& entry(int64_t box) const { return entries_[box]; }

  // In the schedule's order: of an image of a map.
  Range entries(int map, int64_t image) const {
    const int64_t* begin = &image_begin_[map * batch_ + image];
    return MakeRange(begin[0], begin[1]);
  }
  // Of shares begin <= i < end.
  Range entries_of_shares(int64_t begin, int64_t end) const {
    return MakeRange(share_begin_[begin], share_begin_[end]);
  }

  int64_t shares() const { return int64_t(share_begin_.size()) - 1; }

  // In a call that sweeps, swept boxes are no part of entries and shares.
  int64_t swept() const { return int64_t(swept_.size()); }
  const Entry& swept_entry(int64_t i) const { return *swept_[i]; }
  const SweepStrip& strip(int64_t i) const { return strips_[i]; }
  // Of kSweepChannels: each strip is swept once for each of them.
  int64_t channel_blocks() const { return channel_blocks_; }
  // Strips times blocks of channels; shares follow.
  int64_t sweeps() const { return int64_t(strips_.size()) * channel_blocks_; }
  // What threads take.
  int64_t units() const { return sweeps() + shares(); }
  double unit_cost() const { return totals_.cost / double(units()); }

  // Of all forwards together, roughly, in nanoseconds.
  double cost() const { return totals_.cost; }
  // Heights and widths of all windows.
  double edge_pixels() const { return totals_.edge_pixels; }
  double window_pixels() const { return totals_.window_pixels; }

 private:
  // Sums of whole numbers: the same in whatever order.
  struct Totals {
    double cost = 0;
    double swept_cost = 0;
    double edge_pixels = 0;
    double window_pixels = 0;

    void Add(const Entry& entry, double entry_cost) {
      const double rows = double(entry.rows.length());
      const double columns = double(entry.columns.length());
      Add({entry_cost, entry.is_swept ? entry_cost : 0, rows + columns,
           rows * columns});
    }
    void Add(const Totals& other) {
      cost += other.cost;
      swept_cost += other.swept_cost;
      edge_pixels += other.edge_pixels;
      window_pixels += other.window_pixels;
    }
  };

  // A key: the map and the image, if few boxes come to a thread the octave of
  // the cost, dear ones first, so that none of them is left for the end; and
  // then the place, of which bits are left out if there are too few.
  struct KeyBits {
    int image;
    int cost;
    int place;
    int left_out;
  };

  template <typename T>
  static KeyBits BitsOfKeys(const Sizes& sizes, const FeatureMaps<T>& maps,
                            bool by_cost) {
    const int image = Bits(uint64_t(maps.count()) * uint64_t(sizes.batch));
    int64_t side = 0;
    for (const FeatureMap<T>& map : maps) {
      side = std::max({side, map.height, map.width});
    }
    const int wanted = 2 * Bits(uint64_t(side / kNeighbourCell));
    const int cost = by_cost ? std::min(6, 64 - image) : 0;
    const int place = std::min(wanted, 64 - image - cost);
    return {image, cost, place, wanted - place};
  }

  // Of a number up to `most`.
  static int Bits(uint64_t most) {
    int bits = 0;
    for (; most > 0; most >>= 1) ++bits;
    return bits;
  }

  // Returns the cost of its forward.
  template <typename T, typename B>
  double MakeEntry(const Params& params, const Sizes& sizes,
                   const FeatureMaps<T>& maps, const BoxTable<B>& boxes,
                   const KeyBits& bits, int64_t k) {
    const FeatureMap<T>& map = maps[boxes.map(k)];
    const BoxAxes<B> axes = MakeBoxAxes(params, map, boxes.coordinates(k));
    Entry entry{k, boxes.image(k), boxes.map(k), axes.finite(), false, {}, {}};
    uint64_t place = 0;
    double taps = 0;
    if (entry.finite) {
      entry.rows = TouchedPixels(axes.y, params.pooled_height(), map.height);
      entry.columns = TouchedPixels(axes.x, params.pooled_width(), map.width);
      entry.is_swept =
          SweepPays(params, map, entry.rows, entry.columns, sizes.channels);
      place = MortonCode(Cell(entry.rows), Cell(entry.columns));
      taps = CountTaps(axes.y, params.pooled_height(), entry.rows) *
             CountTaps(axes.x, params.pooled_width(), entry.columns);
    }
    entries_[k] = entry;
    const uint64_t image =
        uint64_t(entry.map) * uint64_t(batch_) + uint64_t(entry.image);
    const double bins =
        double(params.pooled_height()) * double(params.pooled_width());
    const double cost = std::floor(
        kBoxCost + kTapCost * double(sizes.channels) * (taps + 2 * bins));
    const int last_octave = (1 << bits.cost) - 1;
    const uint64_t octave =
        uint64_t(last_octave - std::min(std::ilogb(cost), last_octave));
    const int low = bits.cost + bits.place;
    // In two steps: a shift by 64 would be none.
    keys_[k] = {image << low / 2 << (low + 1) / 2 | octave << bits.place |
                    place >> bits.left_out,
                k};
    return cost;
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

  Range MakeRange(int64_t begin, int64_t end) const {
    return {keys_.data() + begin, end - begin, entries_.data()};
  }

  void CutImages() {
    size_t made = 0;
    for (size_t i = 0; i < keys_.size(); ++i) {
      const Entry& entry = entries_[keys_[i].box];
      const size_t image = size_t(entry.map * batch_ + entry.image);
      while (made < image) image_begin_[++made] = int64_t(i);
    }
    while (made + 1 < image_begin_.size()) {
      image_begin_[++made] = int64_t(keys_.size());
    }
  }

  template <typename T>
  void CutStrips(const Params& params, const FeatureMaps<T>& maps,
                 const RawArray<double>& costs, int64_t channels,
                 int64_t threads) {
    channel_blocks_ = (channels - 1) / kSweepChannels + 1;
    // A strip reads on to where its last bins end: there are no more than for
    // the threads that are woken.
    const double strips =
        WokenThreads(threads, totals_.cost) / double(channel_blocks_);
    int64_t begin = 0;
    count_ = 0;
    for (size_t i = 0; i + 1 < image_begin_.size(); ++i) {
      const Span keys = {begin, image_begin_[i + 1]};
      begin = keys.end;
      const Span boxes = {swept(), TakeSwept(keys)};
      image_begin_[i + 1] = count_;
      if (boxes.empty()) continue;
      const int map = int(int64_t(i) / batch_);
      RowCosts rows(maps[map].height);
      for (int64_t k = boxes.begin; k < boxes.end; ++k) {
        rows.Add(swept_[k]->rows, params.pooled_height(),
                 costs[swept_[k]->box]);
      }
      const double most = std::ceil(strips * rows.total() / totals_.cost);
      rows.AddToEach(kSweptRowCost * double(maps[map].width) *
                     double(channels));
      rows.ForEachRun(int64_t(most), [&](const Span& run) {
        strips_.push_back({map, int64_t(i) % batch_, run, boxes});
      });
    }
  }

  // Moves swept boxes to where they are numbered; returns how many there are.
  int64_t TakeSwept(const Span& keys) {
    for (int64_t i = keys.begin; i < keys.end; ++i) {
      const Entry& entry = entries_[keys_[i].box];
      if (entry.is_swept) {
        swept_.push_back(&entry);
      } else {
        keys_[count_++] = keys_[i];
      }
    }
    return swept();
  }

  void CutShares(const RawArray<double>& costs, int64_t threads) {
    const double all =
        sweeps() > 0 ? totals_.cost - totals_.swept_cost : totals_.cost;
    double shares = std::clamp(all / kShareCost, 1.0, kMostShares);
    if (sweeps() > 0) {
      // Units are taken for equal; smaller ones may only be so many that sweeps
      // are still taken one by one.
      const double equal = all * double(sweeps()) / totals_.swept_cost;
      shares =
          std::min(shares, std::max(double(kBlocksPerThread * threads), equal));
    }
    shares = std::floor(std::min(shares, double(count_)));
    share_begin_.reserve(size_t(shares) + 1);
    share_begin_.push_back(0);
    if (count_ == 0) return;
    const double share_cost = all / shares;
    double cost = 0;
    double wanted = share_cost;
    for (int64_t i = 0; i + 1 < count_; ++i) {
      cost += costs[keys_[i].box];
      if (cost < wanted) continue;
      share_begin_.push_back(i + 1);
      wanted = share_cost * double(share_begin_.size());
    }
    share_begin_.push_back(count_);
  }

  int64_t batch_;
  RawArray<Entry> entries_;           // by box
  RawArray<BoxKey> keys_;             // in the schedule's order
  int64_t count_;                     // of keys_, without swept boxes
  std::vector<int64_t> image_begin_;  // [maps * batch + 1]
  std::vector<int64_t> share_begin_;
  std::vector<const Entry*> swept_;  // in the schedule's order
  std::vector<SweepStrip> strips_;
  int64_t channel_blocks_ = 1;
  Totals totals_;
};

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CPU_BOX_SCHEDULE_H_
