#include "cc/core/call/level_rule.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

namespace tf_roialign {
namespace {

double LevelOfMap(const Scale& scale) {
  return std::floor(0.5 - (std::log2(scale.y) + std::log2(scale.x)) / 2);
}

// In B, operation by operation as torchvision has them.
template <typename B>
B LevelOfArea(B area, double canonical_scale, int64_t canonical_level) {
  const B size = std::sqrt(area) / static_cast<B>(canonical_scale);
  return std::floor(static_cast<B>(canonical_level) + std::log2(size) +
                    static_cast<B>(1e-6));
}

// Numbers >= 0 are in the order of their bits.
template <typename B>
using BitsOf =
    std::conditional_t<sizeof(B) == sizeof(float), uint32_t, uint64_t>;

template <typename B>
BitsOf<B> ToBits(B value) {
  BitsOf<B> bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits;
}

template <typename B>
B FromBits(BitsOf<B> bits) {
  B value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

// The smallest area of a box of `level` or above. Infinity has every level.
template <typename B>
B LeastArea(double level, double canonical_scale, int64_t canonical_level) {
  BitsOf<B> low = 1;  // of the smallest number greater than 0
  BitsOf<B> high = ToBits(std::numeric_limits<B>::infinity());
  while (low < high) {
    const BitsOf<B> middle = low + (high - low) / 2;
    if (double(LevelOfArea(FromBits<B>(middle), canonical_scale,
                           canonical_level)) >= level) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return FromBits<B>(low);
}

}  // namespace

template <typename B>
LevelRule MakeLevelRule(double canonical_scale, int64_t canonical_level,
                        const Scale* scales, int maps) {
  int order[kMaxMaps];
  double levels[kMaxMaps];
  for (int i = 0; i < maps; ++i) {
    order[i] = i;
    levels[i] = LevelOfMap(scales[i]);
  }
  std::stable_sort(order, order + maps,
                   [&](int a, int b) { return levels[a] < levels[b]; });

  LevelRule rule = {};
  rule.lowest_map = static_cast<int8_t>(order[0]);
  std::fill_n(rule.least_area, kMaxMaps - 1,
              std::numeric_limits<double>::quiet_NaN());
  int bounds = 0;
  for (int i = 1; i < maps; ++i) {
    const double level = levels[order[i]];
    if (level == levels[order[i - 1]]) continue;
    rule.least_area[bounds] =
        LeastArea<B>(level, canonical_scale, canonical_level);
    rule.map[bounds++] = static_cast<int8_t>(order[i]);
  }
  return rule;
}

template LevelRule MakeLevelRule<float>(double, int64_t, const Scale*, int);
template LevelRule MakeLevelRule<double>(double, int64_t, const Scale*, int);

}  // namespace tf_roialign
