#include "cc/core/cuda/ptx/fat_binary.h"

#include <cstdint>
#include <cstring>
#include <map>
#include <string>

#include "cc/core/cuda/ptx/text.h"

namespace tf_roialign {
namespace ptx {
namespace {

struct Wrapper {
  int magic;
  int version;
  const char* data;
  void* file;
};

constexpr uint32_t kMagic = 0xba55ed50;
constexpr uint16_t kPtx = 1;

// Where the fields of headers lie.
constexpr int kHeaderBytesAt = 6;
constexpr int kAllBytesAt = 8;
constexpr int kKindAt = 0;
constexpr int kEntryHeaderBytesAt = 4;
constexpr int kEntryBytesAt = 8;
constexpr int kCompressedBytesAt = 16;
constexpr int kArchitectureAt = 28;

template <typename T>
T Read(const char* at) {
  T value;
  std::memcpy(&value, at, sizeof(value));
  return value;
}

}  // namespace

std::map<int, std::string> PtxOf(const void* wrapper) {
  std::map<int, std::string> texts;
  const char* at = static_cast<const Wrapper*>(wrapper)->data;
  if (Read<uint32_t>(at) != kMagic) Stop("binary", "without its magic number");
  const char* const end = at + Read<uint16_t>(at + kHeaderBytesAt) +
                          Read<uint64_t>(at + kAllBytesAt);
  at += Read<uint16_t>(at + kHeaderBytesAt);
  while (at < end) {
    const uint32_t header = Read<uint32_t>(at + kEntryHeaderBytesAt);
    const uint64_t bytes = Read<uint64_t>(at + kEntryBytesAt);
    const bool compressed = Read<uint32_t>(at + kCompressedBytesAt) != 0;
    if (Read<uint16_t>(at + kKindAt) == kPtx && !compressed) {
      texts[Read<int32_t>(at + kArchitectureAt)] =
          std::string(at + header, strnlen(at + header, bytes));
    }
    at += header + bytes;
  }
  return texts;
}

}  // namespace ptx
}  // namespace tf_roialign
