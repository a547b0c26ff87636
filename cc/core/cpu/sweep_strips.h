// Which part of a map a thread sweeps (sweep.h).

#ifndef TF_ROIALIGN_CC_CORE_CPU_SWEEP_STRIPS_H_
#define TF_ROIALIGN_CC_CORE_CPU_SWEEP_STRIPS_H_

#include <algorithm>
#include <cstdint>
#include <vector>

#include "cc/core/base/span.h"
#include "cc/core/geometry/axis.h"
#include "cc/core/geometry/taps.h"

namespace tf_roialign {

// Threads share a map's rows: a bin belongs to where it begins, so that each is
// summed by one thread, and what two of them read is the rows of a bin. Were
// they to share the boxes, each would read nearly all of the map.
struct SweepStrip {
  int map;
  int64_t image;
  Span rows;
  Span boxes;  // of the image, as BoxSchedule numbers swept boxes
};

// The rows of bins that begin in `strip`. `touched`: the box's window, beyond
// which none begins.
template <typename B>
Span BinRowsIn(const Span& strip, const Axis<B>& axis, int64_t pooled,
               const Span& touched) {
  const bool descending = axis.bin < B(0);
  const auto first_row = [&](int64_t p) {
    const B y = SampleCoordinate(axis, p, Ascending(axis, 0));
    if (!(y > B(touched.begin))) return touched.begin;
    return y < B(touched.end - 1) ? static_cast<int64_t>(y) : touched.end - 1;
  };
  // The first p from which on rows are at least (descending: below) `row`.
  const auto first_bin = [&](int64_t row) {
    Span p = {0, pooled};
    while (!p.empty()) {
      const int64_t middle = p.begin + p.length() / 2;
      if ((first_row(middle) < row) != descending) {
        p.begin = middle + 1;
      } else {
        p.end = middle;
      }
    }
    return p.begin;
  };
  const int64_t a = first_bin(strip.begin), b = first_bin(strip.end);
  return {std::min(a, b), std::max(a, b)};
}

// What the rows of a map cost.
class RowCosts {
 public:
  explicit RowCosts(int64_t height) : costs_(height, 0) {}

  // A box's cost lies where its bins begin.
  void Add(const Span& rows, int64_t pooled_height, double cost) {
    const int64_t bins = std::min<int64_t>(pooled_height, 32);
    for (int64_t p = 0; p < bins; ++p) {
      costs_[rows.begin + p * rows.length() / bins] += cost / double(bins);
    }
    total_ += cost;
    bin_heights_ += double(rows.length()) / double(pooled_height);
    ++boxes_;
    rows_.begin = std::min(rows_.begin, rows.begin);
    rows_.end = std::max(rows_.end, rows.end);
  }

  // For rows between the first and the last that boxes have, and for those that
  // a run reads on to where its bins end.
  void AddToEach(double cost) {
    for (int64_t y = rows_.begin; y < rows_.end; ++y) costs_[y] += cost;
    total_ += cost * double(rows_.length());
    read_on_ = cost * bin_heights_ / double(boxes_);  // on average
  }

  double total() const { return total_; }

  // Cuts the rows into up to `count` runs that cost about the same.
  template <typename Run>
  void ForEachRun(int64_t count, const Run& run) const {
    const int64_t height = int64_t(costs_.size());
    // All runs but the last one read on.
    const double of_run = (total_ - read_on_) / double(count);
    double cost = 0;
    int64_t begin = 0, run_number = 0;
    for (int64_t y = 0; y + 1 < height; ++y) {
      cost += costs_[y];
      const int64_t next = int64_t(cost / of_run);
      if (next == run_number) continue;
      if (next >= count) break;
      run_number = next;
      run(Span{begin, y + 1});
      begin = y + 1;
    }
    run(Span{begin, height});
  }

 private:
  std::vector<double> costs_;
  double total_ = 0;
  double read_on_ = 0;
  double bin_heights_ = 0;
  int64_t boxes_ = 0;
  Span rows_ = {INT64_MAX, 0};  // that boxes have
};

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CPU_SWEEP_STRIPS_H_
