// The shared memory of the block in hand, and who touched it since the last
// barrier.

#ifndef TF_ROIALIGN_CC_CORE_CUDA_PTX_SHARED_MEMORY_H_
#define TF_ROIALIGN_CC_CORE_CUDA_PTX_SHARED_MEMORY_H_

#include <cstdint>
#include <vector>

namespace tf_roialign {
namespace ptx {

class SharedMemory {
 public:
  // `granule`: of the smallest access.
  SharedMemory(int bytes, int granule);

  // A block begins: all is rubbish.
  void Restart();
  // All threads of the block have met.
  void Barrier() { ++epoch_; }
  // All lanes of a warp have met.
  void WarpBarrier(int warp) { ++warp_epoch_[warp]; }

  bool Has(uint64_t at, int size) const { return at + size <= data_.size(); }
  unsigned char* data(uint64_t at) { return &data_[at]; }
  uint8_t* undefined(uint64_t at) { return &undefined_[at]; }

  // A thread's access. Returns the other one that it races with, kNobody, or
  // kSeveral.
  int Read(int thread, uint64_t at, int size);
  int Write(int thread, uint64_t at, int size);

  static constexpr int kNobody = -1;
  static constexpr int kSeveral = -2;

 private:
  // Who: a thread, or several threads, if of one warp then of which.
  static constexpr uint16_t kSeveralOfWarp = 0x8000;
  static constexpr uint16_t kSeveralOfBlock = 0xffff;

  // A cell is of the last access of each kind; old ones are of other epochs.
  struct Access {
    uint32_t epoch = 0;
    uint32_t warp_epoch = 0;
    uint16_t who = 0;
  };
  struct Cell {
    Access write, read;
  };

  static int WarpOf(uint16_t who);
  // Whether an access could be at the same time as one of `thread` now.
  bool Races(const Access& access, int thread) const;
  static int Name(uint16_t who);
  void Note(Access* access, int thread) const;

  std::vector<unsigned char> data_;
  std::vector<uint8_t> undefined_;
  std::vector<Cell> cells_;
  int granule_log2_ = 0;
  uint32_t epoch_ = 1;
  std::vector<uint32_t> warp_epoch_;
};

}  // namespace ptx
}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CUDA_PTX_SHARED_MEMORY_H_
