#include "cc/kernels/device_test/device_arena.h"

#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "cc/core/cuda/ptx/device.h"

namespace tf_roialign {
namespace {

// Address space: pages that are not touched cost nothing.
constexpr size_t kBytes = size_t(1) << 28;
// TensorFlow's GPU allocator has it, too; a gap of as much lies between pieces.
constexpr size_t kAlignment = 256;

void Require(bool condition, const char* what) {
  if (condition) return;
  std::perror(what);
  std::abort();
}

}  // namespace

DeviceArena::DeviceArena() : memory_(ptx::TheDevice().memory()) {
  void* const memory = mmap(nullptr, kBytes, PROT_NONE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  Require(memory != MAP_FAILED, "mmap");
  begin_ = static_cast<char*>(memory);
}

DeviceArena::~DeviceArena() {
  for (const auto& [data, bytes] : bytes_) memory_.Remove(data);
  munmap(begin_, kBytes);
}

void* DeviceArena::Allocate(size_t bytes) {
  const size_t all = (bytes / kAlignment + 2) * kAlignment;
  if (all > kBytes - used_) return nullptr;
  void* const data = begin_ + used_;
  used_ += all;
  memory_.Add(data, bytes, ptx::Contents::kUndefined,
              "memory that was allocated");
  bytes_[data] = bytes;
  return data;
}

void DeviceArena::Free(void* data) {
  const auto piece = bytes_.find(data);
  Require(piece != bytes_.end(), "DeviceArena::Free");
  std::memset(data, 0xcd, piece->second);
  memory_.Remove(data);
  bytes_.erase(piece);
}

void DeviceArena::MakeInput(void* data, const void* values, const char* name) {
  const size_t bytes = bytes_.at(data);
  std::memcpy(data, values, bytes);
  memory_.Remove(data);
  memory_.Add(data, bytes, ptx::Contents::kInput, name);
}

void DeviceArena::SetOpen(bool open) {
  Require(
      mprotect(begin_, kBytes, open ? PROT_READ | PROT_WRITE : PROT_NONE) == 0,
      "mprotect");
}

}  // namespace tf_roialign
