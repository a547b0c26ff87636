// What a box without a meaning gets.

#ifndef TF_ROIALIGN_CC_CORE_NAN_H_
#define TF_ROIALIGN_CC_CORE_NAN_H_

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

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_NAN_H_
