// A box's inner loop in either mode, with what it needs made first.

#ifndef TF_ROIALIGN_CC_CORE_CPU_BOX_POOLER_H_
#define TF_ROIALIGN_CC_CORE_CPU_BOX_POOLER_H_

#include <cstdint>

#include "cc/core/call/feature_maps.h"
#include "cc/core/call/params.h"
#include "cc/core/cpu/box_samples.h"
#include "cc/core/cpu/box_taps.h"
#include "cc/core/cpu/simd/kernels.h"
#include "cc/core/dtypes/quantization.h"
#include "cc/core/geometry/box_axes.h"

namespace tf_roialign {

// One for each thread. T: dtype of the features; Pixel: that of the image at
// hand, T or its accumulators. `params` has to outlive it.
template <typename T>
class BoxPooler {
 public:
  using W = Accumulator<T>;

  explicit BoxPooler(const Params& params) : params_(params) {}

  template <typename Pixel, typename Any, typename B>
  void Forward(const CpuKernels<Pixel>& kernels, const FeatureMap<Any>& map,
               const BoxAxes<B>& axes, const Pixel* image, int64_t row_stride,
               int64_t channels, const Requantization<W>& to_codes, bool stream,
               Pixel* output, const BoxAhead& ahead = {}) {
    if constexpr (!kIsCode<T>) {
      if (params_.mode == Mode::kMax) {
        BoxSamples<W> samples = samples_.Build(params_, map, axes);
        samples.ahead = ahead;
        kernels.max_forward(samples, image, row_stride, channels, stream,
                            output);
        return;
      }
    }
    BoxTaps<W> taps = taps_.template BuildFor<T>(params_, map, axes);
    taps.ahead = ahead;
    kernels.forward(taps, image, row_stride, channels, to_codes, stream,
                    output);
  }

  template <typename Pixel, typename Any, typename B>
  void BoxGrad(const CpuKernels<Pixel>& kernels, const FeatureMap<Any>& map,
               const BoxAxes<B>& axes, const Pixel* grad_output,
               const Pixel* image, int64_t row_stride, int64_t channels,
               double* grad, const BoxAhead& ahead = {}) {
    if (params_.mode == Mode::kMax) {
      BoxSamples<W> samples = samples_.Build(params_, map, axes);
      samples.ahead = ahead;
      kernels.max_box_grad(samples, grad_output, image, row_stride, channels,
                           grad);
    } else {
      BoxTaps<W> taps = taps_.BuildWithSlopes(params_, map, axes);
      taps.ahead = ahead;
      kernels.box_grad(taps, grad_output, image, row_stride, channels, grad);
    }
  }

 private:
  const Params& params_;
  BoxTapsBuilder<W> taps_;
  BoxSamplesBuilder<W> samples_;
};

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CPU_BOX_POOLER_H_
