// Loops over the lanes of a warp.

#ifndef TF_ROIALIGN_CC_CORE_CUDA_PTX_LANES_H_
#define TF_ROIALIGN_CC_CORE_CUDA_PTX_LANES_H_

#include <cstdint>
#include <cstring>

#include "cc/core/cuda/ptx/program.h"

namespace tf_roialign {
namespace ptx {

template <typename T>
T* Lanes(unsigned char* registers, const Register& r) {
  return reinterpret_cast<T*>(registers + r.at);
}

// to[lane] = value(lane) in the lanes of `mask`. All lanes are computed, for
// vector instructions' sake: `value` must bear rubbish.
template <typename T, typename Value>
inline void StoreLanes(T* to, uint32_t mask, const Value& value) {
  if (mask == kAllLanes) {
#pragma GCC ivdep
    for (int i = 0; i < kLanes; ++i) to[i] = value(i);
    return;
  }
  T all[kLanes];
#pragma GCC ivdep
  for (int i = 0; i < kLanes; ++i) all[i] = value(i);
#pragma GCC ivdep
  for (int i = 0; i < kLanes; ++i) to[i] = (mask >> i & 1) ? all[i] : to[i];
}

// Bit i: predicate of lane i, which is a byte of 0 or 1.
inline uint32_t MaskOf(const unsigned char* predicates) {
  uint32_t mask = 0;
  for (int i = 0; i < kLanes; i += 8) {
    uint64_t bytes;
    std::memcpy(&bytes, predicates + i, 8);
    // Gathers bit 0 of each byte in the highest one.
    mask |= static_cast<uint32_t>(
                (bytes & 0x0101010101010101u) * 0x0102040810204080u >> 56)
            << i;
  }
  return mask;
}

inline bool HasLane(uint32_t mask, int lane) { return mask >> lane & 1; }

// Of 1, 2, 4 or 8 bytes; upper bytes of the result are 0. A copy of a length
// that the compiler does not know is a call.
inline uint64_t ReadBytes(const void* from, int bytes) {
  const auto read = [from](auto value) {
    std::memcpy(&value, from, sizeof(value));
    return static_cast<uint64_t>(value);
  };
  switch (bytes) {
    case 1:
      return read(uint8_t());
    case 2:
      return read(uint16_t());
    case 4:
      return read(uint32_t());
    default:
      return read(uint64_t());
  }
}

inline void WriteBytes(void* to, int bytes, uint64_t value) {
  switch (bytes) {
    case 1:
      std::memcpy(to, &value, 1);
      break;
    case 2:
      std::memcpy(to, &value, 2);
      break;
    case 4:
      std::memcpy(to, &value, 4);
      break;
    default:
      std::memcpy(to, &value, 8);
      break;
  }
}

// A lane's value, whatever the width of the register.
inline uint64_t ReadLane(const unsigned char* registers, const Register& r,
                         int lane) {
  return ReadBytes(registers + r.at + lane * r.bytes, r.bytes);
}

inline void WriteLane(unsigned char* registers, const Register& r, int lane,
                      uint64_t value) {
  WriteBytes(registers + r.at + lane * r.bytes, r.bytes, value);
}

}  // namespace ptx
}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CUDA_PTX_LANES_H_
