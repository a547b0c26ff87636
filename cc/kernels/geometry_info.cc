// What Python asks about the geometry of a box, to draw it
// (tf_roialign/geometry.py): what the kernels compute with, and no second
// formula.

#include <cstdint>
#include <limits>

#include "cc/core/geometry/axis.h"

namespace tf_roialign {

// An axis of a box: what MakeAxis takes, and the dtype of the boxes.
struct AxisRequest {
  double c1;
  double c2;
  double spatial_scale;
  int64_t pooled;
  int64_t sampling_ratio;
  bool aligned;
  bool boxes_are_double;
};

namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

template <typename B>
Axis<B> AxisOf(const AxisRequest& request) {
  return MakeAxis(static_cast<B>(request.c1), static_cast<B>(request.c2),
                  static_cast<B>(request.spatial_scale), request.pooled,
                  request.sampling_ratio, request.aligned);
}

// Calls use(Axis<B>) with the boxes' dtype for B.
template <typename Use>
void WithAxis(const AxisRequest& request, const Use& use) {
  if (request.boxes_are_double) {
    use(AxisOf<double>(request));
  } else {
    use(AxisOf<float>(request));
  }
}

// Where among the pixels a sample reads; NaN: nowhere.
template <typename B>
double PlaceRead(B coordinate, int64_t length) {
  if (!IsInside(coordinate, length)) return kNaN;
  const LinearSample<B> sample = Interpolate(coordinate, length);
  return double(sample.lo) + double(sample.fraction);
}

}  // namespace

// `edges`, [pooled + 1]: where the bins begin, and where the last one ends; NaN
// if the box has no meaning. Returns the samples per bin; <= 0: none.
extern "C" __attribute__((visibility("default"))) int64_t
TfRoialignAxisBins(const AxisRequest* request, double* edges) {
  int64_t grid = 0;
  WithAxis(*request, [&](const auto& axis) {
    using B = decltype(axis.bin);
    for (int64_t p = 0; p <= request->pooled; ++p) {
      // As SampleCoordinate has it.
      const B edge = rounded::Add(axis.start, rounded::Mul(B(p), axis.bin));
      edges[p] = axis.finite ? double(edge) : kNaN;
    }
    grid = axis.grid;
  });
  return grid;
}

// The samples of bin `p` on a map of `length` pixels, both as many as
// TfRoialignAxisBins says: their coordinates, and where they read. These differ
// for those that are clamped to the map, and are NaN for those outside.
extern "C" __attribute__((visibility("default"))) void TfRoialignAxisSamples(
    const AxisRequest* request, int64_t length, int64_t p, double* coordinates,
    double* places_read) {
  WithAxis(*request, [&](const auto& axis) {
    for (int64_t t = 0; t < axis.grid; ++t) {
      const auto coordinate = SampleCoordinate(axis, p, t);
      coordinates[t] = double(coordinate);
      places_read[t] = PlaceRead(coordinate, length);
    }
  });
}

}  // namespace tf_roialign
