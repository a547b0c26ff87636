// Compiled once for each feature dtype: TF_ROIALIGN_FEATURE_TYPE.

#include "cc/core/cuda/launch.h"
#include "cc/core/cuda/roi_align_cuda.h"
#include "cc/core/cuda/run.h"

namespace tf_roialign {

template <typename T, typename B>
std::string RoiAlignFeatureGradCuda(const CudaContext& context,
                                    const Params& params, const Sizes& sizes,
                                    const CudaBoxes<B>& boxes,
                                    const T* grad_output, T* grad_features) {
  gpu::CudaDevice device(context);
  return gpu::FeatureGrad<T, B>(device, params, sizes, boxes, grad_output,
                                grad_features);
}

#define TF_ROIALIGN_INSTANTIATE(B)                                           \
  template std::string RoiAlignFeatureGradCuda<TF_ROIALIGN_FEATURE_TYPE, B>( \
      const CudaContext&, const Params&, const Sizes&, const CudaBoxes<B>&,  \
      const TF_ROIALIGN_FEATURE_TYPE*, TF_ROIALIGN_FEATURE_TYPE*);
TF_ROIALIGN_INSTANTIATE(float)
TF_ROIALIGN_INSTANTIATE(double)

}  // namespace tf_roialign
