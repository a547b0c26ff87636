// What outputs hold where features say nothing.

#ifndef TF_ROIALIGN_CC_CORE_FILLERS_H_
#define TF_ROIALIGN_CC_CORE_FILLERS_H_

#include <cstdint>
#include <limits>

#include "cc/core/float16.h"

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
  // What a sample outside the map counts as.
  Accumulator<T> zero;
  // The output of a box that is not finite.
  T no_meaning;
};

template <typename T>
Fillers<T> FloatFillers() {
  return {0, NaN<T>()};
}

// Codes have no NaN.
template <typename T>
Fillers<T> CodeFillers(int zero_point) {
  return {static_cast<Accumulator<T>>(zero_point), static_cast<T>(zero_point)};
}

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_FILLERS_H_
