#include "cc/core/call/level_rule.h"

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "gtest/gtest.h"

namespace tf_roialign {
namespace {

const std::vector<Scale> kScales = {
    {1.0 / 4, 1.0 / 4}, {1.0 / 8, 1.0 / 8}, {1.0 / 16, 1.0 / 16}};

template <typename B>
LevelRule Rule(const std::vector<Scale>& scales) {
  return MakeLevelRule<B>(224, 4, scales.data(), int(scales.size()));
}

// From a number to the next.
template <typename B>
double UnitOf(double value) {
  const B number = static_cast<B>(value);
  return double(std::nextafter(number, std::numeric_limits<B>::infinity())) -
         double(number);
}

// Areas around every bound, to the last bit.
template <typename B>
void ExpectFormula() {
  const LevelRule rule = Rule<B>(kScales);
  std::mt19937 random(1);
  std::uniform_real_distribution<double> exponent(-2, 22);
  std::vector<B> areas;
  for (int i = 0; i < 10000; ++i) {
    areas.push_back(static_cast<B>(std::exp2(exponent(random))));
  }
  for (const double side : {56, 112, 224, 448}) {
    // Where a level begins: 1e-6 of a level below its own side.
    const double bound = side * side * std::exp2(-2e-6);
    for (const double begin : {bound - 100 * UnitOf<B>(bound), bound * 0.999997,
                               bound * 1.0000005}) {
      B area = static_cast<B>(begin);
      for (int i = 0; i < 200; ++i) {
        areas.push_back(area);
        area = std::nextafter(area, std::numeric_limits<B>::infinity());
      }
    }
  }
  for (const B area : areas) {
    const B level = std::floor(B(4) + std::log2(std::sqrt(area) / B(224)) +
                               static_cast<B>(1e-6));
    EXPECT_EQ(rule.MapOfArea(area), level < 3 ? 0 : level < 4 ? 1 : 2) << area;
  }
}

TEST(LevelRule, IsTheFormulaOfFloat) { ExpectFormula<float>(); }
TEST(LevelRule, IsTheFormulaOfDouble) { ExpectFormula<double>(); }

TEST(LevelRule, OfBoxesWithoutAnArea) {
  const LevelRule rule = Rule<float>(kScales);
  const float infinity = std::numeric_limits<float>::infinity();
  for (const float area : {0.0f, -0.0f, -1e9f, -infinity, std::nanf("")}) {
    EXPECT_EQ(rule.MapOfArea(area), 0);
  }
  EXPECT_EQ(rule.MapOfArea(infinity), 2);
}

TEST(LevelRule, TakesMapsInAnyOrderAndWithGaps) {
  const LevelRule rule = Rule<double>(
      {{1.0 / 16, 1.0 / 16}, {1.0 / 4, 1.0 / 4}, {1.0 / 4, 1.0 / 4}});
  EXPECT_EQ(rule.MapOfArea(10.0 * 10), 1);
  EXPECT_EQ(rule.MapOfArea(112.0 * 112), 1);  // of a level that is not there
  EXPECT_EQ(rule.MapOfArea(224.0 * 224), 0);
  EXPECT_EQ(rule.MapOfArea(9000.0 * 9000), 0);
}

TEST(LevelRule, RoundsTheLevelOfAScale) {
  const LevelRule rule = Rule<double>({{0.26, 0.24}, {0.13, 0.12}});
  EXPECT_EQ(rule.MapOfArea(111.0 * 111), 0);
  EXPECT_EQ(rule.MapOfArea(112.0 * 112), 1);
}

TEST(LevelRule, OfOneMap) {
  const LevelRule rule = Rule<double>({{0.25, 0.25}});
  EXPECT_EQ(rule.MapOfArea(1e12), 0);
}

}  // namespace
}  // namespace tf_roialign
