// The state of a warp: registers and memory of its lanes, and where they are.

#ifndef TF_ROIALIGN_CC_CORE_CUDA_PTX_WARP_H_
#define TF_ROIALIGN_CC_CORE_CUDA_PTX_WARP_H_

#include <cstdint>
#include <vector>

#include "cc/core/cuda/ptx/lanes.h"
#include "cc/core/cuda/ptx/program.h"

namespace tf_roialign {
namespace ptx {

// What one function has of a warp. There is no recursion, so one is enough.
struct Frame {
  const Function* function = nullptr;
  std::vector<uint64_t> registers;
  // Of each register, the lanes whose value nobody computed.
  std::vector<uint32_t> undefined;
  // Parameter memory, lane by lane.
  std::vector<unsigned char> parameters;
  std::vector<uint8_t> undefined_parameters;

  explicit Frame(const Function& f)
      : function(&f),
        registers(f.register_bytes / 8, 0xcdcdcdcdcdcdcdcdu),
        undefined(f.registers, kAllLanes),
        parameters(size_t(kLanes) * f.parameter_bytes, 0xcd),
        undefined_parameters(parameters.size(), 1) {}

  unsigned char* bytes() {
    return reinterpret_cast<unsigned char*>(registers.data());
  }
  void SetUndefined(const Register& r, uint32_t mask, uint32_t lanes) {
    undefined[r.index] = (undefined[r.index] & ~mask) | (lanes & mask);
  }
  void Set(const Register& r, int lane, uint64_t value) {
    WriteLane(bytes(), r, lane, value);
    undefined[r.index] &= ~(1u << lane);
  }
};

// Lanes at one place of the program.
struct Group {
  int pc;
  uint32_t mask;
};

// Groups by their program counters, the lowest first.
class Groups {
 public:
  // Joins the group that is there already.
  void Add(int pc, uint32_t mask) {
    if (mask == 0) return;
    size_t i = 0;
    while (i < groups_.size() && groups_[i].pc < pc) ++i;
    if (i < groups_.size() && groups_[i].pc == pc) {
      groups_[i].mask |= mask;
    } else {
      groups_.insert(groups_.begin() + i, Group{pc, mask});
    }
  }
  Group TakeFirst() {
    const Group first = groups_.front();
    groups_.erase(groups_.begin());
    return first;
  }
  void Remove(int pc) {
    for (size_t i = 0; i < groups_.size(); ++i) {
      if (groups_[i].pc != pc) continue;
      groups_.erase(groups_.begin() + i);
      return;
    }
  }
  uint32_t MaskAt(int pc) const {
    for (const Group& group : groups_) {
      if (group.pc == pc) return group.mask;
    }
    return 0;
  }
  uint32_t Lanes() const {
    uint32_t mask = 0;
    for (const Group& group : groups_) mask |= group.mask;
    return mask;
  }
  bool empty() const { return groups_.empty(); }
  size_t size() const { return groups_.size(); }
  const Group& first() const { return groups_.front(); }
  void clear() { groups_.clear(); }
  std::vector<Group>::const_iterator begin() const { return groups_.begin(); }
  std::vector<Group>::const_iterator end() const { return groups_.end(); }

 private:
  std::vector<Group> groups_;
};

struct Warp {
  int index = 0;
  uint32_t all = 0;           // lanes that it began with
  uint32_t live = 0;          // those that have not ended
  std::vector<int> frame_of;  // of each function of the program; -1: none
  std::vector<Frame> frames;
  // Local memory, lane by lane.
  std::vector<unsigned char> local;
  std::vector<uint8_t> undefined_local;
  // Lanes that can go on, that wait for the block, and for lanes of the warp.
  Groups ready, at_barrier, at_meeting;
};

}  // namespace ptx
}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CUDA_PTX_WARP_H_
