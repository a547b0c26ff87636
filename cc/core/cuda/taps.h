// The taps of an axis (see cc/core/axis_taps.h) one at a time: each is computed
// from its index alone, so that the threads of a block share the work, lists of
// any length can be made in pieces, and no thread needs an array.

#ifndef TF_ROIALIGN_CC_CORE_CUDA_TAPS_H_
#define TF_ROIALIGN_CC_CORE_CUDA_TAPS_H_

#include <cstdint>

#include "cc/core/cuda/portable.h"
#include "cc/core/geometry/axis.h"

namespace tf_roialign {
namespace gpu {

// pixel < 0: no tap, and nothing may be read for it.
template <typename W>
struct Tap {
  int pixel;
  W weight;
};

// slope1, slope2: d(weight) / d(c1), d(weight) / d(c2) of the box.
template <typename W>
struct SlopeTap {
  int pixel;
  W weight;
  W slope1;
  W slope2;
};

// One axis of one box.
template <typename B>
struct AxisOfBox {
  Axis<B> axis;
  int pooled;
  int length;
  B spatial_scale;
};

// Sample `i` of bin `p` by ascending coordinate.
template <typename B>
TF_ROIALIGN_DEVICE int64_t Ascending(const Axis<B>& axis, int64_t i) {
  return axis.bin < B(0) ? axis.grid - 1 - i : i;
}

// Where a sample lies, seen from `pixel`: -1 if all it touches comes before (or
// it is outside, before the map), 0 if it touches the pixel, 1 if after.
template <typename B>
TF_ROIALIGN_DEVICE int SideOf(const AxisOfBox<B>& box, int64_t p, int64_t t,
                              int64_t pixel) {
  const B coordinate = SampleCoordinate(box.axis, p, t);
  if (!(coordinate >= B(-1))) return -1;
  if (coordinate > B(box.length)) return 1;
  const LinearSample<B> sample = Interpolate(coordinate, box.length);
  return sample.hi < pixel ? -1 : sample.lo > pixel ? 1 : 0;
}

// The weight of one pixel in one bin, summed over the bin's samples in double:
// a bin may merge any number of them.
struct PixelSums {
  double weight = 0;
  double slope1 = 0;
  double slope2 = 0;
  bool touched = false;
};

// Adds `count` samples like `sample`.
template <bool kSlopes, typename B>
TF_ROIALIGN_DEVICE void AddSamples(const LinearSample<B>& sample, double count,
                                   double fraction, double slope1,
                                   double slope2, int64_t pixel,
                                   PixelSums* sums) {
  if (sample.lo == pixel) {
    sums->weight += count * (1.0 - fraction);
    if (kSlopes && sample.moves) {
      sums->slope1 -= count * slope1;
      sums->slope2 -= count * slope2;
    }
  } else if (sample.hi == pixel) {
    sums->weight += count * fraction;
    if (kSlopes && sample.moves) {
      sums->slope1 += count * slope1;
      sums->slope2 += count * slope2;
    }
  } else {
    return;
  }
  sums->touched = true;
}

// Bins of up to this many samples are looked at sample by sample.
constexpr int64_t kFewSamples = 4;
// A run of more samples of one pixel is summed in closed form.
constexpr int64_t kManySamples = 64;

// The weight of `pixel` in bin `p`, times the number of samples.
template <bool kSlopes, typename B>
TF_ROIALIGN_DEVICE PixelSums SumPixel(const AxisOfBox<B>& box, int64_t p,
                                      int64_t pixel) {
  const Axis<B>& axis = box.axis;
  PixelSums sums;
  if (axis.grid <= 0) return sums;
  int64_t begin = 0, end = axis.grid;
  if (axis.grid > kFewSamples) {
    int64_t high = axis.grid;  // the first sample that is not before the pixel
    while (begin < high) {
      const int64_t middle = begin + (high - begin) / 2;
      if (SideOf(box, p, Ascending(axis, middle), pixel) < 0) {
        begin = middle + 1;
      } else {
        high = middle;
      }
    }
    int64_t low = begin;  // the first after it
    while (low < end) {
      const int64_t middle = low + (end - low) / 2;
      if (SideOf(box, p, Ascending(axis, middle), pixel) > 0) {
        end = middle;
      } else {
        low = middle + 1;
      }
    }
  }
  const bool runs = end - begin > kManySamples;
  for (int64_t i = begin; i < end;) {
    const int64_t t = Ascending(axis, i);
    const B coordinate = SampleCoordinate(axis, p, t);
    int64_t next = i + 1;
    if (IsInside(coordinate, box.length)) {
      const LinearSample<B> sample = Interpolate(coordinate, box.length);
      double fraction = sample.fraction;
      CoordinateSlope<B> slope{};
      if (kSlopes) {
        slope = SampleSlope(axis, box.spatial_scale, box.pooled, p, t);
      }
      double slope1 = slope.c1, slope2 = slope.c2;
      if (runs) {
        // Samples between the same two pixels are evenly spaced: a run of them
        // has the mean of its first and last. Where it ends is bisected.
        int64_t last = i;
        next = end;
        while (next - last > 1) {
          const int64_t middle = last + (next - last) / 2;
          const LinearSample<B> other = Interpolate(
              SampleCoordinate(axis, p, Ascending(axis, middle)), box.length);
          const bool same =
              other.lo == sample.lo && other.moves == sample.moves;
          (same ? last : next) = middle;
        }
        const int64_t last_t = Ascending(axis, last);
        fraction =
            (fraction +
             double(Interpolate(SampleCoordinate(axis, p, last_t), box.length)
                        .fraction)) /
            2;
        if (kSlopes) {
          const CoordinateSlope<B> other =
              SampleSlope(axis, box.spatial_scale, box.pooled, p, last_t);
          slope1 = (slope1 + double(other.c1)) / 2;
          slope2 = (slope2 + double(other.c2)) / 2;
        }
      }
      AddSamples<kSlopes>(sample, double(next - i), fraction, slope1, slope2,
                          pixel, &sums);
    }
    i = next;
  }
  return sums;
}

template <typename W>
TF_ROIALIGN_DEVICE void SetTap(int pixel, const PixelSums& sums, double scale,
                               Tap<W>* tap) {
  tap->pixel = sums.touched ? pixel : -1;
  tap->weight = static_cast<W>(sums.weight * scale);
}

template <typename W>
TF_ROIALIGN_DEVICE void SetTap(int pixel, const PixelSums& sums, double scale,
                               SlopeTap<W>* tap) {
  tap->pixel = sums.touched ? pixel : -1;
  tap->weight = static_cast<W>(sums.weight * scale);
  tap->slope1 = static_cast<W>(sums.slope1 * scale);
  tap->slope2 = static_cast<W>(sums.slope2 * scale);
}

template <typename AnyTap>
constexpr bool kHasSlopes = false;
template <typename W>
inline constexpr bool kHasSlopes<SlopeTap<W>> = true;

// Which taps a bin has. Where samples are dense, one for each pixel from `base`
// on; where they are sparse (a fixed sampling_ratio on a large box), two for
// each sample from `base` on.
struct BinTaps {
  int64_t base;
  int count;
  bool by_sample;
};

template <typename B>
TF_ROIALIGN_DEVICE BinTaps FindBinTaps(const AxisOfBox<B>& box, int64_t p) {
  const SampleRange range = InsideSamples(box.axis, p, box.length);
  const int64_t samples = range.last - range.first;
  if (samples <= 0) return {0, 0, false};
  const LinearSample<B> a =
      Interpolate(SampleCoordinate(box.axis, p, range.first), box.length);
  const LinearSample<B> b =
      Interpolate(SampleCoordinate(box.axis, p, range.last - 1), box.length);
  const int64_t lo = Min(a.lo, b.lo);
  const int64_t span = Max(a.hi, b.hi) - lo + 1;
  if (2 * samples < span) {
    return {range.first, static_cast<int>(2 * samples), true};
  }
  return {lo, static_cast<int>(span), false};
}

// Tap `i` of bin `p`; none if i >= count.
template <typename AnyTap, typename B>
TF_ROIALIGN_DEVICE AnyTap TapAt(const AxisOfBox<B>& box, int64_t p,
                                const BinTaps& bin, int i) {
  constexpr bool kSlopes = kHasSlopes<AnyTap>;
  AnyTap tap;
  PixelSums sums;
  int64_t pixel = 0;
  if (i < bin.count) {
    if (bin.by_sample) {
      const int64_t t = bin.base + i / 2;
      const LinearSample<B> sample =
          Interpolate(SampleCoordinate(box.axis, p, t), box.length);
      CoordinateSlope<B> slope{};
      if (kSlopes) {
        slope = SampleSlope(box.axis, box.spatial_scale, box.pooled, p, t);
      }
      pixel = i % 2 == 0 ? sample.lo : sample.hi;
      if (i % 2 == 0 || sample.hi != sample.lo) {
        AddSamples<kSlopes>(sample, 1.0, sample.fraction, slope.c1, slope.c2,
                            pixel, &sums);
      }
    } else {
      pixel = bin.base + i;
      sums = SumPixel<kSlopes>(box, p, pixel);
    }
  }
  SetTap(static_cast<int>(pixel), sums,
         1.0 / double(Max<int64_t>(box.axis.grid, 1)), &tap);
  return tap;
}

// For a fixed sampling_ratio of 2: the at most four taps of bin `p`, without a
// search and in the weights' own type (two terms are rounded once).
template <typename W, typename B>
TF_ROIALIGN_DEVICE void TwoSampleTaps(const AxisOfBox<B>& box, int64_t p,
                                      Tap<W>* taps) {
  TF_ROIALIGN_UNROLL
  for (int i = 0; i < 4; ++i) taps[i] = {-1, W(0)};
  int64_t lo[2] = {-1, -1}, hi[2] = {-1, -1};
  W low_weight[2] = {}, high_weight[2] = {};
  TF_ROIALIGN_UNROLL
  for (int t = 0; t < 2; ++t) {
    const B coordinate = SampleCoordinate(box.axis, p, t);
    if (!IsInside(coordinate, box.length)) continue;
    const LinearSample<B> sample = Interpolate(coordinate, box.length);
    lo[t] = sample.lo;
    low_weight[t] = (W(1) - static_cast<W>(sample.fraction)) * W(0.5);
    if (sample.hi == sample.lo) continue;
    hi[t] = sample.hi;
    high_weight[t] = static_cast<W>(sample.fraction) * W(0.5);
  }
  // What the second sample shares with the first goes to the first.
  if (lo[1] >= 0 && lo[1] == lo[0]) {
    low_weight[0] += low_weight[1];
    lo[1] = -1;
  } else if (lo[1] >= 0 && lo[1] == hi[0]) {
    high_weight[0] += low_weight[1];
    lo[1] = -1;
  }
  if (hi[1] >= 0 && hi[1] == lo[0]) {
    low_weight[0] += high_weight[1];
    hi[1] = -1;
  } else if (hi[1] >= 0 && hi[1] == hi[0]) {
    high_weight[0] += high_weight[1];
    hi[1] = -1;
  }
  taps[0] = {static_cast<int>(lo[0]), low_weight[0]};
  taps[1] = {static_cast<int>(hi[0]), high_weight[0]};
  taps[2] = {static_cast<int>(lo[1]), low_weight[1]};
  taps[3] = {static_cast<int>(hi[1]), high_weight[1]};
}

// The bins that touch a pixel: [begin, begin + count).
struct PixelBins {
  int begin;
  int count;
};

// Bins lie one after the other along the axis, and a sample of given number is
// monotone in the bin, in floating point too; so those that touch a pixel are
// found by bisection and follow one another. A bin may pass over the pixel with
// samples on both sides and none on it: that bin is then the only one.
template <typename B>
TF_ROIALIGN_DEVICE PixelBins FindPixelBins(const AxisOfBox<B>& box,
                                           int64_t pixel) {
  const Axis<B>& axis = box.axis;
  if (axis.grid <= 0) return {0, 0};
  // Bins by ascending coordinate; a reversed box's are mirrored.
  const bool descending = axis.bin < B(0);
  const int64_t first_sample = Ascending(axis, 0);
  const int64_t last_sample = Ascending(axis, axis.grid - 1);
  int begin = 0, high = box.pooled;  // the first bin not before the pixel
  while (begin < high) {
    const int middle = (begin + high) / 2;
    const int p = descending ? box.pooled - 1 - middle : middle;
    if (SideOf(box, p, last_sample, pixel) < 0) {
      begin = middle + 1;
    } else {
      high = middle;
    }
  }
  int low = begin, end = box.pooled;  // the first after it
  while (low < end) {
    const int middle = (low + end) / 2;
    const int p = descending ? box.pooled - 1 - middle : middle;
    if (SideOf(box, p, first_sample, pixel) > 0) {
      end = middle;
    } else {
      low = middle + 1;
    }
  }
  return {descending ? box.pooled - end : begin, end - begin};
}

}  // namespace gpu
}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CUDA_TAPS_H_
