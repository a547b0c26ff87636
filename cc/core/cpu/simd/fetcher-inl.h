// Fetches memory that is needed later into the second cache, a bit at a time.

#ifndef TF_ROIALIGN_CC_CORE_CPU_SIMD_FETCHER_INL_H_
#define TF_ROIALIGN_CC_CORE_CPU_SIMD_FETCHER_INL_H_

#include <cstdint>

#include "cc/core/cpu/simd/ahead.h"
#include "cc/core/cpu/simd/vectors-inl.h"

namespace tf_roialign {
namespace TF_ROIALIGN_LEVEL {
namespace {

class Fetcher {
 public:
  // `parts`: how often FetchPart is called.
  TF_ROIALIGN_INLINE Fetcher(const MemoryAhead& memory, int64_t parts)
      : row_(static_cast<const char*>(memory.first)),
        rows_(memory.rows),
        bytes_(memory.bytes),
        stride_(memory.stride) {
    const int64_t lines = rows_ * ((bytes_ + kLine - 1) / kLine);
    lines_of_part_ = parts > 0 ? (lines + parts - 1) / parts : 0;
  }

  TF_ROIALIGN_INLINE void FetchPart() {
    for (int64_t i = 0; i < lines_of_part_ && rows_ > 0; ++i) {
      __builtin_prefetch(row_ + at_, /*rw=*/0, /*locality=*/2);
      at_ += kLine;
      if (at_ >= bytes_) {
        at_ = 0;
        row_ += stride_;
        --rows_;
      }
    }
  }

 private:
  static constexpr int64_t kLine = 64;

  const char* row_;
  int64_t rows_;
  const int64_t bytes_;
  const int64_t stride_;
  int64_t lines_of_part_;
  int64_t at_ = 0;
};

}  // namespace
}  // namespace TF_ROIALIGN_LEVEL
}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CPU_SIMD_FETCHER_INL_H_
