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
      : memory_(memory),
        plane_(static_cast<const char*>(memory.first)),
        row_(plane_),
        planes_(memory.rows > 0 ? memory.planes : 0),
        rows_(memory.rows) {
    const int64_t lines =
        planes_ * rows_ * ((memory.bytes + kLine - 1) / kLine);
    lines_of_part_ = parts > 0 ? (lines + parts - 1) / parts : 0;
  }

  TF_ROIALIGN_INLINE void FetchPart() {
    for (int64_t i = 0; i < lines_of_part_ && planes_ > 0; ++i) {
      __builtin_prefetch(row_ + at_, /*rw=*/0, /*locality=*/2);
      at_ += kLine;
      if (at_ < memory_.bytes) continue;
      at_ = 0;
      row_ += memory_.stride;
      if (--rows_ > 0) continue;
      rows_ = memory_.rows;
      plane_ += memory_.plane;
      row_ = plane_;
      --planes_;
    }
  }

 private:
  static constexpr int64_t kLine = 64;

  const MemoryAhead memory_;
  const char* plane_;
  const char* row_;
  int64_t planes_;
  int64_t rows_;
  int64_t lines_of_part_;
  int64_t at_ = 0;
};

}  // namespace
}  // namespace TF_ROIALIGN_LEVEL
}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CPU_SIMD_FETCHER_INL_H_
