// Compiled once for each feature dtype: TF_ROIALIGN_FEATURE_TYPE.

#include "cc/core/cuda/launch/box_tangent.h"
#include "cc/core/cuda/platform/launch.h"
#include "cc/core/cuda/roi_align_cuda.h"

namespace tf_roialign {

template <typename T, typename B>
Status RoiAlignBoxTangentGrad(const CudaContext& context, const Params& params,
                              const Sizes& sizes, const Boxes<B>& boxes,
                              const B* direction, const T* grad_output,
                              const FeatureMaps<T>& grad_features) {
  cuda::CudaDevice device(context);
  return cuda::BoxTangentGrad<T, B>(device, params, sizes, boxes, direction,
                                    grad_output, grad_features);
}

#define TF_ROIALIGN_INSTANTIATE(B)                                      \
  template TF_ROIALIGN_API Status                                       \
  RoiAlignBoxTangentGrad<TF_ROIALIGN_FEATURE_TYPE, B>(                  \
      const CudaContext&, const Params&, const Sizes&, const Boxes<B>&, \
      const B*, const TF_ROIALIGN_FEATURE_TYPE*,                        \
      const FeatureMaps<TF_ROIALIGN_FEATURE_TYPE>&);
TF_ROIALIGN_FOR_EACH_BOX_TYPE(TF_ROIALIGN_INSTANTIATE)

}  // namespace tf_roialign
