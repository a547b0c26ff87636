// The samples of a bin that may be its largest, for mode "max".
//
// A bilinear sample is linear along each axis between two neighbouring pixels.
// So on the grid of samples of a cell between four pixels a corner is as large
// as any, and the first of the largest, row by row, is a corner too: along each
// axis the first and the last sample of every run between the same two pixels
// are enough. A bin of any number of samples thus has few to look at, at most
// some for each pixel that it spans.
//
// A sample outside the map counts as 0, so the first of those before and the
// first of those after the map are looked at as well.

#ifndef TF_ROIALIGN_CC_CORE_GEOMETRY_MAX_SAMPLES_H_
#define TF_ROIALIGN_CC_CORE_GEOMETRY_MAX_SAMPLES_H_

#include <cstdint>

#include "cc/core/base/host_device.h"
#include "cc/core/base/span.h"
#include "cc/core/geometry/axis.h"
#include "cc/core/geometry/axis_sample.h"
#include "cc/core/geometry/taps.h"

namespace tf_roialign {

// A sample of one axis.
template <typename B>
struct MaxSample {
  int64_t t;  // of its bin
  bool is_inside;
  LinearSample<B> at;  // if it is inside
};

// Which sample of a bin is the next to look at.
struct MaxSamplesPlace {
  int64_t next = 0;
  bool is_last = false;  // it is the last of a run
};

// The samples to look at of bin `p`, in their order.
template <typename B, typename I>
class MaxSamples {
 public:
  // From `place` on, where an earlier walk came to.
  TF_ROIALIGN_HOST_DEVICE_INLINE MaxSamples(const AxisOnMap<B, I>& box,
                                            int64_t p,
                                            const MaxSamplesPlace& place = {})
      : box_(box),
        p_(p),
        inside_(InsideSamples(box.axis, p, box.length)),
        grid_(Max<int64_t>(box.axis.grid, 0)),
        next_(place.next),
        is_last_(place.is_last) {}

  TF_ROIALIGN_HOST_DEVICE_INLINE MaxSamplesPlace place() const {
    return {next_, is_last_};
  }
  TF_ROIALIGN_HOST_DEVICE_INLINE bool done() const { return next_ >= grid_; }

  // False: there is no further one.
  TF_ROIALIGN_HOST_DEVICE_INLINE bool Next(MaxSample<B>* sample) {
    if (done()) return false;
    sample->t = next_;
    sample->is_inside = next_ >= inside_.begin && next_ < inside_.end;
    if (!sample->is_inside) {
      next_ = next_ < inside_.begin && !inside_.empty() ? inside_.begin : grid_;
      return true;
    }
    sample->at = At(next_);
    if (is_last_) {
      is_last_ = false;
      ++next_;
    } else {
      next_ = AfterFirst(sample->at);
    }
    return true;
  }

 private:
  TF_ROIALIGN_HOST_DEVICE_INLINE LinearSample<B> At(int64_t t) const {
    return Interpolate(SampleCoordinate(box_.axis, p_, t), box_.length);
  }
  TF_ROIALIGN_HOST_DEVICE_INLINE bool IsInRun(const LinearSample<B>& first,
                                              int64_t t) const {
    const LinearSample<B> sample = At(t);
    return sample.lo == first.lo && sample.moves == first.moves;
  }

  // After the first sample of a run: its last one; where there is none, or all
  // are alike, the first of the next run.
  TF_ROIALIGN_HOST_DEVICE_INLINE int64_t
  AfterFirst(const LinearSample<B>& first) {
    int64_t last = next_, end = inside_.end;
    if (last + 1 < end && !IsInRun(first, last + 1)) return last + 1;
    while (end - last > 1) {
      const int64_t middle = last + (end - last) / 2;
      (IsInRun(first, middle) ? last : end) = middle;
    }
    if (!first.moves || last == next_) return last + 1;
    is_last_ = true;
    return last;
  }

  const AxisOnMap<B, I>& box_;
  const int64_t p_;
  const Span inside_;
  const int64_t grid_;
  int64_t next_;
  bool is_last_;
};

// What kernels need of a sample of bin `p`.
template <typename W, typename B, typename I>
TF_ROIALIGN_HOST_DEVICE_INLINE AxisSample<W, I> WeighSample(
    const AxisOnMap<B, I>& box, int64_t p, const MaxSample<B>& sample) {
  AxisSample<W, I> weighed = {-1, -1, W(0), W(0), W(0), W(0)};
  if (!sample.is_inside) return weighed;
  const double fraction = sample.at.fraction;
  weighed.lo = static_cast<I>(sample.at.lo);
  weighed.weight_lo = static_cast<W>(1.0 - fraction);
  if (sample.at.hi == sample.at.lo) return weighed;
  weighed.hi = static_cast<I>(sample.at.hi);
  weighed.weight_hi = static_cast<W>(fraction);
  if (sample.at.moves) {
    const CoordinateSlope<B> slope =
        SampleSlope(box.axis, box.scale, box.pooled, p, sample.t);
    weighed.slope1 = static_cast<W>(slope.c1);
    weighed.slope2 = static_cast<W>(slope.c2);
  }
  return weighed;
}

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_GEOMETRY_MAX_SAMPLES_H_
