// Boxes as they come, read in place: on CPU, and by CUDA kernels.

#ifndef TF_ROIALIGN_CC_CORE_CALL_BOXES_H_
#define TF_ROIALIGN_CC_CORE_CALL_BOXES_H_

#include <cstdint>

#include "cc/core/base/host_device.h"
#include "cc/core/call/level_rule.h"

namespace tf_roialign {

enum class BoxForm {
  kIndexed,   // [K, 5]: image index, x1, y1, x2, y2
  kSeparate,  // [K, 4] and box_indices [K]
  kDense,     // [N, M, 4]: M boxes for each image
};

// The coordinates of a box, in the order of its row.
enum Coordinate { kX1, kY1, kX2, kY2, kCoordinates };

// A row of boxes, or of what has their shape, ends with the coordinates; what
// may stand before them is an image index.
template <typename B>
TF_ROIALIGN_HOST_DEVICE B* CoordinatesOfRow(B* rows, int64_t columns,
                                            int64_t k) {
  return rows + k * columns + (columns - kCoordinates);
}

// B: float or double.
template <typename B>
struct Boxes {
  BoxForm form;
  const B* rows;
  int64_t columns;
  int64_t count;
  const void* box_indices = nullptr;  // of kSeparate
  bool indices_are_64_bit = false;
  // [count]: which of the call's maps a box reads. Null: `level_rule` says it.
  const void* map_indices = nullptr;
  bool map_indices_are_64_bit = false;
  // In host memory. Null: all read the first.
  const LevelRule* level_rule = nullptr;
  // On a GPU, in its memory: how many of the `count` boxes there are, where
  // only the device knows it. The others have no meaning. Null: all.
  const int32_t* count_on_device = nullptr;

  TF_ROIALIGN_HOST_DEVICE const B* coordinates(int64_t k) const {
    return CoordinatesOfRow(rows, columns, k);
  }
  // What stands in map_indices.
  TF_ROIALIGN_HOST_DEVICE int64_t map_index(int64_t k) const {
    return map_indices_are_64_bit ? static_cast<const int64_t*>(map_indices)[k]
                                  : static_cast<const int32_t*>(map_indices)[k];
  }
};

// The image of box k, or -1 where its index is not in [0, batch); a NaN is not.
// Fractions are cut off, as torchvision does.
template <typename B>
TF_ROIALIGN_HOST_DEVICE int64_t ImageOfBox(const Boxes<B>& boxes, int64_t k,
                                           int64_t batch) {
  int64_t image;
  if (boxes.form == BoxForm::kIndexed) {
    const B index = boxes.rows[k * boxes.columns];
    if (!(index >= B(0) && index < B(batch))) return -1;
    image = static_cast<int64_t>(index);
  } else if (boxes.form == BoxForm::kDense) {
    image = batch > 0 ? k / (boxes.count / batch) : -1;
  } else if (boxes.indices_are_64_bit) {
    image = static_cast<const int64_t*>(boxes.box_indices)[k];
  } else {
    image = static_cast<const int32_t*>(boxes.box_indices)[k];
  }
  return image >= 0 && image < batch ? image : -1;
}

// The map of box k, or -1 where its index is not in [0, maps). `rule`: that of
// the boxes, in memory that can be read from here.
template <typename B>
TF_ROIALIGN_HOST_DEVICE int MapOfBox(const Boxes<B>& boxes,
                                     const LevelRule* rule, int64_t k,
                                     int maps) {
  int64_t map = 0;
  if (boxes.map_indices != nullptr) {
    map = boxes.map_index(k);
  } else if (rule != nullptr) {
    const B* box = boxes.coordinates(k);
    map = rule->MapOfArea((box[kX2] - box[kX1]) * (box[kY2] - box[kY1]));
  }
  return map >= 0 && map < maps ? static_cast<int>(map) : -1;
}

// Writes the gradient of box k: an image index has none.
template <typename B>
TF_ROIALIGN_HOST_DEVICE void WriteBoxGrad(const double grad[kCoordinates],
                                          int64_t columns, int64_t k,
                                          B* grad_boxes) {
  B* const to = CoordinatesOfRow(grad_boxes, columns, k);
  if (columns > kCoordinates) grad_boxes[k * columns] = B(0);
  for (int i = 0; i < kCoordinates; ++i) to[i] = static_cast<B>(grad[i]);
}

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CALL_BOXES_H_
