#include "cc/core/cuda/ptx/shared_memory.h"

#include <algorithm>

namespace tf_roialign {
namespace ptx {

namespace {
constexpr int kWarpLog2 = 5;
constexpr int kMostWarps = 32;
constexpr unsigned char kRubbish = 0xcd;
}  // namespace

SharedMemory::SharedMemory(int bytes, int granule)
    : data_(bytes), undefined_(bytes), warp_epoch_(kMostWarps, 1) {
  while ((2 << granule_log2_) <= granule) ++granule_log2_;
  cells_.resize((bytes >> granule_log2_) + 1);
}

void SharedMemory::Restart() {
  std::fill(data_.begin(), data_.end(), kRubbish);
  std::fill(undefined_.begin(), undefined_.end(), 1);
  Barrier();
}

int SharedMemory::WarpOf(uint16_t who) {
  return (who & ~kSeveralOfWarp) >> kWarpLog2;
}

bool SharedMemory::Races(const Access& access, int thread) const {
  if (access.epoch != epoch_ || access.who == thread) return false;
  if (access.who == kSeveralOfBlock) return true;
  const int warp = thread >> kWarpLog2;
  return WarpOf(access.who) != warp || access.warp_epoch == warp_epoch_[warp];
}

int SharedMemory::Name(uint16_t who) {
  return who & kSeveralOfWarp ? kSeveral : who;
}

void SharedMemory::Note(Access* access, int thread) const {
  const int warp = thread >> kWarpLog2;
  if (access->epoch == epoch_ && access->who != thread) {
    const bool same_warp =
        access->who != kSeveralOfBlock && WarpOf(access->who) == warp;
    // What its own warp did before it met does not matter any more.
    if (!same_warp) {
      access->who = kSeveralOfBlock;
    } else if (access->warp_epoch == warp_epoch_[warp]) {
      access->who = static_cast<uint16_t>(kSeveralOfWarp | warp << kWarpLog2);
    } else {
      access->who = static_cast<uint16_t>(thread);
    }
  } else {
    access->who = static_cast<uint16_t>(thread);
  }
  access->epoch = epoch_;
  access->warp_epoch = warp_epoch_[warp];
}

int SharedMemory::Read(int thread, uint64_t at, int size) {
  int other = kNobody;
  const uint64_t end = (at + size - 1) >> granule_log2_;
  for (uint64_t i = at >> granule_log2_; i <= end; ++i) {
    Cell& cell = cells_[i];
    if (Races(cell.write, thread)) other = Name(cell.write.who);
    Note(&cell.read, thread);
  }
  return other;
}

int SharedMemory::Write(int thread, uint64_t at, int size) {
  int other = kNobody;
  const uint64_t end = (at + size - 1) >> granule_log2_;
  for (uint64_t i = at >> granule_log2_; i <= end; ++i) {
    Cell& cell = cells_[i];
    if (Races(cell.write, thread)) other = Name(cell.write.who);
    if (Races(cell.read, thread)) other = Name(cell.read.who);
    Note(&cell.write, thread);
  }
  return other;
}

}  // namespace ptx
}  // namespace tf_roialign
