#include "cc/core/cpu/simd/kernels.h"
#include "cc/core/dtypes/dtypes.h"

namespace tf_roialign {

template <typename T>
const CpuKernels<T>& GetCpuKernels(SimdLevel level) {
#if defined(__x86_64__)
  switch (level) {
    case SimdLevel::kAvx512:
      return avx512::Kernels<T>();
    case SimdLevel::kAvx2:
      return avx2::Kernels<T>();
    case SimdLevel::kBaseline:
      break;
  }
#else
  (void)level;
#endif
  return baseline::Kernels<T>();
}

#define TF_ROIALIGN_INSTANTIATE(T, ...) \
  template const CpuKernels<T>& GetCpuKernels<T>(SimdLevel);
TF_ROIALIGN_FOR_EACH_FLOAT(TF_ROIALIGN_INSTANTIATE)
TF_ROIALIGN_FOR_EACH_CODE(TF_ROIALIGN_INSTANTIATE)

}  // namespace tf_roialign
