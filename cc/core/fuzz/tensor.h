// Tensors whose dtype is known at run time only.

#ifndef TF_ROIALIGN_CC_CORE_FUZZ_TENSOR_H_
#define TF_ROIALIGN_CC_CORE_FUZZ_TENSOR_H_

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>

#include "cc/core/call/shape.h"
#include "cc/core/dtypes/dtypes.h"
#include "cc/core/testing/any_dtype.h"

namespace tf_roialign {

enum class Dtype {
#define TF_ROIALIGN_NAME(T, ...) k_##T,
  TF_ROIALIGN_FOR_EACH_FLOAT(TF_ROIALIGN_NAME)
      TF_ROIALIGN_FOR_EACH_CODE(TF_ROIALIGN_NAME)
#undef TF_ROIALIGN_NAME
          kInt64,
};

// Calls visit(T{}).
template <typename Visit>
auto WithDtype(Dtype dtype, const Visit& visit) {
  switch (dtype) {
#define TF_ROIALIGN_CASE(T, ...) \
  case Dtype::k_##T:             \
    return visit(T{});
    TF_ROIALIGN_FOR_EACH_FLOAT(TF_ROIALIGN_CASE)
    TF_ROIALIGN_FOR_EACH_CODE(TF_ROIALIGN_CASE)
#undef TF_ROIALIGN_CASE
    case Dtype::kInt64:
      break;
  }
  return visit(int64_t{});
}

// What no call here comes to.
constexpr int64_t kCountless = INT64_C(1) << 62;

// Of shapes that are known; at most kCountless, but 0 with any 0 among the
// sizes.
inline int64_t CountOf(const Shape& shape) {
  int64_t count = 1;
  for (int i = 0; i < shape.rank; ++i) {
    if (shape.dims[i] == 0) return 0;
  }
  for (int i = 0; i < shape.rank; ++i) {
    if (__builtin_mul_overflow(count, shape.dims[i], &count)) return kCountless;
    if (count > kCountless) return kCountless;
  }
  return count;
}

// Memory of its very own, so that a sanitizer sees what is read beyond it. It
// is aligned to a cache line, or just to an element: a host's need be no more.
class Tensor {
 public:
  Tensor() = default;
  Tensor(Dtype dtype, int64_t count, bool aligned)
      : dtype_(dtype), count_(count) {
    element_bytes_ =
        WithDtype(dtype, [](auto zero) { return int64_t(sizeof(zero)); });
    // Hosts have no memory for nothing.
    if (count == 0) return;
    offset_ = aligned ? 0 : element_bytes_;
    void* memory = nullptr;
    if (posix_memalign(&memory, 64, bytes() + offset_) != 0) {
      throw std::bad_alloc();
    }
    memory_.reset(memory);
  }

  Dtype dtype() const { return dtype_; }
  int64_t count() const { return count_; }
  size_t bytes() const { return size_t(count_) * size_t(element_bytes_); }
  unsigned char* data() const {
    return memory_ == nullptr
               ? nullptr
               : static_cast<unsigned char*>(memory_.get()) + offset_;
  }

  double at(int64_t i) const {
    return WithDtype(dtype_, [&](auto zero) {
      std::memcpy(&zero, data() + i * element_bytes_, sizeof(zero));
      return ToDouble(zero);
    });
  }
  // Of what a T can hold.
  void Set(int64_t i, double value) {
    WithDtype(dtype_, [&](auto zero) {
      zero = FromDouble<decltype(zero)>(value);
      std::memcpy(data() + i * element_bytes_, &zero, sizeof(zero));
    });
  }
  template <typename T>
  void SetBits(int64_t i, T bits) {
    std::memcpy(data() + i * element_bytes_, &bits, sizeof(bits));
  }
  void Fill(int byte) {
    if (count_ > 0) std::memset(data(), byte, bytes());
  }

 private:
  struct Free {
    void operator()(void* memory) const { std::free(memory); }
  };

  Dtype dtype_ = Dtype::k_float;
  int64_t count_ = 0;
  int64_t element_bytes_ = 0;
  int64_t offset_ = 0;
  std::unique_ptr<void, Free> memory_;
};

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_FUZZ_TENSOR_H_
