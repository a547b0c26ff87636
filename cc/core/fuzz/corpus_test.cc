// The inputs that the fuzzer has found, one after the other, and those that
// once showed a fault.

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "cc/core/fuzz/check_call.h"
#include "gtest/gtest.h"

namespace tf_roialign {
namespace {

int Replay(const std::string& folder) {
  int count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    std::ifstream file(entry.path(), std::ios::binary);
    const std::vector<char> bytes((std::istreambuf_iterator<char>(file)), {});
    EXPECT_EQ(CheckCallOf(reinterpret_cast<const uint8_t*>(bytes.data()),
                          bytes.size(), Levels::kAll),
              "")
        << entry.path();
    ++count;
  }
  return count;
}

TEST(Corpus, ShowsNoFault) {
  EXPECT_GT(Replay("cc/core/fuzz/corpus"), 100);
  std::cout << CallsSoFar() << "\n";
}

TEST(Faults, AreNoMore) { EXPECT_GT(Replay("cc/core/fuzz/faults"), 0); }

}  // namespace
}  // namespace tf_roialign
