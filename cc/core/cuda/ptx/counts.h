// How often each instruction ran, and what its accesses cost.

#ifndef TF_ROIALIGN_CC_CORE_CUDA_PTX_COUNTS_H_
#define TF_ROIALIGN_CC_CORE_CUDA_PTX_COUNTS_H_

#include <cstdint>

namespace tf_roialign {
namespace ptx {

// Of one instruction.
struct Count {
  uint64_t warps = 0;    // warps that issued it
  uint64_t lanes = 0;    // lanes that it did something in
  uint64_t sectors = 0;  // 32-byte pieces of global memory, per warp
  uint64_t waves = 0;    // rounds that shared memory's 32 banks take
};

// How many 32-byte sectors the accesses of a warp touch, each of which is
// aligned to its size. Changes `addresses`.
int SectorsOf(uint64_t* addresses, int count);

// In how many rounds the banks serve accesses of a warp.
int WavesOf(const uint64_t* addresses, int count, int size);

}  // namespace ptx
}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CUDA_PTX_COUNTS_H_
