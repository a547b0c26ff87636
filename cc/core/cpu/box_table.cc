#include "cc/core/cpu/box_table.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <string>

#include "cc/core/dtypes/dtypes.h"

namespace tf_roialign {
namespace {

// With as many digits as tell it from its neighbours.
template <typename B>
std::string Digits(B value) {
  char text[64];
  std::snprintf(text, sizeof(text), "%g", static_cast<double>(value));
  if (!std::isnan(value) &&
      static_cast<B>(std::strtod(text, nullptr)) != value) {
    std::snprintf(text, sizeof(text), "%.*g",
                  std::numeric_limits<B>::max_digits10,
                  static_cast<double>(value));
  }
  return text;
}

template <typename B>
Status BadImage(const Boxes<B>& boxes, int64_t k, int64_t batch) {
  std::string name, value;
  if (boxes.form == BoxForm::kIndexed) {
    name = "`boxes[" + std::to_string(k) + ", 0]`";
    value = Digits(boxes.rows[k * boxes.columns]);
  } else {
    name = "`box_indices[" + std::to_string(k) + "]`";
    value =
        boxes.indices_are_64_bit
            ? std::to_string(static_cast<const int64_t*>(boxes.box_indices)[k])
            : std::to_string(static_cast<const int32_t*>(boxes.box_indices)[k]);
  }
  return Status::InvalidArgument(name + ", an image index, must be in [0, " +
                                 std::to_string(batch) + "), got " + value);
}

}  // namespace

template <typename B>
Status BoxTable<B>::Init(const Boxes<B>& boxes, int64_t batch, int maps) {
  boxes_ = boxes;
  images_.resize(boxes.count);
  const bool has_maps =
      boxes.map_indices != nullptr || boxes.level_rule != nullptr;
  maps_.resize(has_maps ? boxes.count : 0);
  for (int64_t k = 0; k < boxes.count; ++k) {
    images_[k] = ImageOfBox(boxes, k, batch);
    if (images_[k] < 0) return BadImage(boxes, k, batch);
    const int map = MapOfBox(boxes, boxes.level_rule, k, maps);
    if (map < 0) {
      return Status::InvalidArgument("`levels[" + std::to_string(k) +
                                     "]`, the index of a map, must be in "
                                     "[0, " +
                                     std::to_string(maps) + "), got " +
                                     std::to_string(boxes.map_indices == nullptr
                                                        ? 0
                                                        : boxes.map_index(k)));
    }
    if (has_maps) maps_[k] = map;
  }
  return {};
}

#define TF_ROIALIGN_INSTANTIATE(B) template class BoxTable<B>;
TF_ROIALIGN_FOR_EACH_BOX_TYPE(TF_ROIALIGN_INSTANTIATE)
#undef TF_ROIALIGN_INSTANTIATE

}  // namespace tf_roialign
