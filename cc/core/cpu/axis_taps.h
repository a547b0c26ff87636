// The taps of one axis of one box: for each bin, the pixels that its samples
// touch, each once, with the sum of their weights.
//
//   output[p, q] = sum over taps (y, wy) of bin p and (x, wx) of bin q
//                  of wy * wx * feature[y, x]
//
// The 1 / grid of the average is in the weights, but for those of BuildSums.

#ifndef TF_ROIALIGN_CC_CORE_CPU_AXIS_TAPS_H_
#define TF_ROIALIGN_CC_CORE_CPU_AXIS_TAPS_H_

#include <algorithm>
#include <cstdint>
#include <vector>

#include "cc/core/geometry/axis.h"
#include "cc/core/cpu/simd/taps_view.h"

namespace tf_roialign {

// Reused from box to box: after the first few it allocates nothing.
template <typename W>
class AxisTaps {
 public:
  template <typename T>
  void Build(const Axis<T>& axis, int64_t pooled, int64_t length) {
    Build<T, false>(axis, pooled, length, T(0), Share(axis));
  }

  // Without the 1 / grid: sums instead of averages.
  template <typename T>
  void BuildSums(const Axis<T>& axis, int64_t pooled, int64_t length) {
    Build<T, false>(axis, pooled, length, T(0), 1);
  }

  template <typename T>
  void BuildWithSlopes(const Axis<T>& axis, int64_t pooled, int64_t length,
                       T spatial_scale) {
    Build<T, true>(axis, pooled, length, spatial_scale, Share(axis));
  }

  TapsView<W> view() const {
    return {begin_.data(), pixel_.data(), weight_.data(), slope1_.data(),
            slope2_.data()};
  }

 private:
  // Far above what is used; below it, samples are visited one by one.
  static constexpr int64_t kManySamples = 1024;

  // Sums run in double: a bin may merge any number of samples.
  struct Sums {
    double weight;
    double slope1;
    double slope2;
  };

  // Of a sample in the average of its bin.
  template <typename T>
  static double Share(const Axis<T>& axis) {
    return axis.grid > 0 ? 1.0 / double(axis.grid) : 0.0;
  }

  template <typename T, bool kSlopes>
  void Build(const Axis<T>& axis, int64_t pooled, int64_t length,
             T spatial_scale, double share) {
    begin_.resize(pooled + 1);
    pixel_.clear();
    sums_.clear();
    for (int64_t p = 0; p < pooled; ++p) {
      begin_[p] = static_cast<int64_t>(pixel_.size());
      const SampleRange range = InsideSamples(axis, p, length);
      if (range.last - range.first > kManySamples) {
        AddRuns<T, kSlopes>(axis, p, range, pooled, length, spatial_scale);
        continue;
      }
      // Visited by ascending coordinate, so that a pixel already met is one of
      // the last two.
      const bool descending = axis.bin < T(0);
      for (int64_t i = range.first; i < range.last; ++i) {
        const int64_t t = descending ? range.first + range.last - 1 - i : i;
        const LinearSample<T> sample =
            Interpolate(SampleCoordinate(axis, p, t), length);
        const CoordinateSlope<T> slope =
            kSlopes ? SampleSlope(axis, spatial_scale, pooled, p, t)
                    : CoordinateSlope<T>{};
        Add<kSlopes>(begin_[p], sample, 1, sample.fraction, slope.c1, slope.c2);
      }
    }
    begin_[pooled] = static_cast<int64_t>(pixel_.size());

    const size_t count = sums_.size();
    weight_.resize(count);
    slope1_.resize(kSlopes ? count : 0);
    slope2_.resize(kSlopes ? count : 0);
    for (size_t i = 0; i < count; ++i) {
      weight_[i] = static_cast<W>(sums_[i].weight * share);
      if (kSlopes) {
        slope1_[i] = static_cast<W>(sums_[i].slope1 * share);
        slope2_[i] = static_cast<W>(sums_[i].slope2 * share);
      }
    }
  }

