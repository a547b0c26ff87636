// The forward on codes: a task of pool_row.h. Sums are made in the order and by
// the steps of the CPU (quantization.h has the rule).

#ifndef TF_ROIALIGN_CC_CORE_CUDA_KERNELS_FORWARD_QUANTIZED_H_
#define TF_ROIALIGN_CC_CORE_CUDA_KERNELS_FORWARD_QUANTIZED_H_

#include <cmath>
#include <cstdint>
#include <limits>

#include "cc/core/cuda/kernels/problem.h"
#include "cc/core/cuda/kernels/vectors.h"
#include "cc/core/cuda/platform/portable.h"
#include "cc/core/cuda/tuning.h"
#include "cc/core/dtypes/fillers.h"
#include "cc/core/dtypes/quantization.h"
#include "cc/core/geometry/axis.h"
#include "cc/core/geometry/box_axes.h"
#include "cc/core/geometry/taps.h"

namespace tf_roialign {
namespace cuda {

// A tap of the sum of samples: its weight is not divided by their number.
template <typename W>
struct SumTap : Tap<W> {};

template <typename W>
TF_ROIALIGN_DEVICE void SetTap(int pixel, const PixelSums& sums, double,
                               SumTap<W>* tap) {
  tf_roialign::SetTap(pixel, sums, 1.0, static_cast<Tap<W>*>(tap));
}

// To the nearest, half to even.
TF_ROIALIGN_DEVICE float RoundToEven(float value) { return rintf(value); }
TF_ROIALIGN_DEVICE double RoundToEven(double value) { return rint(value); }

// T: codes.
template <typename T>
struct SumCodes {
  using W = Accumulator<T>;
  using AnyTap = SumTap<W>;
  static constexpr int kChannels = kCodesTogether;
  static constexpr int kListTaps = kMaxListTaps;
  static constexpr bool kChangesTaps = false;
  using OfBox = Requantization<W>;

  Fillers<T> fillers;

  TF_ROIALIGN_DEVICE OfBox Begin(const BoxOnMap& box, int64_t) const {
    return fillers.quantization.OfBins(box.problem().boxes_are_double
                                           ? SamplesOf<double>(box)
                                           : SamplesOf<float>(box));
  }

  template <int V>
  struct Sum {
    Sums<W, V> codes;
    // As often as a code is counted: samples outside the map count in neither.
    W weights = W(0);

    TF_ROIALIGN_DEVICE Sum() { codes.Clear(); }
    TF_ROIALIGN_DEVICE void Add(const AnyTap& y, const AnyTap& x,
                                const Packed<T, V>& pixel) {
      const W weight = rounded::Mul(y.weight, x.weight);
      weights = rounded::Add(weights, weight);
      codes.Add(weight, pixel);
    }
    TF_ROIALIGN_DEVICE void StoreTo(const OfBox& rule, T* to) const {
      const W of_zero = rounded::Mul(rule.zero, weights);
      Packed<T, V> packed;
      TF_ROIALIGN_UNROLL
      for (int v = 0; v < V; ++v) {
        packed.e[v] = CodeOf(rounded::Sub(codes.e[v], of_zero), rule);
      }
      StoreStreaming(packed, to);
    }
  };

  template <int V>
  TF_ROIALIGN_DEVICE Packed<T, V> NoMeaning() const {
    Packed<T, V> filled;
    TF_ROIALIGN_UNROLL
    for (int v = 0; v < V; ++v) filled.e[v] = fillers.no_meaning;
    return filled;
  }

 private:
  static constexpr W kLow = static_cast<W>(std::numeric_limits<T>::min());
  static constexpr W kHigh = static_cast<W>(std::numeric_limits<T>::max());

  template <typename B>
  static TF_ROIALIGN_DEVICE W SamplesOf(const BoxOnMap& box) {
    return SamplesPerBin<W>(
        BoxAxes<B>{box.AxisY<B>().axis, box.AxisX<B>().axis});
  }

  // `sum`: of code - zero.
  static TF_ROIALIGN_DEVICE T CodeOf(W sum, const Requantization<W>& rule) {
    W value = rounded::Mul(sum, rule.factor);
    if (rule.divisor != W(1)) value = rounded::Div(value, rule.divisor);
    if (sizeof(W) == sizeof(float)) value = rounded::Mul(value, rule.inverse);
    return static_cast<T>(
        Min(Max(RoundToEven(value) + rule.zero, kLow), kHigh));
  }
};

}  // namespace cuda
}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CUDA_KERNELS_FORWARD_QUANTIZED_H_
