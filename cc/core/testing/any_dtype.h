// Numbers of every dtype of features, for tests written once for all.

#ifndef TF_ROIALIGN_CC_CORE_TESTING_ANY_DTYPE_H_
#define TF_ROIALIGN_CC_CORE_TESTING_ANY_DTYPE_H_

#include <type_traits>

#include "cc/core/dtypes/float16.h"

namespace tf_roialign {

template <typename T>
double ToDouble(T value) {
  if constexpr (std::is_same_v<T, Half> || std::is_same_v<T, BFloat16>) {
    return ToFloat(value);
  } else {
    return static_cast<double>(value);
  }
}

template <typename T>
T FromDouble(double value) {
  if constexpr (std::is_same_v<T, Half>) {
    return ToHalf(static_cast<float>(value));
  } else if constexpr (std::is_same_v<T, BFloat16>) {
    return ToBFloat16(static_cast<float>(value));
  } else {
    return static_cast<T>(value);
  }
}

// Of a sum, relative to terms of about 1 in all.
template <typename T>
constexpr double Tolerance() {
  if constexpr (std::is_same_v<T, Half>) return 2e-3;
  if constexpr (std::is_same_v<T, BFloat16>) return 1.6e-2;
  if constexpr (std::is_same_v<T, float>) return 2e-6;
  return 1e-14;
}

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_TESTING_ANY_DTYPE_H_
