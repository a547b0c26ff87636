// Memory for many small arrays that live as long as each other.

#ifndef TF_ROIALIGN_CC_CORE_CPU_ARENA_H_
#define TF_ROIALIGN_CC_CORE_CPU_ARENA_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "cc/core/cpu/raw_array.h"

namespace tf_roialign {

// What it holds stays in its place, also when the arena is moved. Vectors for
// a thousand boxes took the calling thread 0.4 ms to clear and to free.
class Arena {
 public:
  template <typename T>
  T* Copy(const T* from, int64_t count) {
    static_assert(std::is_trivially_copyable_v<T>);
    const size_t bytes =
        (size_t(count) * sizeof(T) + kAlignment - 1) / kAlignment * kAlignment;
    if (bytes > left_) Grow(bytes);
    T* const to = reinterpret_cast<T*>(next_);
    std::copy_n(from, count, to);
    next_ += bytes;
    left_ -= bytes;
    return to;
  }

 private:
  static constexpr size_t kAlignment = alignof(std::max_align_t);
  static constexpr size_t kBlockBytes = size_t(32) << 10;

  void Grow(size_t bytes) {
    const size_t size = std::max(bytes, kBlockBytes);
    blocks_.emplace_back(size);
    next_ = blocks_.back().data();
    left_ = size;
  }

  std::vector<RawArray<unsigned char>> blocks_;
  unsigned char* next_ = nullptr;
  size_t left_ = 0;
};

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CPU_ARENA_H_
