// Launches the forward on codes.

#ifndef TF_ROIALIGN_CC_CORE_CUDA_LAUNCH_FORWARD_QUANTIZED_H_
#define TF_ROIALIGN_CC_CORE_CUDA_LAUNCH_FORWARD_QUANTIZED_H_

#include <cstdint>

#include "cc/core/base/status.h"
#include "cc/core/cuda/kernels/forward_quantized.h"
#include "cc/core/cuda/launch/make_problem.h"
#include "cc/core/cuda/launch/pool_row.h"
#include "cc/core/dtypes/fillers.h"

namespace tf_roialign {
namespace cuda {

template <typename T, typename B, typename Device>
Status ForwardQuantized(Device& device, const Params& params,
                        const Sizes& sizes, const Boxes<B>& boxes, float scale,
                        int32_t zero_point,
                        const FeatureMaps<const T>& features, T* output) {
  if (boxes.count == 0 || sizes.channels == 0) return {};
  TF_ROIALIGN_RETURN_IF_ERROR(Limits::Check(params, sizes, features));
  return LaunchPoolRow(device, MakeProblem(params, sizes, boxes, features),
                       SumCodes<T>{CodeFillers<T>(scale, zero_point)}, output);
}

}  // namespace cuda
}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CUDA_LAUNCH_FORWARD_QUANTIZED_H_
