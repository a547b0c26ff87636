// Codes of quantized features: a code stands for scale * (code - zero point).
//
// torchvision's rule: the real value of a bin, divided by the scale, is rounded
// to the nearest integer, half to even; then the zero point is added; then the
// code is saturated. So it is a half of value / scale that goes to the even
// integer. With an odd zero point the code is then odd.

#ifndef TF_ROIALIGN_CC_CORE_DTYPES_QUANTIZATION_H_
#define TF_ROIALIGN_CC_CORE_DTYPES_QUANTIZATION_H_

#include <cmath>
#include <cstdint>
#include <type_traits>

#include "cc/core/base/host_device.h"
#include "cc/core/dtypes/float16.h"

namespace tf_roialign {

template <typename T>
constexpr bool kIsCode =
    std::is_same_v<T, int8_t> || std::is_same_v<T, uint8_t> ||
    std::is_same_v<T, int32_t>;

// How the sum of a bin's samples, each a weighted sum of code - zero, becomes a
// code: ((sum * factor) / divisor) * inverse is value / scale. The defaults are
// those of features that are no codes.
template <typename W>
struct Requantization {
  W zero = 0;
  W factor = 1;
  W divisor = 1;
  W inverse = 1;
};

// W: the accumulator of the codes.
template <typename W>
struct Quantization {
  W zero = 0;
  // The scale and 1 / scale, up to a power of two.
  W scale = 1;
  W inverse = 1;

  // For bins of so many samples.
  TF_ROIALIGN_HOST_DEVICE Requantization<W> OfBins(W samples) const {
    int exponent;
    // Then 1 / samples is exact, and so is what it is multiplied with.
    if (std::frexp(samples, &exponent) == W(0.5)) {
      return {zero, scale / samples, 1, inverse};
    }
    return {zero, scale, samples, inverse};
  }
};

// For codes of 8 bits, value / scale is computed as torchvision does: the value
// in float, times 1 / scale in float. Where the scale is no power of two, this
// decides on which side of a half a tie comes to lie. A power of two in the
// scale changes no digit, so it is left out: no scale is too large or too
// small.
template <typename T>
Quantization<Accumulator<T>> MakeQuantization(float scale, int32_t zero_point) {
  using W = Accumulator<T>;
  Quantization<W> quantization;
  quantization.zero = static_cast<W>(zero_point);
  // In double, for codes of 32 bits, the scale cancels out.
  if constexpr (std::is_same_v<W, float>) {
    int exponent;
    quantization.scale = std::frexp(scale, &exponent);
    quantization.inverse = 1 / quantization.scale;
  }
  return quantization;
}

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_DTYPES_QUANTIZATION_H_
