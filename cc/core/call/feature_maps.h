// The feature maps that boxes are pooled from: a list, of which each box reads
// one. A call on one map is a list of one.

#ifndef TF_ROIALIGN_CC_CORE_CALL_FEATURE_MAPS_H_
#define TF_ROIALIGN_CC_CORE_CALL_FEATURE_MAPS_H_

#include <cstdint>

namespace tf_roialign {

// That a call may have.
constexpr int kMaxMaps = 8;

// [batch, height, width, channels] or [batch, channels, height, width] of a
// call's batch and channels. T: const if it is only read.
template <typename T>
struct FeatureMap {
  T* data;
  int64_t height;
  int64_t width;
  // Input-image pixels to pixels of this map.
  double scale_y;
  double scale_x;

  int64_t pixels() const { return height * width; }
};

// A view: what it is made of has to outlive it.
template <typename T>
class FeatureMaps {
 public:
  FeatureMaps(const FeatureMap<T>* maps, int count)
      : maps_(maps), count_(count) {}
  // NOLINTNEXTLINE(google-explicit-constructor): one map is a list of one.
  FeatureMaps(const FeatureMap<T>& map) : maps_(&map), count_(1) {}

  int count() const { return count_; }
  const FeatureMap<T>& operator[](int i) const { return maps_[i]; }
  const FeatureMap<T>* begin() const { return maps_; }
  const FeatureMap<T>* end() const { return maps_ + count_; }

 private:
  const FeatureMap<T>* maps_;
  int count_;
};

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CALL_FEATURE_MAPS_H_
