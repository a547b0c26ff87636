// Device memory of the interpreter that the host cannot touch, unless it is
// open.

#ifndef TF_ROIALIGN_CC_KERNELS_DEVICE_TEST_DEVICE_ARENA_H_
#define TF_ROIALIGN_CC_KERNELS_DEVICE_TEST_DEVICE_ARENA_H_

#include <cstddef>
#include <map>

#include "cc/core/cuda/ptx/device_memory.h"

namespace tf_roialign {

class DeviceArena {
 public:
  DeviceArena();
  ~DeviceArena();
  DeviceArena(const DeviceArena&) = delete;
  DeviceArena& operator=(const DeviceArena&) = delete;

  // Memory of which nothing is defined yet, known to the interpreter by its
  // exact size. Null: there is no more.
  void* Allocate(size_t bytes);
  // Nobody gets it again. Open.
  void Free(void* data);

  // The host fills it, and kernels may only read it from now on. Open.
  void MakeInput(void* data, const void* values, const char* name);

  // Whether the host may read and write: else that ends the program.
  void SetOpen(bool open);

  // Pieces that were not freed.
  size_t pieces() const { return bytes_.size(); }

 private:
  ptx::DeviceMemory& memory_;
  char* begin_;
  size_t used_ = 0;
  std::map<void*, size_t> bytes_;  // of each piece
};

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_KERNELS_DEVICE_TEST_DEVICE_ARENA_H_
