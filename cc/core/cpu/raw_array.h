// An array whose elements are written before they are read.

#ifndef TF_ROIALIGN_CC_CORE_CPU_RAW_ARRAY_H_
#define TF_ROIALIGN_CC_CORE_CPU_RAW_ARRAY_H_

#include <cstddef>
#include <type_traits>
#include <utility>

#include "cc/core/cpu/aligned_vector.h"

namespace tf_roialign {

// Nothing touches the memory before the threads that fill it do: a vector
// would have the calling thread clear it, and wait for its pages.
template <typename T>
class RawArray {
 public:
  static_assert(std::is_trivially_copyable_v<T>);
  static_assert(std::is_trivially_destructible_v<T>);

  explicit RawArray(size_t count)
      : count_(count), data_(CacheLineAllocator<T>().allocate(count)) {}
  RawArray(RawArray&& other) noexcept
      : count_(std::exchange(other.count_, 0)),
        data_(std::exchange(other.data_, nullptr)) {}
  RawArray& operator=(RawArray&&) = delete;
  ~RawArray() { CacheLineAllocator<T>().deallocate(data_, count_); }

  size_t size() const { return count_; }
  T* data() { return data_; }
  const T* data() const { return data_; }
  T& operator[](size_t i) { return data_[i]; }
  const T& operator[](size_t i) const { return data_[i]; }

 private:
  size_t count_;
  T* data_;
};

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CPU_RAW_ARRAY_H_