  // The same for any number of samples, in time that grows with the pixels: a
  // run of samples between the same two pixels has the mean of its first and
  // last, since they are evenly spaced.
  template <typename T, bool kSlopes>
  void AddRuns(const Axis<T>& axis, int64_t p, const SampleRange& range,
               int64_t pooled, int64_t length, T spatial_scale) {
    const bool descending = axis.bin < T(0);
    const auto sample_at = [&](int64_t i) {  // by ascending coordinate
      const int64_t t = descending ? range.first + range.last - 1 - i : i;
      return Interpolate(SampleCoordinate(axis, p, t), length);
    };
    const auto slope_at = [&](int64_t i) {
      const int64_t t = descending ? range.first + range.last - 1 - i : i;
      return SampleSlope(axis, spatial_scale, pooled, p, t);
    };
    for (int64_t i = range.first; i < range.last;) {
      const LinearSample<T> first = sample_at(i);
      int64_t last = i, end = range.last;  // bisected: the run is [i, end)
      while (end - last > 1) {
        const int64_t middle = last + (end - last) / 2;
        const LinearSample<T> sample = sample_at(middle);
        const bool same = sample.lo == first.lo && sample.moves == first.moves;
        (same ? last : end) = middle;
      }
      const double fraction =
          (double(first.fraction) + double(sample_at(last).fraction)) / 2;
      double slope1 = 0, slope2 = 0;
      if (kSlopes) {
        const CoordinateSlope<T> a = slope_at(i), b = slope_at(last);
        slope1 = (double(a.c1) + double(b.c1)) / 2;
        slope2 = (double(a.c2) + double(b.c2)) / 2;
      }
      Add<kSlopes>(begin_[p], first, end - i, fraction, slope1, slope2);
      i = end;
    }
  }

  // Adds `count` samples between the pixels of `sample`.
  template <bool kSlopes, typename T>
  void Add(int64_t bin_begin, const LinearSample<T>& sample, int64_t count,
           double fraction, double slope1, double slope2) {
    const double n = static_cast<double>(count);
    Sums lo{n * (1.0 - fraction), 0, 0};
    Sums hi{n * fraction, 0, 0};
    if (kSlopes && sample.moves) {
      hi.slope1 = n * slope1;
      hi.slope2 = n * slope2;
      lo.slope1 = -hi.slope1;
      lo.slope2 = -hi.slope2;
    }
    Merge(bin_begin, sample.lo, lo);
    if (sample.hi != sample.lo) Merge(bin_begin, sample.hi, hi);
  }

  void Merge(int64_t bin_begin, int64_t pixel, const Sums& sums) {
    const int64_t count = static_cast<int64_t>(pixel_.size());
    for (int64_t i = count - 1; i >= bin_begin && i >= count - 2; --i) {
      if (pixel_[i] == pixel) {
        sums_[i].weight += sums.weight;
        sums_[i].slope1 += sums.slope1;
        sums_[i].slope2 += sums.slope2;
        return;
      }
    }
    pixel_.push_back(pixel);
    sums_.push_back(sums);
  }

  std::vector<int64_t> begin_;
  std::vector<int64_t> pixel_;
  std::vector<Sums> sums_;
  std::vector<W> weight_;
  std::vector<W> slope1_;
  std::vector<W> slope2_;
};

// Taps by pixel, for the gradient to the features.
template <typename W>
class PixelTaps {
 public:
  void Build(const TapsView<W>& taps, int64_t pooled) {
    const int64_t count = taps.begin[pooled];
    pixel_.clear();
    begin_.assign(1, 0);
    bin_.resize(count);
    weight_.resize(count);
    if (count == 0) return;
    const auto [low, high] =
        std::minmax_element(taps.pixel, taps.pixel + count);
    const int64_t first = *low, span = *high - *low + 1;
    // Counting sort, which keeps the bins of a pixel in their order.
    place_.assign(span + 1, 0);
    for (int64_t i = 0; i < count; ++i) ++place_[taps.pixel[i] - first + 1];
    for (int64_t i = 0; i < span; ++i) {
      place_[i + 1] += place_[i];
      if (place_[i + 1] == place_[i]) continue;
      pixel_.push_back(first + i);
      begin_.push_back(place_[i + 1]);
    }
    for (int64_t p = 0; p < pooled; ++p) {
      for (int64_t i = taps.begin[p]; i < taps.begin[p + 1]; ++i) {
        const int64_t to = place_[taps.pixel[i] - first]++;
        bin_[to] = p;
        weight_[to] = taps.weight[i];
      }
    }
  }

  PixelTapsView<W> view() const {
    return {static_cast<int64_t>(pixel_.size()), pixel_.data(), begin_.data(),
            bin_.data(), weight_.data()};
  }

 private:
  std::vector<int64_t> pixel_;
  std::vector<int64_t> begin_;
  std::vector<int64_t> bin_;
  std::vector<W> weight_;
  std::vector<int64_t> place_;
};

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CPU_AXIS_TAPS_H_
