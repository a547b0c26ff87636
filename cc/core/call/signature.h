// The rules for the shapes of a call, each with its error text. Shape inference
// and kernels ask the same functions, so a shape may be unknown in part.

#ifndef TF_ROIALIGN_CC_CORE_CALL_SIGNATURE_H_
#define TF_ROIALIGN_CC_CORE_CALL_SIGNATURE_H_

#include <cstdint>
#include <string>

#include "cc/core/base/status.h"
#include "cc/core/base/visibility.h"
#include "cc/core/call/boxes.h"
#include "cc/core/call/op.h"
#include "cc/core/call/params.h"
#include "cc/core/call/shape.h"

namespace tf_roialign {

// What the shapes of a call say, as far as they are known.
struct Signature {
  bool form_known = false;
  BoxForm form = BoxForm::kIndexed;
  Sizes sizes = {kUnknown, kUnknown, kUnknown};
  int64_t height = kUnknown;  // of the map
  int64_t width = kUnknown;
  int64_t boxes_per_image = kUnknown;  // dense boxes only
  int64_t columns = kUnknown;          // numbers per box

  TF_ROIALIGN_API Shape OutputShape(Op op, const Params& params) const;

  Shape Pooled(const Params& params) const;
  Shape Features(const Params& params) const;
  // Of the boxes, and so of their gradient.
  Shape BoxRows() const;
};

// The shapes of an op's inputs, each in the place of its name; those that it
// does not have are not looked at. That of kFeatures is also what the input
// features_shape holds, as far as that is known.
class InputShapes {
 public:
  Shape& operator[](Input input) { return shapes_[static_cast<int>(input)]; }
  const Shape& operator[](Input input) const {
    return shapes_[static_cast<int>(input)];
  }

 private:
  Shape shapes_[kInputs];
};

TF_ROIALIGN_API Status CheckShapes(Op op, const Params& params,
                                   const InputShapes& shapes,
                                   Signature* signature);

// The value of an input features_shape: four sizes in the features' layout.
// `shape`: of the input itself.
TF_ROIALIGN_API Status ReadFeaturesShape(const Shape& shape,
                                         const int64_t* sizes, Shape* features);

// For boxes that read a map without pixels; `got`: what there is.
Status EmptyMap(const std::string& got);

// For scratch memory that cannot be had.
Status OutOfMemory(const Params& params);

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CALL_SIGNATURE_H_
