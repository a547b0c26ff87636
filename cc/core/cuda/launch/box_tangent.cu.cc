// Compiled once for each feature dtype: TF_ROIALIGN_FEATURE_TYPE.

#include "cc/core/cuda/launch/box_tangent.h"

#include "cc/core/cuda/platform/launch.h"
#include "cc/core/cuda/roi_align_cuda.h"

namespace tf_roialign {

template <typename T, typename B>
Status RoiAlignBoxTangent(const CudaContext& context, const Params& params,
                          const Sizes& sizes, const Boxes<B>& boxes,
                          const B* direction,
                          const FeatureMaps<const T>& features, T* output) {
  cuda::CudaDevice device(context);
  return cuda::BoxTangent<T, B>(device, params, sizes, boxes, direction,
                                features, output);
}

#define TF_ROIALIGN_INSTANTIATE(B)                                      \
  template TF_ROIALIGN_API Status                                       \
  RoiAlignBoxTangent<TF_ROIALIGN_FEATURE_TYPE, B>(                      \
      const CudaContext&, const Params&, const Sizes&, const Boxes<B>&, \
      const B*, const FeatureMaps<const TF_ROIALIGN_FEATURE_TYPE>&,     \
      TF_ROIALIGN_FEATURE_TYPE*);
TF_ROIALIGN_FOR_EACH_BOX_TYPE(TF_ROIALIGN_INSTANTIATE)

}  // namespace tf_roialign
