// The rules for attributes and input shapes, each with its error text. Shape
// inference and kernels ask the same functions, so a shape may be unknown in
// part.

#ifndef TF_ROIALIGN_CC_CORE_CALL_SIGNATURE_H_
#define TF_ROIALIGN_CC_CORE_CALL_SIGNATURE_H_

#include <cstdint>
#include <initializer_list>
#include <string>

#include "cc/core/call/boxes.h"
#include "cc/core/call/params.h"

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

  void Append(int64_t size) {
    if (rank < kMaxDims) dims[rank] = size;
    ++rank;
  }

  // "[2, ?, 4]", or "a shape of unknown rank".
  std::string ToString() const;
};

// What the shapes of a call say, as far as they are known.
struct Signature {
  bool form_known = false;
  BoxForm form = BoxForm::kIndexed;
  Sizes sizes = {kUnknown, kUnknown, kUnknown, kUnknown, kUnknown};
  int64_t boxes_per_image = kUnknown;  // dense boxes only
  int64_t columns = kUnknown;          // numbers per box

  // Shape of the pooled features.
  Shape Output(const Params& params) const;
  // Shape of the boxes, and so of their gradient.
  Shape Boxes() const;
};

// Each returns an empty string, or what is wrong.

std::string CheckParams(const Params& params);

// The text for an output_size that is not two sizes of at least 1.
std::string BadOutputSize(const Shape& output_size);

// `box_indices`: of shape [0] where the boxes have no use for them.
std::string CheckInputs(const Params& params, const Shape& features,
                        const Shape& boxes, const Shape& box_indices,
                        Signature* signature);

// Learns the form and the number of boxes and of channels where they were not
// known.
std::string CheckGradOutput(const Params& params, const Shape& grad_output,
                            Signature* signature);

// `direction`: along which boxes move, so of their shape.
std::string CheckDirection(const Shape& boxes, const Shape& direction);

// `shape`: of the input features_shape itself, whose `sizes`, if they are
// known, are in the features' layout.
std::string CheckFeaturesShape(const Shape& shape, const int64_t* sizes,
                               Shape* features);

// The text for scratch memory that cannot be had.
std::string OutOfMemory(const Params& params);

std::string CheckScalar(const char* name, const Shape& shape);

// Of quantized features, whose codes are in [lowest, highest].
std::string CheckQuantization(float scale, int64_t zero_point, int64_t lowest,
                              int64_t highest);

// The text for a row that ResolveImages refused; `value` is what it holds.
std::string BadImageIndex(BoxForm form, int64_t row, const std::string& value,
                          int64_t batch);

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CALL_SIGNATURE_H_
