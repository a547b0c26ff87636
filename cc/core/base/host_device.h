// Marks functions that CUDA's compiler makes for host and device.

#ifndef TF_ROIALIGN_CC_CORE_BASE_HOST_DEVICE_H_
#define TF_ROIALIGN_CC_CORE_BASE_HOST_DEVICE_H_

#if defined(__CUDACC__)
#define TF_ROIALIGN_HOST_DEVICE __host__ __device__
// Into whoever calls it, on the device.
#define TF_ROIALIGN_HOST_DEVICE_INLINE __host__ __device__ __forceinline__
#else
#define TF_ROIALIGN_HOST_DEVICE
#define TF_ROIALIGN_HOST_DEVICE_INLINE inline
#endif

namespace tf_roialign {

template <typename A>
TF_ROIALIGN_HOST_DEVICE_INLINE constexpr A Min(A a, A b) {
  return b < a ? b : a;
}
template <typename A>
TF_ROIALIGN_HOST_DEVICE_INLINE constexpr A Max(A a, A b) {
  return a < b ? b : a;
}

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_BASE_HOST_DEVICE_H_
