// Compiled once for each feature dtype: TF_ROIALIGN_FEATURE_TYPE.

#include "cc/core/cuda/launch/forward_quantized.h"

#include "cc/core/cuda/platform/launch.h"
#include "cc/core/cuda/roi_align_cuda.h"

namespace tf_roialign {

template <typename T, typename B>
Status RoiAlignForwardQuantized(const CudaContext& context,
                                const Params& params, const Sizes& sizes,
                                const Boxes<B>& boxes, float scale,
                                int32_t zero_point,
                                const FeatureMaps<const T>& features,
                                T* output) {
  cuda::CudaDevice device(context);
  return cuda::ForwardQuantized<T, B>(device, params, sizes, boxes, scale,
                                      zero_point, features, output);
}

#define TF_ROIALIGN_INSTANTIATE(B)                                             \
  template TF_ROIALIGN_API Status                                              \
  RoiAlignForwardQuantized<TF_ROIALIGN_FEATURE_TYPE, B>(                       \
      const CudaContext&, const Params&, const Sizes&, const Boxes<B>&, float, \
      int32_t, const FeatureMaps<const TF_ROIALIGN_FEATURE_TYPE>&,             \
      TF_ROIALIGN_FEATURE_TYPE*);
TF_ROIALIGN_FOR_EACH_BOX_TYPE(TF_ROIALIGN_INSTANTIATE)

}  // namespace tf_roialign
