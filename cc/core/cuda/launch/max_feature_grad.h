// Launches the gradient of mode "max" to the features.

#ifndef TF_ROIALIGN_CC_CORE_CUDA_LAUNCH_MAX_FEATURE_GRAD_H_
#define TF_ROIALIGN_CC_CORE_CUDA_LAUNCH_MAX_FEATURE_GRAD_H_

#include <cstddef>
#include <cstdint>

#include "cc/core/base/status.h"
#include "cc/core/cuda/kernels/max_of_bins.h"
#include "cc/core/cuda/kernels/upstream.h"
#include "cc/core/cuda/kernels/winner.h"
#include "cc/core/cuda/launch/feature_grad.h"
#include "cc/core/cuda/launch/make_problem.h"
#include "cc/core/cuda/launch/max_of_bins.h"

namespace tf_roialign {
namespace cuda {

// First the winner of each bin and channel, then a gather as in mode "avg".
template <typename T, typename B, typename Device>
Status MaxFeatureGrad(Device& device, const Params& params, const Sizes& sizes,
                      const Boxes<B>& boxes,
                      const FeatureMaps<const T>& features,
                      const T* grad_output,
                      const FeatureMaps<T>& grad_features) {
  using W = Accumulator<T>;
  if (IsEmpty(sizes, grad_features)) return {};
  TF_ROIALIGN_RETURN_IF_ERROR(Limits::Check(params, sizes, grad_features));
  Winner<W>* winners = nullptr;
  if (boxes.count > 0) {
    const Problem problem = MakeProblem(params, sizes, boxes, features);
    winners = static_cast<Winner<W>*>(
        device.Allocate(size_t(boxes.count) * problem.bins() * sizes.channels *
                        sizeof(Winner<W>)));
    if (winners == nullptr) return NoScratch();
    TF_ROIALIGN_RETURN_IF_ERROR(
        LaunchMax(device, problem, grad_output, StoreWinners<T>{winners}));
  }
  return LaunchFeatureGrad<T>(
      device, MakeProblem(params, sizes, boxes, grad_features), grad_output,
      MaxUpstream<T>{grad_output, winners});
}

}  // namespace cuda
}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CUDA_LAUNCH_MAX_FEATURE_GRAD_H_
