// The device's memory: pieces of the host's that are registered with their
// exact size.

#ifndef TF_ROIALIGN_CC_CORE_CUDA_PTX_DEVICE_MEMORY_H_
#define TF_ROIALIGN_CC_CORE_CUDA_PTX_DEVICE_MEMORY_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace tf_roialign {
namespace ptx {

enum class Contents { kInput, kUndefined, kDefined };

struct Allocation {
  uint64_t begin = 0;
  uint64_t bytes = 0;
  bool read_only = false;
  std::string name;
  std::vector<uint8_t> undefined;  // of each byte; empty: all are defined

  // Which thread of the launch in hand touched a granule: its number + 1, or
  // kSeveral. Empty as long as none did.
  static constexpr uint32_t kSeveral = 0xffffffffu;
  std::vector<uint32_t> writer, reader;
  uint64_t launch = 0;

  bool Has(uint64_t address, int size) const {
    return address >= begin && address + size <= begin + bytes;
  }
};

class DeviceMemory {
 public:
  // Ends the program where two pieces overlap.
  void Add(const void* data, size_t bytes, Contents contents,
           const std::string& name);
  void Remove(const void* data);

  // The piece that an address is in; null if there is none. Stays valid until
  // `version` changes.
  Allocation* Find(uint64_t address);
  // "of 64 bytes of features", for an address in no piece too.
  std::string Describe(uint64_t address);

  uint64_t version() const { return version_; }

  // How many bytes of the piece that begins there nobody wrote.
  int64_t UndefinedBytes(const void* data) const;

 private:
  std::map<uint64_t, Allocation> pieces_;  // by where they begin
  uint64_t version_ = 1;
};

}  // namespace ptx
}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CUDA_PTX_DEVICE_MEMORY_H_
