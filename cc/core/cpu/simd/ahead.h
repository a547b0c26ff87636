// What comes after the box at hand. A box's kernel knows which memory the next
// box will read, and has it fetched meanwhile: windows are scattered over the
// map, where no processor foresees the next one.

#ifndef TF_ROIALIGN_CC_CORE_CPU_SIMD_AHEAD_H_
#define TF_ROIALIGN_CC_CORE_CPU_SIMD_AHEAD_H_

#include <cstdint>

namespace tf_roialign {

// `rows` pieces of memory of `bytes` bytes, whose beginnings are `stride` bytes
// apart; and the same in `planes` planes, `plane` bytes apart.
struct MemoryAhead {
  const void* first = nullptr;
  int64_t rows = 0;
  int64_t bytes = 0;
  int64_t stride = 0;
  int64_t planes = 1;
  int64_t plane = 0;
};

// Of a box.
struct BoxAhead {
  MemoryAhead window;    // of the features
  MemoryAhead upstream;  // its bins, for a gradient
};

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CPU_SIMD_AHEAD_H_
