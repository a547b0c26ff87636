// What outputs hold where features say nothing, and how codes are made.

#ifndef TF_ROIALIGN_CC_CORE_DTYPES_FILLERS_H_
#define TF_ROIALIGN_CC_CORE_DTYPES_FILLERS_H_

#include <cstdint>
#include <limits>

#include "cc/core/dtypes/float16.h"
#include "cc/core/dtypes/quantization.h"

namespace tf_roialign {

template <typename T>
inline T NaN() {
  return std::numeric_limits<T>::quiet_NaN();
}
template <>
inline Half NaN<Half>() {
  return {0x7e00};
}
template <>
inline BFloat16 NaN<BFloat16>() {
  return {0x7fc0};
}

template <typename T>
struct Fillers {
  // The output of a box that is not finite.
  T no_meaning;
  Quantization<Accumulator<T>> quantization;
};

template <typename T>
Fillers<T> FloatFillers() {
  return {NaN<T>(), {}};
}

// Codes have no NaN.
template <typename T>
Fillers<T> CodeFillers(float scale, int32_t zero_point) {
  return {static_cast<T>(zero_point), MakeQuantization<T>(scale, zero_point)};
}

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_DTYPES_FILLERS_H_
