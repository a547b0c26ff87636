// Compiled once for each feature dtype: TF_ROIALIGN_FEATURE_TYPE.

#include "cc/core/cuda/launch.h"
#include "cc/core/cuda/roi_align_cuda.h"
#include "cc/core/cuda/run.h"

namespace tf_roialign {

template <typename T, typename B>
std::string RoiAlignBoxGradCuda(const CudaContext& context,
                                const Params& params, const Sizes& sizes,
                                const CudaBoxes<B>& boxes, const T* features,
                                const T* grad_output, B* grad_boxes) {
  gpu::CudaDevice device(context);
  return gpu::BoxGrad<T, B>(device, params, sizes, boxes, features, grad_output,
                            grad_boxes);
}

#define TF_ROIALIGN_INSTANTIATE(B)                                          \
  template std::string RoiAlignBoxGradCuda<TF_ROIALIGN_FEATURE_TYPE, B>(    \
      const CudaContext&, const Params&, const Sizes&, const CudaBoxes<B>&, \
      const TF_ROIALIGN_FEATURE_TYPE*, const TF_ROIALIGN_FEATURE_TYPE*, B*);
TF_ROIALIGN_INSTANTIATE(float)
TF_ROIALIGN_INSTANTIATE(double)

}  // namespace tf_roialign
