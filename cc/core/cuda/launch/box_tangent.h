// Launches how RoIAlign changes as its boxes move, and the transpose.

#ifndef TF_ROIALIGN_CC_CORE_CUDA_LAUNCH_BOX_TANGENT_H_
#define TF_ROIALIGN_CC_CORE_CUDA_LAUNCH_BOX_TANGENT_H_

#include "cc/core/base/status.h"
#include "cc/core/cuda/kernels/box_tangent.h"
#include "cc/core/cuda/kernels/upstream.h"
#include "cc/core/cuda/launch/feature_grad.h"
#include "cc/core/cuda/launch/make_problem.h"
#include "cc/core/cuda/launch/pool_row.h"

namespace tf_roialign {
namespace cuda {

template <typename T, typename B, typename Device>
Status BoxTangent(Device& device, const Params& params, const Sizes& sizes,
                  const Boxes<B>& boxes, const B* direction,
                  const FeatureMaps<const T>& features, T* output) {
  if (boxes.count == 0 || sizes.channels == 0) return {};
  TF_ROIALIGN_RETURN_IF_ERROR(Limits::Check(params, sizes, features));
  Problem problem = MakeProblem(params, sizes, boxes, features);
  problem.direction = direction;
  return LaunchPoolRow(device, problem, SumBoxTangent<T>(), output);
}

// The feature gradient with other weights.
template <typename T, typename B, typename Device>
Status BoxTangentGrad(Device& device, const Params& params, const Sizes& sizes,
                      const Boxes<B>& boxes, const B* direction,
                      const T* grad_output,
                      const FeatureMaps<T>& grad_features) {
  if (IsEmpty(sizes, grad_features)) return {};
  TF_ROIALIGN_RETURN_IF_ERROR(Limits::Check(params, sizes, grad_features));
  Problem problem = MakeProblem(params, sizes, boxes, grad_features);
  problem.direction = direction;
  return LaunchFeatureGrad<T>(device, problem, grad_output,
                              MovedUpstream<T>{grad_output});
}

}  // namespace cuda
}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CUDA_LAUNCH_BOX_TANGENT_H_
