// Scratch memory for vector kernels: a vector that straddles two cache lines
// costs twice, and malloc aligns to 16 bytes only.

#ifndef TF_ROIALIGN_CC_CORE_CPU_ALIGNED_VECTOR_H_
#define TF_ROIALIGN_CC_CORE_CPU_ALIGNED_VECTOR_H_

#include <cstddef>
#include <cstdint>
#include <new>
#include <vector>

namespace tf_roialign {

template <typename T>
struct CacheLineAllocator {
  using value_type = T;
  static constexpr std::align_val_t kAlignment{64};

  CacheLineAllocator() = default;
  template <typename U>
  CacheLineAllocator(const CacheLineAllocator<U>&) {}

  T* allocate(size_t count) {
    if (count > SIZE_MAX / sizeof(T)) throw std::bad_alloc();
    return static_cast<T*>(::operator new(count * sizeof(T), kAlignment));
  }
  void deallocate(T* data, size_t) { ::operator delete(data, kAlignment); }

  template <typename U>
  bool operator==(const CacheLineAllocator<U>&) const {
    return true;
  }
  template <typename U>
  bool operator!=(const CacheLineAllocator<U>&) const {
    return false;
  }
};

template <typename T>
using AlignedVector = std::vector<T, CacheLineAllocator<T>>;

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CPU_ALIGNED_VECTOR_H_
