#include "cc/core/cpu/box_order.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <random>
#include <vector>

namespace tf_roialign {
namespace {

TEST(SortByKey, KeepsTheOrderOfEqualKeys) {
  std::mt19937_64 random(3);
  for (const int bits : {0, 1, 7, 8, 9, 16, 33, 64}) {
    for (const size_t count : {0, 1, 2, 63, 64, 65, 1000}) {
      RawArray<BoxKey> keys(count);
      for (size_t i = 0; i < count; ++i) {
        const uint64_t key = bits == 0 ? 0 : random() >> (64 - bits);
        keys[i] = {key, static_cast<int64_t>(i)};
      }
      std::vector<BoxKey> expected(keys.data(), keys.data() + count);
      std::stable_sort(
          expected.begin(), expected.end(),
          [](const BoxKey& a, const BoxKey& b) { return a.key < b.key; });
      SortByKey(bits, &keys);
      for (size_t i = 0; i < count; ++i) {
        ASSERT_EQ(keys[i].key, expected[i].key) << bits << " bits";
        ASSERT_EQ(keys[i].box, expected[i].box) << bits << " bits";
      }
    }
  }
}

}  // namespace
}  // namespace tf_roialign
