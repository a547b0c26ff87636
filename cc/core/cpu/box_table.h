// The boxes of a call on CPU, with the image and the map of each.

#ifndef TF_ROIALIGN_CC_CORE_CPU_BOX_TABLE_H_
#define TF_ROIALIGN_CC_CORE_CPU_BOX_TABLE_H_

#include <cstdint>
#include <vector>

#include "cc/core/base/status.h"
#include "cc/core/call/boxes.h"

namespace tf_roialign {

template <typename B>
class BoxTable {
 public:
  // Says which index of an image or a map is wrong, if one is.
  Status Init(const Boxes<B>& boxes, int64_t batch, int maps);

  int64_t count() const { return boxes_.count; }
  int64_t columns() const { return boxes_.columns; }
  const B* coordinates(int64_t k) const { return boxes_.coordinates(k); }
  int64_t image(int64_t k) const { return images_[k]; }
  int map(int64_t k) const { return maps_.empty() ? 0 : maps_[k]; }

 private:
  Boxes<B> boxes_ = {};
  std::vector<int64_t> images_;
  std::vector<int> maps_;  // empty: all read the first
};

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CPU_BOX_TABLE_H_
