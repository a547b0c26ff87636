// The taps of an axis: for each bin, the pixels that its samples touch, with
// the sums of their weights.
//
//   output[p, q] = sum over taps (y, wy) of bin p and (x, wx) of bin q
//                  of wy * wx * feature[y, x]
//
// This is their definition, one tap at a time: each is computed from its index
// alone, so that the threads of a block share the work, lists of any length can
// be made in pieces, and no thread needs an array. The CPU makes the same taps
// in one walk over a bin's samples (cpu/axis_taps.h); a test holds the two
// against each other, bit by bit.

#ifndef TF_ROIALIGN_CC_CORE_GEOMETRY_TAPS_H_
#define TF_ROIALIGN_CC_CORE_GEOMETRY_TAPS_H_

#include <cstdint>

#include "cc/core/base/host_device.h"
#include "cc/core/base/span.h"
#include "cc/core/geometry/axis.h"

namespace tf_roialign {

// pixel < 0: no tap, and nothing may be read for it. Aligned so that a device
// reads it at once.
template <typename W>
struct alignas(2 * sizeof(W)) Tap {
  int pixel;
  W weight;
};

// slope1, slope2: d(weight) / d(c1), d(weight) / d(c2) of the box.
template <typename W>
struct alignas(16) SlopeTap {
  int pixel;
  W weight;
  W slope1;
  W slope2;
};

// An axis of a box on its map. I: int, or int64_t for maps beyond 2^31 pixels.
template <typename B, typename I>
struct AxisOnMap {
  Axis<B> axis;
  I pooled;
  I length;
  B scale;
};

// Sample `i` of a bin by ascending coordinate, and the inverse.
template <typename B>
TF_ROIALIGN_HOST_DEVICE_INLINE int64_t Ascending(const Axis<B>& axis,
                                                 int64_t i) {
  return axis.bin < B(0) ? axis.grid - 1 - i : i;
}

// Of a sample in the average of its bin.
template <typename B>
TF_ROIALIGN_HOST_DEVICE_INLINE double ShareOfSample(const Axis<B>& axis) {
  return 1.0 / double(Max<int64_t>(axis.grid, 1));
}

// In bins of more samples inside the map than this, far above what is used,
// runs of samples are summed in closed form. Unmeasured.
constexpr int64_t kManySamples = 1024;

// Samples between the same two pixels, from one on by ascending coordinate.
// They are evenly spaced: a run of them has the mean of its first and last.
template <typename B>
struct SampleRun {
  LinearSample<B> sample;  // the first
  int64_t end;             // the one after the last
  double fraction;
  double slope1;
  double slope2;
};

// Sample `i` of bin `p` by ascending coordinate, which is inside the map: a run
// of one.
template <bool kSlopes, typename B, typename I>
TF_ROIALIGN_HOST_DEVICE_INLINE SampleRun<B> OneSample(
    const AxisOnMap<B, I>& box, int64_t p, int64_t i) {
  const int64_t t = Ascending(box.axis, i);
  SampleRun<B> run;
  run.sample = Interpolate(SampleCoordinate(box.axis, p, t), box.length);
  run.end = i + 1;
  run.fraction = run.sample.fraction;
  CoordinateSlope<B> slope{};
  if (kSlopes) slope = SampleSlope(box.axis, box.scale, box.pooled, p, t);
  run.slope1 = slope.c1;
  run.slope2 = slope.c2;
  return run;
}

// The whole run from there on, as far as it goes before `end`.
template <bool kSlopes, typename B, typename I>
TF_ROIALIGN_HOST_DEVICE_INLINE SampleRun<B> RunFrom(const AxisOnMap<B, I>& box,
                                                    int64_t p, int64_t begin,
                                                    int64_t end) {
  const Axis<B>& axis = box.axis;
  SampleRun<B> run = OneSample<kSlopes>(box, p, begin);
  LinearSample<B> last_sample = run.sample;
  int64_t last = begin;  // bisected: the run is [begin, end)
  while (end - last > 1) {
    const int64_t middle = last + (end - last) / 2;
    const LinearSample<B> sample = Interpolate(
        SampleCoordinate(axis, p, Ascending(axis, middle)), box.length);
    if (sample.lo == run.sample.lo && sample.moves == run.sample.moves) {
      last = middle;
      last_sample = sample;
    } else {
      end = middle;
    }
  }
  run.end = end;
  run.fraction = (run.fraction + double(last_sample.fraction)) / 2;
  if (kSlopes) {
    const CoordinateSlope<B> slope =
        SampleSlope(axis, box.scale, box.pooled, p, Ascending(axis, last));
    run.slope1 = (run.slope1 + double(slope.c1)) / 2;
    run.slope2 = (run.slope2 + double(slope.c2)) / 2;
  }
  return run;
}

// Sums run in double: a bin may merge any number of samples.
struct TapSums {
  double weight = 0;
  double slope1 = 0;
  double slope2 = 0;
};

// What `count` samples give to the lower or the upper of their pixels.
template <bool kSlopes, typename B>
TF_ROIALIGN_HOST_DEVICE_INLINE TapSums SumsOfRun(const SampleRun<B>& run,
                                                 double count, bool is_upper) {
  TapSums sums;
  sums.weight = count * (is_upper ? run.fraction : 1.0 - run.fraction);
  if (kSlopes && run.sample.moves) {
    const double sign = is_upper ? count : -count;
    sums.slope1 = sign * run.slope1;
    sums.slope2 = sign * run.slope2;
  }
  return sums;
}

// Where a sample lies, seen from `pixel`: -1 if all it touches comes before (or
// it is outside, before the map), 0 if it touches the pixel, 1 if after.
template <typename B, typename I>
TF_ROIALIGN_HOST_DEVICE_INLINE int SideOf(const AxisOnMap<B, I>& box, int64_t p,
                                          int64_t t, int64_t pixel) {
  const B coordinate = SampleCoordinate(box.axis, p, t);
  if (!(coordinate >= B(-1))) return -1;
  if (coordinate > B(box.length)) return 1;
  const LinearSample<B> sample = Interpolate(coordinate, box.length);
  return sample.hi < pixel ? -1 : sample.lo > pixel ? 1 : 0;
}

struct PixelSums {
  TapSums sums = {-0.0, -0.0, -0.0};  // adds nothing, not even a sign
  bool touched = false;
};

template <bool kSlopes, typename B>
TF_ROIALIGN_HOST_DEVICE_INLINE void AddRun(const SampleRun<B>& run,
                                           double count, int64_t pixel,
                                           PixelSums* to) {
  const bool is_lower = run.sample.lo == pixel;
  if (!is_lower && run.sample.hi != pixel) return;
  const TapSums sums = SumsOfRun<kSlopes>(run, count, !is_lower);
  to->sums.weight += sums.weight;
  to->sums.slope1 += sums.slope1;
  to->sums.slope2 += sums.slope2;
  to->touched = true;
}

// Bins of up to this many samples are looked at sample by sample. Unmeasured.
constexpr int64_t kFewSamples = 4;

// Whether bin `p` has many samples inside the map.
template <typename B, typename I>
TF_ROIALIGN_HOST_DEVICE_INLINE bool HasManySamples(const AxisOnMap<B, I>& box,
                                                   int64_t p) {
  return box.axis.grid > kManySamples &&
         InsideSamples(box.axis, p, box.length).length() > kManySamples;
}

// The weight of `pixel` in bin `p`, times the number of samples. `many`: what
// HasManySamples says of the bin.
template <bool kSlopes, typename B, typename I>
TF_ROIALIGN_HOST_DEVICE_INLINE PixelSums SumPixel(const AxisOnMap<B, I>& box,
                                                  int64_t p, int64_t pixel,
                                                  bool many) {
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
  for (int64_t i = begin; i < end;) {
    if (!IsInside(SampleCoordinate(axis, p, Ascending(axis, i)), box.length)) {
      ++i;
      continue;
    }
    const SampleRun<B> run =
        many ? RunFrom<kSlopes>(box, p, i, end) : OneSample<kSlopes>(box, p, i);
    AddRun<kSlopes>(run, double(run.end - i), pixel, &sums);
    i = run.end;
  }
  return sums;
}

template <typename W>
TF_ROIALIGN_HOST_DEVICE_INLINE void SetTap(int pixel, const PixelSums& pixel_of,
                                           double share, Tap<W>* tap) {
  tap->pixel = pixel_of.touched ? pixel : -1;
  tap->weight = static_cast<W>(pixel_of.sums.weight * share);
}

template <typename W>
TF_ROIALIGN_HOST_DEVICE_INLINE void SetTap(int pixel, const PixelSums& pixel_of,
                                           double share, SlopeTap<W>* tap) {
  tap->pixel = pixel_of.touched ? pixel : -1;
  tap->weight = static_cast<W>(pixel_of.sums.weight * share);
  tap->slope1 = static_cast<W>(pixel_of.sums.slope1 * share);
  tap->slope2 = static_cast<W>(pixel_of.sums.slope2 * share);
}

template <typename AnyTap>
constexpr bool kHasSlopes = false;
template <typename W>
inline constexpr bool kHasSlopes<SlopeTap<W>> = true;

// Which taps a bin has. Where samples are dense, one for each pixel from `base`
// on; where they are sparse (a fixed sampling_ratio on a large box), two for
// each sample from `base` on, by ascending coordinate.
struct BinTaps {
  int64_t base;
  int count;
  bool by_sample;
  bool many;  // HasManySamples
};

template <typename B, typename I>
TF_ROIALIGN_HOST_DEVICE_INLINE BinTaps FindBinTaps(const AxisOnMap<B, I>& box,
                                                   int64_t p) {
  const Span inside = InsideSamples(box.axis, p, box.length);
  if (inside.empty()) return {0, 0, false, false};
  const LinearSample<B> a =
      Interpolate(SampleCoordinate(box.axis, p, inside.begin), box.length);
  const LinearSample<B> b =
      Interpolate(SampleCoordinate(box.axis, p, inside.end - 1), box.length);
  const int64_t lo = Min(a.lo, b.lo);
  const int64_t span = Max(a.hi, b.hi) - lo + 1;
  const int64_t samples = inside.length();
  const bool many = samples > kManySamples;
  if (2 * samples < span && !many) {
    const int64_t first = Min(Ascending(box.axis, inside.begin),
                              Ascending(box.axis, inside.end - 1));
    return {first, static_cast<int>(2 * samples), true, false};
  }
  return {lo, static_cast<int>(span), false, many};
}

// Tap `i` of a bin of sparse samples. Two of them may touch the same pixel
// after all, at the map's edge or where coordinates are coarse: it has one tap,
// that of the first.
template <bool kSlopes, typename B, typename I>
TF_ROIALIGN_HOST_DEVICE_INLINE PixelSums SumSparse(const AxisOnMap<B, I>& box,
                                                   int64_t p,
                                                   const BinTaps& bin, int i,
                                                   int64_t* pixel) {
  const int64_t end = bin.base + bin.count / 2;
  int64_t at = bin.base + i / 2;
  SampleRun<B> run = OneSample<kSlopes>(box, p, at);
  const bool is_upper = i % 2 != 0;
  *pixel = is_upper ? run.sample.hi : run.sample.lo;
  PixelSums sums;
  if (is_upper && run.sample.hi == run.sample.lo) return sums;
  if (at > bin.base &&
      SideOf(box, p, Ascending(box.axis, at - 1), *pixel) == 0) {
    return sums;
  }
  while (run.sample.lo <= *pixel) {
    AddRun<kSlopes>(run, 1.0, *pixel, &sums);
    if (++at == end) break;
    run = OneSample<kSlopes>(box, p, at);
  }
  return sums;
}

// Tap `i` of bin `p`; none if i >= count.
template <typename AnyTap, typename B, typename I>
TF_ROIALIGN_HOST_DEVICE_INLINE AnyTap TapAt(const AxisOnMap<B, I>& box,
                                            int64_t p, const BinTaps& bin,
                                            int i) {
  constexpr bool kSlopes = kHasSlopes<AnyTap>;
  AnyTap tap;
  PixelSums sums;
  int64_t pixel = 0;
  if (i < bin.count) {
    if (bin.by_sample) {
      sums = SumSparse<kSlopes>(box, p, bin, i, &pixel);
    } else {
      pixel = bin.base + i;
      sums = SumPixel<kSlopes>(box, p, pixel, bin.many);
    }
  }
  SetTap(static_cast<int>(pixel), sums, ShareOfSample(box.axis), &tap);
  return tap;
}

// The bins that may touch a pixel lie one after the other along the axis, and a
// sample of given number is monotone in the bin, in floating point too; so they
// are found by bisection and follow one another. A bin may pass over the pixel
// with samples on both sides and none on it: that bin is then the only one.
template <typename B, typename I>
TF_ROIALIGN_HOST_DEVICE_INLINE Span FindPixelBins(const AxisOnMap<B, I>& box,
                                                  int64_t pixel) {
  const Axis<B>& axis = box.axis;
  if (axis.grid <= 0) return {};
  // Bins by ascending coordinate; a reversed box's are mirrored.
  const bool descending = axis.bin < B(0);
  const int64_t first_sample = Ascending(axis, 0);
  const int64_t last_sample = Ascending(axis, axis.grid - 1);
  I begin = 0, high = box.pooled;  // the first bin not before the pixel
  while (begin < high) {
    const I middle = (begin + high) / 2;
    const I p = descending ? box.pooled - 1 - middle : middle;
    if (SideOf(box, p, last_sample, pixel) < 0) {
      begin = middle + 1;
    } else {
      high = middle;
    }
  }
  I low = begin, end = box.pooled;  // the first after it
  while (low < end) {
    const I middle = (low + end) / 2;
    const I p = descending ? box.pooled - 1 - middle : middle;
    if (SideOf(box, p, first_sample, pixel) > 0) {
      end = middle;
    } else {
      low = middle + 1;
    }
  }
  if (descending) return {box.pooled - end, box.pooled - begin};
  return {begin, end};
}

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_GEOMETRY_TAPS_H_
