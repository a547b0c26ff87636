// Compiled once for each feature dtype: TF_ROIALIGN_FEATURE_TYPE.

#include "cc/core/cuda/launch.h"
#include "cc/core/cuda/roi_align_cuda.h"
#include "cc/core/cuda/run.h"

namespace tf_roialign {

template <typename T, typename B>
std::string RoiAlignForwardCuda(const CudaContext& context,
                                const Params& params, const Sizes& sizes,
                                const CudaBoxes<B>& boxes, const T* features,
                                T* output) {
  gpu::CudaDevice device(context);
  return gpu::Forward<T, B>(device, params, sizes, boxes, features, output);
}

#define TF_ROIALIGN_INSTANTIATE(B)                                          \
  template std::string RoiAlignForwardCuda<TF_ROIALIGN_FEATURE_TYPE, B>(    \
      const CudaContext&, const Params&, const Sizes&, const CudaBoxes<B>&, \
      const TF_ROIALIGN_FEATURE_TYPE*, TF_ROIALIGN_FEATURE_TYPE*);
TF_ROIALIGN_INSTANTIATE(float)
TF_ROIALIGN_INSTANTIATE(double)

}  // namespace tf_roialign
