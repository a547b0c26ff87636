// The rules for the shapes of a call, each with its error text. Shape inference
// and kernels ask the same functions, so a shape may be unknown in part.

#ifndef TF_ROIALIGN_CC_CORE_CALL_SIGNATURE_H_
#define TF_ROIALIGN_CC_CORE_CALL_SIGNATURE_H_

#include <cstdint>
#include <string>

#include "cc/core/base/status.h"
#include "cc/core/base/visibility.h"
#include "cc/core/call/boxes.h"
#include "cc/core/call/feature_maps.h"
#include "cc/core/call/op.h"
#include "cc/core/call/params.h"
#include "cc/core/call/shape.h"

namespace tf_roialign {

struct MapExtent {
  int64_t height = kUnknown;
  int64_t width = kUnknown;
};

// What the shapes of a call say, as far as they are known.
struct Signature {
  bool form_known = false;
  BoxForm form = BoxForm::kIndexed;
  Sizes sizes = {kUnknown, kUnknown, kUnknown};
  int map_count = 1;
  MapExtent maps[kMaxMaps];
  int64_t boxes_per_image = kUnknown;  // dense boxes only
  int64_t columns = kUnknown;          // numbers per box

  // `map`: which output, of those that have one for each map.
  TF_ROIALIGN_API Shape OutputShape(const OpInfo& info, const Params& params,
                                    int map = 0) const;

  Shape Pooled(const Params& params) const;
  Shape Features(const Params& params, int map) const;
  // Of the boxes, and so of their gradient.
  Shape BoxRows() const;
};

// The shapes of an op's inputs, each in the place of its name; those that it
// does not have are not looked at. Of a list that of its first entry. Those
// of all features, or what the inputs features_shape hold as far as that is
// known, are in features().
class InputShapes {
 public:
  // Of the lists, 1 to kMaxMaps: CheckMapCount.
  void set_map_count(int count) { map_count_ = count; }
  int map_count() const { return map_count_; }
  Shape& features(int map) { return features_[map]; }
  const Shape& features(int map) const { return features_[map]; }

  Shape& operator[](Input input) { return shapes_[static_cast<int>(input)]; }
  const Shape& operator[](Input input) const {
    return shapes_[static_cast<int>(input)];
  }

 private:
  int map_count_ = 1;
  Shape features_[kMaxMaps];
  Shape shapes_[kInputs];
};

// How long a list of maps may be.
TF_ROIALIGN_API Status CheckMapCount(const OpInfo& info, int64_t count);

TF_ROIALIGN_API Status CheckShapes(const OpInfo& info, const Params& params,
                                   const InputShapes& shapes,
                                   Signature* signature);

// The value of an input features_shape: four sizes in the features' layout.
// `shape`: of the input itself.
TF_ROIALIGN_API Status ReadFeaturesShape(const Shape& shape,
                                         const int64_t* sizes, Shape* features);

// The value of an input spatial_scales, [maps, 2] in host memory.
TF_ROIALIGN_API Status ReadSpatialScales(const double* values, int maps,
                                         Scale* scales);

// For boxes that read a map without pixels; `name`: of the map, `got`: its
// shape.
Status EmptyMap(const std::string& name, const std::string& got);

// For scratch memory that cannot be had. Does without any.
TF_ROIALIGN_API Status OutOfMemory(const Params& params);

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CALL_SIGNATURE_H_
