// What one RoIAlign call is asked to do: attributes and sizes.

#ifndef TF_ROIALIGN_CC_CORE_CALL_PARAMS_H_
#define TF_ROIALIGN_CC_CORE_CALL_PARAMS_H_

#include <cstdint>

namespace tf_roialign {

enum class Layout { kNHWC, kNCHW };

struct Params {
  int64_t pooled_height = 1;
  int64_t pooled_width = 1;
  // Input-image pixels to feature pixels.
  double spatial_scale = 1.0;
  // Samples per bin and axis; <= 0 is adaptive.
  int64_t sampling_ratio = -1;
  bool aligned = false;
  Layout layout = Layout::kNHWC;
};

struct Sizes {
  int64_t batch = 0;
  int64_t height = 0;
  int64_t width = 0;
  int64_t channels = 0;
  int64_t boxes = 0;
};

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CALL_PARAMS_H_
