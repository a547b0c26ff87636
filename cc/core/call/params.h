// The attributes of a call, each once: the struct that the kernels read, the
// attributes of the graph ops, those of XLA's custom calls and the checks all
// follow from the list below.

#ifndef TF_ROIALIGN_CC_CORE_CALL_PARAMS_H_
#define TF_ROIALIGN_CC_CORE_CALL_PARAMS_H_

#include <cstdint>

#include "cc/core/base/host_device.h"

namespace tf_roialign {

enum class Layout { kNHWC, kNCHW };

// What a bin is made of: the average of its samples, or the largest.
enum class Mode { kAvg, kMax };

struct OutputSize {
  int64_t height = 1;
  int64_t width = 1;
};

// Feature pixels per input-image pixel.
struct Scale {
  double y = 1.0;
  double x = 1.0;
};

// One entry an attribute:
//
//   X(type, name, default, of, documentation)
//
// `of`: Params, of pooling, whatever map a box reads; OneMap, of the map that
// all boxes of an op read; or ManyMaps, of the choice among several. What a
// type is in TensorFlow and in XLA, and its range, is said once a type:
// attributes.h has the range, cc/ops/attributes.h and cc/xla/attributes.h know
// the hosts.
#define TF_ROIALIGN_FOR_EACH_ATTRIBUTE(X)                                      \
  X(OutputSize, output_size, OutputSize(), Params,                             \
    "`[PH, PW]`, pooled height and width, each at least 1.")                   \
  X(Scale, spatial_scale, Scale(), OneMap,                                     \
    "Feature pixels per input-image pixel, e.g. 1/16. Finite, > 0.")           \
  X(int64_t, sampling_ratio, -1, Params,                                       \
    "Samples per bin and axis. If <= 0, adaptive: the extent of the\n"         \
    "  bin in feature pixels, rounded up.")                                    \
  X(bool, aligned, false, Params,                                              \
    "If true, coordinates are shifted by half a feature pixel, so that the\n"  \
    "  centre of the first pixel is at 0.5. If false, as in the first Mask\n"  \
    "  R-CNN codes, they are not shifted and boxes are at least one feature\n" \
    "  pixel large.")                                                          \
  X(Layout, data_format, Layout::kNHWC, Params,                                \
    "Layout of features and outputs: \"NHWC\" or \"NCHW\".")                   \
  X(Mode, mode, Mode::kAvg, Params,                                            \
    "\"avg\": a bin is the average of its samples; \"max\": the largest of "   \
    "them.")                                                                   \
  X(double, canonical_scale, 224, ManyMaps,                                    \
    "Side in input-image pixels of the boxes of canonical_level. Finite, > "   \
    "0.")                                                                      \
  X(int64_t, canonical_level, 4, ManyMaps,                                     \
    "A box without a level in `levels` is of the level\n"                      \
    "  floor(canonical_level + log2(sqrt(area) / canonical_scale) + 1e-6);\n"  \
    "  a map is of the level -log2(spatial_scale), rounded.")

#define TF_ROIALIGN_DECLARE(type, name, value, of, documentation) \
  TF_ROIALIGN_DECLARE_IN_##of(type, name, value)

struct Params {
#define TF_ROIALIGN_DECLARE_IN_Params(type, name, value) type name = value;
#define TF_ROIALIGN_DECLARE_IN_OneMap(type, name, value)
#define TF_ROIALIGN_DECLARE_IN_ManyMaps(type, name, value)
  TF_ROIALIGN_FOR_EACH_ATTRIBUTE(TF_ROIALIGN_DECLARE)
#undef TF_ROIALIGN_DECLARE_IN_Params
#undef TF_ROIALIGN_DECLARE_IN_OneMap
#undef TF_ROIALIGN_DECLARE_IN_ManyMaps

  TF_ROIALIGN_HOST_DEVICE int64_t pooled_height() const {
    return output_size.height;
  }
  TF_ROIALIGN_HOST_DEVICE int64_t pooled_width() const {
    return output_size.width;
  }
};

// Whether an op reads one map, or each box one of a list.
enum class Maps { kOne, kMany };

// Of an op. Those that it does not have are as they were made.
struct OpParams : Params {
  Maps maps = Maps::kOne;
#define TF_ROIALIGN_DECLARE_IN_Params(type, name, value)
#define TF_ROIALIGN_DECLARE_IN_OneMap(type, name, value) type name = value;
#define TF_ROIALIGN_DECLARE_IN_ManyMaps(type, name, value) type name = value;
  TF_ROIALIGN_FOR_EACH_ATTRIBUTE(TF_ROIALIGN_DECLARE)
#undef TF_ROIALIGN_DECLARE_IN_Params
#undef TF_ROIALIGN_DECLARE_IN_OneMap
#undef TF_ROIALIGN_DECLARE_IN_ManyMaps
};

#undef TF_ROIALIGN_DECLARE

// Calls visit(name, value, documentation) for every attribute of an op on such
// maps. AnyParams: OpParams, const or not.
template <typename AnyParams, typename Visit>
void ForEachAttribute(AnyParams& params, const Visit& visit) {
  const bool is_of_OneMap = params.maps == Maps::kOne;
  const bool is_of_ManyMaps = params.maps == Maps::kMany;
  const bool is_of_Params = true;
#define TF_ROIALIGN_VISIT(type, name, value, of, documentation) \
  if (is_of_##of) visit(#name, params.name, documentation);
  TF_ROIALIGN_FOR_EACH_ATTRIBUTE(TF_ROIALIGN_VISIT)
#undef TF_ROIALIGN_VISIT
}

// What the shapes of a call say, but for the sizes of its maps.
struct Sizes {
  int64_t batch = 0;
  int64_t channels = 0;
  int64_t boxes = 0;
};

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CALL_PARAMS_H_
