// The meaning of RoIAlign: where the samples of a box lie and how each one
// weighs the pixels of its axis. Written for device compilers too.
//
// RoIAlign (He et al., Mask R-CNN, 2017; torchvision.ops.roi_align) averages
// bilinear samples on a product grid. Weight and inside test of a sample are
// products of one factor per axis, so everything here is about one axis.
//
// The coordinates decide which samples count, hence every operation is done in
// the boxes' dtype, in the order written, each one rounded: host code that
// includes this must be compiled with -ffp-contract=off.

#ifndef TF_ROIALIGN_CC_CORE_GEOMETRY_AXIS_H_
#define TF_ROIALIGN_CC_CORE_GEOMETRY_AXIS_H_

#include <cmath>
#include <cstdint>

#include "cc/core/base/host_device.h"
#include "cc/core/base/span.h"

namespace tf_roialign {

// Arithmetic that is never contracted to a fused multiply-add.
namespace rounded {

#if defined(__CUDA_ARCH__)
__device__ inline float Add(float a, float b) { return __fadd_rn(a, b); }
__device__ inline float Sub(float a, float b) { return __fsub_rn(a, b); }
__device__ inline float Mul(float a, float b) { return __fmul_rn(a, b); }
__device__ inline float Div(float a, float b) { return __fdiv_rn(a, b); }
__device__ inline double Add(double a, double b) { return __dadd_rn(a, b); }
__device__ inline double Sub(double a, double b) { return __dsub_rn(a, b); }
__device__ inline double Mul(double a, double b) { return __dmul_rn(a, b); }
__device__ inline double Div(double a, double b) { return __ddiv_rn(a, b); }
#else
template <typename T>
TF_ROIALIGN_HOST_DEVICE inline T Add(T a, T b) {
  return a + b;
}
template <typename T>
TF_ROIALIGN_HOST_DEVICE inline T Sub(T a, T b) {
  return a - b;
}
template <typename T>
TF_ROIALIGN_HOST_DEVICE inline T Mul(T a, T b) {
  return a * b;
}
template <typename T>
TF_ROIALIGN_HOST_DEVICE inline T Div(T a, T b) {
  return a / b;
}
#endif

}  // namespace rounded

// Adaptive bins with more samples than this have none. The value of such a bin
// is below the rounding of the largest feature (at most (length + 1) / grid of
// it), and consecutive coordinates are no longer one sample apart.
template <typename T>
constexpr T kMaxAdaptiveGrid = T(INT64_C(1) << 52);
template <>
inline constexpr float kMaxAdaptiveGrid<float> = float(INT64_C(1) << 31);

template <typename T>
TF_ROIALIGN_HOST_DEVICE inline bool IsFinite(T value) {
  return value - value == T(0);
}

// One axis of one box, in feature pixels.
template <typename T>
struct Axis {
  T start;
  T bin;         // extent of one bin
  int64_t grid;  // samples per bin; <= 0: none
  bool raised;   // the extent was raised to 1 (not aligned, smaller boxes)
  bool finite;   // false: the box has no meaning and its output is NaN
};

// `c1`, `c2`: the box's two coordinates on this axis, in input-image pixels.
template <typename T>
TF_ROIALIGN_HOST_DEVICE inline Axis<T> MakeAxis(T c1, T c2, T spatial_scale,
                                                int64_t pooled,
                                                int64_t sampling_ratio,
                                                bool aligned) {
  const T offset = aligned ? T(0.5) : T(0);
  const T start = rounded::Sub(rounded::Mul(c1, spatial_scale), offset);
  const T end = rounded::Sub(rounded::Mul(c2, spatial_scale), offset);
  T extent = rounded::Sub(end, start);

  Axis<T> axis;
  axis.finite = IsFinite(start) && IsFinite(end) && IsFinite(extent);
  axis.raised = !aligned && extent < T(1);
  if (axis.raised) extent = T(1);
  axis.start = start;
  axis.bin = rounded::Div(extent, T(pooled));
  if (!axis.finite) {
    axis.grid = 0;
  } else if (sampling_ratio > 0) {
    axis.grid = sampling_ratio;
  } else {
    const T grid = ceil(axis.bin);
    axis.grid = grid <= kMaxAdaptiveGrid<T> && grid > T(0) ? int64_t(grid) : 0;
  }
  return axis;
}

// The coordinate of sample `t` of bin `p`, 0 <= t < grid. Monotone in t, in
// floating-point arithmetic too, since each rounded operation is.
template <typename T>
TF_ROIALIGN_HOST_DEVICE inline T SampleCoordinate(const Axis<T>& axis,
                                                  int64_t p, int64_t t) {
  const T bin_start = rounded::Add(axis.start, rounded::Mul(T(p), axis.bin));
  const T in_bin = rounded::Div(
      rounded::Mul(rounded::Add(T(t), T(0.5)), axis.bin), T(axis.grid));
  return rounded::Add(bin_start, in_bin);
}

template <typename T>
TF_ROIALIGN_HOST_DEVICE inline bool IsInside(T coordinate, int64_t length) {
  return coordinate >= T(-1) && coordinate <= T(length);
}

// A sample inside [-1, length] weighs pixel `lo` by 1 - fraction and pixel `hi`
// by fraction. `moves`: the fraction follows the coordinate (it does not where
// the coordinate is clamped to the map).
template <typename T>
struct LinearSample {
  int64_t lo;
  int64_t hi;
  T fraction;
  bool moves;
};

template <typename T>
TF_ROIALIGN_HOST_DEVICE inline LinearSample<T> Interpolate(T coordinate,
                                                           int64_t length) {
  LinearSample<T> sample;
  const T clamped = coordinate > T(0) ? coordinate : T(0);
  sample.lo = int64_t(clamped);
  if (sample.lo >= length - 1) {
    sample.lo = sample.hi = length - 1;
    sample.fraction = T(0);
    sample.moves = false;
  } else {
    sample.hi = sample.lo + 1;
    sample.fraction = rounded::Sub(clamped, T(sample.lo));
    sample.moves = coordinate >= T(0);
  }
  return sample;
}

// The samples of bin `p` inside [-1, length].
//
// Solved for by bisection, so that a box far larger than the map costs no more
// than the map: outside samples are never visited.
template <typename T>
TF_ROIALIGN_HOST_DEVICE inline Span InsideSamples(const Axis<T>& axis,
                                                  int64_t p, int64_t length) {
  Span range{0, axis.grid > 0 ? axis.grid : 0};
  if (range.end == 0) return range;
  const bool first_inside = IsInside(SampleCoordinate(axis, p, 0), length);
  const bool last_inside =
      IsInside(SampleCoordinate(axis, p, axis.grid - 1), length);
  if (first_inside && last_inside) return range;

  // Mirrored for a reversed box, so that `before` and `after` ascend with t.
  const bool descending = axis.bin < T(0);
  const auto is_before = [&](T v) {
    return descending ? v > T(length) : v < T(-1);
  };
  const auto is_after = [&](T v) {
    return descending ? v < T(-1) : v > T(length);
  };
  if (!first_inside) {  // the first t that is not before the map
    int64_t low = 0, high = axis.grid;
    while (low < high) {
      const int64_t middle = low + (high - low) / 2;
      if (is_before(SampleCoordinate(axis, p, middle))) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    range.begin = low;
  }
  if (!last_inside) {  // the first t that is after the map
    int64_t low = range.begin, high = axis.grid;
    while (low < high) {
      const int64_t middle = low + (high - low) / 2;
      if (is_after(SampleCoordinate(axis, p, middle))) {
        high = middle;
      } else {
        low = middle + 1;
      }
    }
    range.end = low;
  }
  return range;
}

// d(sample coordinate) / d(c1, c2) for sample `t` of bin `p`.
template <typename T>
struct CoordinateSlope {
  T c1;
  T c2;
};

template <typename T>
TF_ROIALIGN_HOST_DEVICE inline CoordinateSlope<T> SampleSlope(
    const Axis<T>& axis, T spatial_scale, int64_t pooled, int64_t p,
    int64_t t) {
  if (axis.raised) return {spatial_scale, T(0)};
  const T along = (T(p) + (T(t) + T(0.5)) / T(axis.grid)) / T(pooled);
  return {spatial_scale * (T(1) - along), spatial_scale * along};
}

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_GEOMETRY_AXIS_H_
