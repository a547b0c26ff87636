#include "cc/core/call/checked_boxes.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>

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

}  // namespace

template <typename B>
template <typename Index>
std::string CheckedBoxes<B>::Init(const Signature& signature, const B* rows,
                                  const Index* box_indices) {
  const Sizes& sizes = signature.sizes;
  image_.resize(sizes.boxes);
  table_ = {rows, signature.columns, sizes.boxes, image_.data()};
  const int64_t bad = ResolveImages(signature.form, rows, sizes.boxes,
                                    box_indices, sizes.batch, image_.data());
  if (bad < 0) return "";
  return BadImageIndex(signature.form, bad,
                       signature.form == BoxForm::kIndexed
                           ? Digits(rows[bad * 5])
                           : std::to_string(box_indices[bad]),
                       sizes.batch);
}

#define TF_ROIALIGN_INSTANTIATE(B)                                       \
  template class CheckedBoxes<B>;                                        \
  template std::string CheckedBoxes<B>::Init(const Signature&, const B*, \
                                             const int32_t*);            \
  template std::string CheckedBoxes<B>::Init(const Signature&, const B*, \
                                             const int64_t*);
TF_ROIALIGN_INSTANTIATE(float)
TF_ROIALIGN_INSTANTIATE(double)

}  // namespace tf_roialign
