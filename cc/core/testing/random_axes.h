// Axes of boxes of every kind, for tests of what is computed from one axis.

#ifndef TF_ROIALIGN_CC_CORE_TESTING_RANDOM_AXES_H_
#define TF_ROIALIGN_CC_CORE_TESTING_RANDOM_AXES_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>

#include "cc/core/geometry/axis.h"
#include "cc/core/geometry/taps.h"

namespace tf_roialign {

// Boxes tiny, usual and huge; reversed, far outside, at whole and half
// coordinates; short and long maps; few, many and very many samples.
template <typename B>
class RandomAxes {
 public:
  explicit RandomAxes(uint64_t seed) : random_(seed) {}

  AxisOnMap<B, int64_t> Next() {
    AxisOnMap<B, int64_t> box;
    box.length = OneIn(50) ? Integer(4900, 5000) : Integer(1, 100);
    box.pooled = Integer(1, 20);
    box.scale = OneIn(2) ? B(1) : OneIn(2) ? B(0.0625) : B(Number(0.01, 2));
    // In pixels of the map.
    const double extent = Extent(double(box.length));
    const double start = Start(double(box.length), extent);
    const B c1 = Snapped(start) / box.scale;
    const B c2 = Snapped(start + extent) / box.scale;
    const int64_t ratio = SamplingRatio(extent / double(box.pooled));
    box.axis = MakeAxis(c1, c2, box.scale, box.pooled, ratio, OneIn(2));
    return box;
  }

 private:
  bool OneIn(int n) { return Integer(1, n) == 1; }
  int64_t Integer(int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(random_);
  }
  double Number(double low, double high) {
    return std::uniform_real_distribution<double>(low, high)(random_);
  }
  // As many in each decade.
  double Magnitude(double low, double high) {
    return std::exp(Number(std::log(low), std::log(high)));
  }

  double Extent(double length) {
    const double sign = OneIn(4) ? -1 : 1;
    switch (Integer(0, 9)) {
      case 0:
        return 0;
      case 1:
        return sign * Magnitude(1e-9, 1);
      case 2:
        return sign * Magnitude(10 * length, 1e9);
      case 3:
        return sign * Magnitude(length, 10 * length);
      default:
        return sign * Number(0, 1.5 * length);
    }
  }
  double Start(double length, double extent) {
    switch (Integer(0, 9)) {
      case 0:
        return Number(-20, 20) * length;  // mostly outside
      case 1:
        return -extent / 2 + Number(0, length);  // around the map
      case 2:
        return Number(-2, 1);  // its edges
      case 3:
        return length + Number(-2, 1);
      case 4:
        return length + Number(-2, 1) - extent;
      default:
        return Number(-0.3, 1.1) * length;
    }
  }
  B Snapped(double coordinate) {
    if (OneIn(4)) coordinate = std::round(coordinate * 2) / 2;
    return static_cast<B>(coordinate);
  }
  int64_t SamplingRatio(double bin) {
    switch (Integer(0, 19)) {
      case 0:
      case 1:
        return static_cast<int64_t>(Magnitude(5, 3000));
      case 2:
        return Integer(1000, 3000);
      case 3:
        return kManySamples + Integer(-1, 2);
      case 4:  // a sample each few pixels
        return static_cast<int64_t>(
            std::clamp(std::abs(bin) / Magnitude(0.3, 10), 1.0, 2e9));
      case 5:
      case 6:
      case 7:
      case 8:
      case 9:
        return Integer(1, 5);
      default:
        return -1;
    }
  }

  std::mt19937_64 random_;
};

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_TESTING_RANDOM_AXES_H_
