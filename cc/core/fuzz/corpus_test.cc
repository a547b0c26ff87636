// The inputs that the fuzzer has found, one after the other, and those that
// once showed a fault: a line each, in hexadecimal.

#include <cstdint>
#include <fstream>
#include <iostream>
#include <string>
#include <vector>

#include "cc/core/fuzz/check_call.h"
#include "gtest/gtest.h"

namespace tf_roialign {
namespace {

int Replay(const char* name) {
  int count = 0;
  std::ifstream file(name);
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || line[0] == '#') continue;
    std::vector<uint8_t> bytes;
    for (size_t i = 0; i + 1 < line.size(); i += 2) {
      bytes.push_back(uint8_t(std::stoi(line.substr(i, 2), nullptr, 16)));
    }
    EXPECT_EQ(CheckCallOf(bytes.data(), bytes.size(), Levels::kAll), "")
        << line;
    ++count;
  }
  return count;
}

TEST(Corpus, ShowsNoFault) {
  EXPECT_GT(Replay("cc/core/fuzz/corpus.txt"), 1000);
  std::cout << CallsSoFar() << "\n";
}

TEST(Faults, AreNoMore) { EXPECT_GT(Replay("cc/core/fuzz/faults.txt"), 0); }

}  // namespace
}  // namespace tf_roialign
