// The kernels of a SIMD level: compiled once for each, which TF_ROIALIGN_LEVEL
// names.

#include "cc/core/cpu/simd/box_grad-inl.h"
#include "cc/core/cpu/simd/feature_grad-inl.h"
#include "cc/core/cpu/simd/forward-inl.h"
#include "cc/core/cpu/simd/kernels.h"
#include "cc/core/cpu/simd/layouts-inl.h"
#include "cc/core/cpu/simd/max-inl.h"
#include "cc/core/cpu/simd/max_feature_grad-inl.h"
#include "cc/core/cpu/simd/vectors-inl.h"
#include "cc/core/dtypes/dtypes.h"
#include "cc/core/dtypes/quantization.h"

namespace tf_roialign {
namespace TF_ROIALIGN_LEVEL {
namespace {

template <typename T>
constexpr CpuKernels<T> MakeKernels() {
  CpuKernels<T> kernels = {};
  kernels.forward = Forward<T>;
  kernels.forward_rows = ForwardRows<T>;
  kernels.channels_last = ChannelsLast<T>;
  kernels.channels_first = ChannelsFirst<T>;
  kernels.stream_fence = StreamFence;
  if constexpr (!kIsCode<T>) {
    kernels.feature_grad = FeatureGrad<T>;
    kernels.box_grad = BoxGrad<T>;
    kernels.box_grad_rows = BoxGradRows<T>;
    kernels.max_forward = MaxForward<T>;
    kernels.winners8 = Winners<T, uint8_t>;
    kernels.winners32 = Winners<T, int32_t>;
    kernels.max_feature_grad8 = MaxFeatureGrad<T, uint8_t>;
    kernels.max_feature_grad32 = MaxFeatureGrad<T, int32_t>;
    kernels.max_box_grad = MaxBoxGrad<T>;
    kernels.pack = Pack<T>;
  }
  return kernels;
}

}  // namespace

template <typename T>
const CpuKernels<T>& Kernels() {
  static constexpr CpuKernels<T> kernels = MakeKernels<T>();
  return kernels;
}

#define TF_ROIALIGN_INSTANTIATE(T, ...) \
  template const CpuKernels<T>& Kernels<T>();
TF_ROIALIGN_FOR_EACH_FLOAT(TF_ROIALIGN_INSTANTIATE)
TF_ROIALIGN_FOR_EACH_CODE(TF_ROIALIGN_INSTANTIATE)

}  // namespace TF_ROIALIGN_LEVEL
}  // namespace tf_roialign
