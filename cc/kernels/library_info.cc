// What `python -m tf_roialign` asks the library about itself.

#include "cc/core/cpu/simd/level.h"

extern "C" __attribute__((visibility("default"))) const char*
TfRoialignSimdLevel() {
  return tf_roialign::SimdLevelName(tf_roialign::CurrentSimdLevel());
}
