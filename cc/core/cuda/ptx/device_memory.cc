#include "cc/core/cuda/ptx/device_memory.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <string>
#include <utility>

namespace tf_roialign {
namespace ptx {

void DeviceMemory::Add(const void* data, size_t bytes, Contents contents,
                       const std::string& name) {
  if (bytes == 0) return;
  Allocation piece;
  piece.begin = reinterpret_cast<uint64_t>(data);
  piece.bytes = bytes;
  piece.read_only = contents == Contents::kInput;
  piece.name = name;
  if (contents == Contents::kUndefined) piece.undefined.assign(bytes, 1);
  const auto next = pieces_.lower_bound(piece.begin);
  const bool overlaps =
      (next != pieces_.end() && next->first < piece.begin + bytes) ||
      (next != pieces_.begin() && std::prev(next)->second.Has(piece.begin, 1));
  if (overlaps) {
    std::fprintf(stderr, "Device memory overlaps: %s\n", name.c_str());
    std::abort();
  }
  pieces_[piece.begin] = std::move(piece);
  ++version_;
}

void DeviceMemory::Remove(const void* data) {
  if (pieces_.erase(reinterpret_cast<uint64_t>(data)) > 0) ++version_;
}

Allocation* DeviceMemory::Find(uint64_t address) {
  auto next = pieces_.upper_bound(address);
  if (next == pieces_.begin()) return nullptr;
  Allocation& piece = std::prev(next)->second;
  return piece.Has(address, 1) ? &piece : nullptr;
}

std::string DeviceMemory::Describe(uint64_t address) {
  auto next = pieces_.upper_bound(address);
  if (next == pieces_.begin()) return "before all device memory";
  const Allocation& piece = std::prev(next)->second;
  return "byte " + std::to_string(address - piece.begin) + " of " +
         std::to_string(piece.bytes) + " of " + piece.name;
}

int64_t DeviceMemory::UndefinedBytes(const void* data) const {
  const auto found = pieces_.find(reinterpret_cast<uint64_t>(data));
  if (found == pieces_.end()) return 0;
  const auto& undefined = found->second.undefined;
  return std::count(undefined.begin(), undefined.end(), 1);
}

}  // namespace ptx
}  // namespace tf_roialign
