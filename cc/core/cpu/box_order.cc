#include "cc/core/cpu/box_order.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "cc/core/cpu/tuning.h"

namespace tf_roialign {
namespace {

constexpr int kDigitBits = 8;
constexpr size_t kDigits = size_t(1) << kDigitBits;

size_t Digit(const BoxKey& key, int shift) {
  return key.key >> shift & (kDigits - 1);
}

// One digit; what has the same one stays in its order.
void SortByDigit(int shift, size_t count, const BoxKey* from, BoxKey* to) {
  size_t place[kDigits] = {};
  for (size_t i = 0; i < count; ++i) ++place[Digit(from[i], shift)];
  size_t sum = 0;
  for (size_t& each : place) {
    const size_t of_digit = each;
    each = sum;
    sum += of_digit;
  }
  for (size_t i = 0; i < count; ++i)
    to[place[Digit(from[i], shift)]++] = from[i];
}

}  // namespace

void SortByKey(int bits, RawArray<BoxKey>* keys) {
  const size_t count = keys->size();
  if (count < kRadixBoxes) {
    std::sort(keys->data(), keys->data() + count,
              [](const BoxKey& a, const BoxKey& b) {
                return a.key != b.key ? a.key < b.key : a.box < b.box;
              });
    return;
  }
  RawArray<BoxKey> scratch(count);
  BoxKey* from = keys->data();
  BoxKey* to = scratch.data();
  for (int shift = 0; shift < bits; shift += kDigitBits) {
    SortByDigit(shift, count, from, to);
    std::swap(from, to);
  }
  if (from != keys->data()) std::copy_n(from, count, keys->data());
}

}  // namespace tf_roialign
