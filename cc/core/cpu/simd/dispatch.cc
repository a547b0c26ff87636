#include "cc/core/cpu/simd/kernels.h"

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

template const CpuKernels<float>& GetCpuKernels<float>(SimdLevel);
template const CpuKernels<double>& GetCpuKernels<double>(SimdLevel);
template const CpuKernels<Half>& GetCpuKernels<Half>(SimdLevel);
template const CpuKernels<BFloat16>& GetCpuKernels<BFloat16>(SimdLevel);
template const CpuKernels<int8_t>& GetCpuKernels<int8_t>(SimdLevel);
template const CpuKernels<uint8_t>& GetCpuKernels<uint8_t>(SimdLevel);
template const CpuKernels<int32_t>& GetCpuKernels<int32_t>(SimdLevel);

}  // namespace tf_roialign
