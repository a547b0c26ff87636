// Compiled once for each feature dtype: TF_ROIALIGN_FEATURE_TYPE.

#include "cc/core/cuda/launch/max_feature_grad.h"

#include "cc/core/cuda/platform/launch.h"
#include "cc/core/cuda/roi_align_cuda.h"

namespace tf_roialign {

template <typename T, typename B>
Status RoiAlignMaxFeatureGrad(const CudaContext& context, const Params& params,
                              const Sizes& sizes, const Boxes<B>& boxes,
                              const FeatureMaps<const T>& features,
                              const T* grad_output,
                              const FeatureMaps<T>& grad_features) {
  cuda::CudaDevice device(context);
  return cuda::MaxFeatureGrad<T, B>(device, params, sizes, boxes, features,
                                    grad_output, grad_features);
}

#define TF_ROIALIGN_INSTANTIATE(B)                                      \
  template TF_ROIALIGN_API Status                                       \
  RoiAlignMaxFeatureGrad<TF_ROIALIGN_FEATURE_TYPE, B>(                  \
      const CudaContext&, const Params&, const Sizes&, const Boxes<B>&, \
      const FeatureMaps<const TF_ROIALIGN_FEATURE_TYPE>&,               \
      const TF_ROIALIGN_FEATURE_TYPE*,                                  \
      const FeatureMaps<TF_ROIALIGN_FEATURE_TYPE>&);
TF_ROIALIGN_FOR_EACH_BOX_TYPE(TF_ROIALIGN_INSTANTIATE)

}  // namespace tf_roialign
