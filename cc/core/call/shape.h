// Shapes of which parts may be unknown.

#ifndef TF_ROIALIGN_CC_CORE_CALL_SHAPE_H_
#define TF_ROIALIGN_CC_CORE_CALL_SHAPE_H_

#include <cstdint>
#include <initializer_list>
#include <string>

#include "cc/core/base/visibility.h"

namespace tf_roialign {

constexpr int64_t kUnknown = -1;

// A shape; rank and dimensions may be kUnknown.
struct Shape {
  static constexpr int kMaxDims = 8;  // of higher ranks, which are wrong

  int rank = static_cast<int>(kUnknown);
  int64_t dims[kMaxDims] = {};

  Shape() = default;
  Shape(std::initializer_list<int64_t> sizes) : rank(0) {
    for (int64_t size : sizes) Append(size);
  }
  // Of anything that iterates over sizes.
  template <typename Sizes>
  static Shape Of(const Sizes& sizes) {
    Shape shape({});
    for (int64_t size : sizes) shape.Append(size);
    return shape;
  }

  void Append(int64_t size) {
    if (rank < kMaxDims) dims[rank] = size;
    ++rank;
  }

  // "[2, ?, 4]", or "a shape of unknown rank".
  TF_ROIALIGN_API std::string ToString() const;
};

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CALL_SHAPE_H_
