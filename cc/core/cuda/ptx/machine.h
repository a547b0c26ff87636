// Runs one launch of a kernel: its blocks one after the other, the warps of a
// block in turns from barrier to barrier, the lanes of a warp in step, those
// with the lowest program counter first, so that they meet again where their
// ways join.

#ifndef TF_ROIALIGN_CC_CORE_CUDA_PTX_MACHINE_H_
#define TF_ROIALIGN_CC_CORE_CUDA_PTX_MACHINE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "cc/core/cuda/ptx/counts.h"
#include "cc/core/cuda/ptx/device_memory.h"
#include "cc/core/cuda/ptx/faults.h"
#include "cc/core/cuda/ptx/program.h"
#include "cc/core/cuda/ptx/warp.h"

namespace tf_roialign {
namespace ptx {

// In which warps of a block take turns; blocks are descending or ascending.
enum class Order { kAscending, kDescending, kShuffled };

struct MachineOptions {
  Order order = Order::kAscending;
  // Sectors and waves too.
  bool count_memory = false;
  // A block that issues more does not end.
  uint64_t most_instructions = 400'000'000;
};

struct LaunchSize {
  uint32_t blocks;
  uint32_t threads;
  uint32_t shared_bytes;  // those that the program does not name
};

// `arguments`: a pointer to each of the kernel's parameters. `launch`: its
// number. `warps`: what an earlier launch of the kernel left, or nothing;
// taking them again saves half of the time of small launches. `counts`: one for
// each instruction of the program, added to.
void RunKernel(const Program& program, const Function& kernel,
               const std::string& name, const LaunchSize& size,
               const void* const* arguments, uint64_t launch,
               const MachineOptions& options, DeviceMemory* memory,
               Faults* faults, std::vector<Warp>* warps,
               std::vector<Count>* counts);

}  // namespace ptx
}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CUDA_PTX_MACHINE_H_
