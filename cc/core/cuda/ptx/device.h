// A GPU that is a PTX interpreter: its memory, its programs and what it found
// out. There is one of it, as the CUDA runtime (fake_runtime.cc) has it.

#ifndef TF_ROIALIGN_CC_CORE_CUDA_PTX_DEVICE_H_
#define TF_ROIALIGN_CC_CORE_CUDA_PTX_DEVICE_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "cc/core/cuda/ptx/counts.h"
#include "cc/core/cuda/ptx/device_memory.h"
#include "cc/core/cuda/ptx/faults.h"
#include "cc/core/cuda/ptx/machine.h"
#include "cc/core/cuda/ptx/program.h"
#include "cc/core/cuda/ptx/warp.h"

namespace tf_roialign {
namespace ptx {

// What a launch says, as numbers of cudaError_t.
enum class LaunchError {
  kNone = 0,
  kInvalidValue = 1,
  kInvalidConfiguration = 9,
  kNoSuchKernel = 98,
  kOutOfResources = 701,
  kFailed = 719,
};

// A program and how often its instructions ran since it was loaded.
struct Loaded {
  Program program;
  std::vector<Count> counts;
  // Of each kernel that ran, by its place in the program.
  std::map<int, std::vector<Warp>> warps;
};

class Device {
 public:
  // Parses; a text that was loaded before is the same program.
  Loaded* Load(const std::string& text);

  // Checks what a driver checks, then runs.
  LaunchError Launch(Loaded* loaded, const std::string& kernel,
                     const LaunchSize& size, const void* const* arguments);

  DeviceMemory& memory() { return memory_; }
  Faults& faults() { return faults_; }
  MachineOptions& options() { return options_; }
  uint64_t launches() const { return launches_; }
  // Of blocks, in all launches.
  uint64_t blocks() const { return blocks_; }

  const std::map<std::string, std::unique_ptr<Loaded>>& programs() const {
    return programs_;
  }
  void ClearCounts();

  // For tests of the checks.
  void Unload() { programs_.clear(); }

 private:
  DeviceMemory memory_;
  Faults faults_;
  MachineOptions options_;
  uint64_t launches_ = 0;
  uint64_t blocks_ = 0;
  std::map<std::string, std::unique_ptr<Loaded>> programs_;  // by their text
};

Device& TheDevice();

// "ForwardNhwc<float, 4, true>" of a kernel's mangled name.
std::string ShortName(const std::string& mangled);

}  // namespace ptx
}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CUDA_PTX_DEVICE_H_
