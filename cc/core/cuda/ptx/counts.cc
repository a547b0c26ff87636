#include "cc/core/cuda/ptx/counts.h"

#include <algorithm>
#include <cstdint>

namespace tf_roialign {
namespace ptx {

namespace {
constexpr int kSectorBytes = 32;
constexpr int kBanks = 32;
constexpr int kBankBytes = 4;
constexpr int kMostWords = 32 * 4;
}  // namespace

int SectorsOf(uint64_t* addresses, int count) {
  for (int i = 0; i < count; ++i) addresses[i] /= kSectorBytes;
  std::sort(addresses, addresses + count);
  return static_cast<int>(std::unique(addresses, addresses + count) -
                          addresses);
}

int WavesOf(const uint64_t* addresses, int count, int size) {
  // Wide accesses are served for a half or a quarter of the warp at a time.
  const int words = std::max(1, size / kBankBytes);
  const int together = 32 / words;
  int waves = 0;
  for (int begin = 0; begin < count; begin += together) {
    uint64_t touched[kMostWords];
    int n = 0;
    for (int i = begin; i < std::min(count, begin + together); ++i) {
      for (int w = 0; w < words; ++w) {
        touched[n++] = addresses[i] / kBankBytes + w;
      }
    }
    // Lanes that want the same word share it.
    std::sort(touched, touched + n);
    n = static_cast<int>(std::unique(touched, touched + n) - touched);
    int of_bank[kBanks] = {};
    int most = 0;
    for (int i = 0; i < n; ++i) {
      most = std::max(most, ++of_bank[touched[i] % kBanks]);
    }
    waves += most;
  }
  return waves;
}

}  // namespace ptx
}  // namespace tf_roialign
