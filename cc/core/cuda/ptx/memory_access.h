// Loads, stores and atomic additions of a warp, with all that is checked about
// them.

#ifndef TF_ROIALIGN_CC_CORE_CUDA_PTX_MEMORY_ACCESS_H_
#define TF_ROIALIGN_CC_CORE_CUDA_PTX_MEMORY_ACCESS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "cc/core/cuda/ptx/counts.h"
#include "cc/core/cuda/ptx/device_memory.h"
#include "cc/core/cuda/ptx/faults.h"
#include "cc/core/cuda/ptx/program.h"
#include "cc/core/cuda/ptx/shared_memory.h"
#include "cc/core/cuda/ptx/warp.h"

namespace tf_roialign {
namespace ptx {

// Says where a fault is.
class Reporter {
 public:
  Reporter(const std::string& kernel, Faults* faults)
      : kernel_(kernel), faults_(*faults) {}

  // detail() says what it is about; asked for only where it is kept.
  template <typename Detail>
  void Add(FaultKind kind, const Instruction& i, int warp, int lane,
           const Detail& detail) {
    faults_.AddIfKept(kind, kernel_,
                      [&] { return Text(i, warp * kLanes + lane, detail()); });
  }

  uint32_t block = 0;  // the one in hand

 private:
  std::string Text(const Instruction& i, int thread,
                   const std::string& detail) const;

  const std::string& kernel_;
  Faults& faults_;
};

// Device memory during one launch, in which no two threads may touch the same
// bytes if one of them writes: nothing orders blocks, and the kernels here do
// not pass data through global memory within a block either.
class GlobalMemory {
 public:
  GlobalMemory(DeviceMemory* memory, uint64_t launch, uint32_t block_threads,
               int granule);

  // Where an access of an instruction goes; null: out of bounds.
  Allocation* Find(const Instruction* i, uint64_t address, int size);
  std::string Describe(uint64_t address) { return memory_.Describe(address); }

  // Whether an access races with one of another thread of the launch. `who`:
  // NumberOf.
  bool Read(Allocation* piece, uint64_t at, int size, uint32_t who);
  bool Write(Allocation* piece, uint64_t at, int size, uint32_t who);

  uint32_t NumberOf(uint32_t block, int thread) const {
    return block * block_threads_ + thread + 1;
  }

 private:
  struct Cached {
    const Instruction* instruction = nullptr;
    Allocation* piece = nullptr;
  };
  static constexpr size_t kCached = 256;

  void Begin(Allocation* piece) const;

  DeviceMemory& memory_;
  uint64_t launch_;
  uint32_t block_threads_;
  int granule_log2_ = 0;
  // The last piece of each instruction, by its address.
  uint64_t version_ = 0;
  std::vector<Cached> cached_;
};

class MemoryAccess {
 public:
  MemoryAccess(const Program& program, bool count, Reporter* reporter,
               GlobalMemory* global, SharedMemory* shared,
               std::vector<Count>* counts)
      : program_(program),
        count_(count),
        report_(*reporter),
        global_(*global),
        shared_(*shared),
        counts_(*counts) {}

  void Run(Warp* warp, Frame* frame, const Instruction& i, int pc,
           uint32_t lanes);

 private:
  // The bytes of an access and which of them are undefined (null: none).
  struct Place {
    unsigned char* data = nullptr;  // null: nowhere
    uint8_t* undefined = nullptr;
    // Structs have padding, which nobody writes and which is passed on with
    // them: what is undefined in part counts as defined.
    bool has_padding = false;
  };

  bool LoadForAll(Frame* frame, const Instruction& i, uint32_t lanes);
  Place Find(Warp* warp, Frame* frame, const Instruction& i, int lane,
             uint64_t address, int size);
  Place FindGlobal(Warp* warp, const Instruction& i, int lane, uint64_t address,
                   int size);
  Place FindShared(Warp* warp, const Instruction& i, int lane, uint64_t at,
                   int size);
  void Load(Frame* frame, const Instruction& i, int lane, const Place& place);
  void Store(Warp* warp, Frame* frame, const Instruction& i, int lane,
             const Place& place);
  void Add(Frame* frame, const Instruction& i, int lane, const Place& place);

  const Program& program_;
  bool count_;
  Reporter& report_;
  GlobalMemory& global_;
  SharedMemory& shared_;
  std::vector<Count>& counts_;
  // Of the warp's access in hand.
  uint64_t sectors_[kLanes];
  int sector_count_ = 0;
  uint64_t words_[kLanes];
  int word_count_ = 0;
};

}  // namespace ptx
}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CUDA_PTX_MEMORY_ACCESS_H_
