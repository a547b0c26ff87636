#include "cc/core/cpu/box_table.h"

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "cc/core/dtypes/dtypes.h"
#include "cc/core/testing/expect.h"
#include "gtest/gtest.h"

namespace tf_roialign {
namespace {

template <typename B>
Boxes<B> Indexed(const std::vector<B>& rows) {
  return {BoxForm::kIndexed, rows.data(), 5,
          static_cast<int64_t>(rows.size()) / 5};
}

template <typename B>
std::vector<int64_t> Images(const BoxTable<B>& table) {
  std::vector<int64_t> images;
  for (int64_t k = 0; k < table.count(); ++k) images.push_back(table.image(k));
  return images;
}

template <typename B>
void ExpectBadIndex(B index, const std::string& shown) {
  BoxTable<B> table;
  ExpectInvalidArgument(
      table.Init(Indexed<B>({0, 1, 1, 1, 1, index, 1, 1, 1, 1}), 2, 1),
      "`boxes[1, 0]`, an image index, must be in [0, 2), got " + shown);
}

template <typename B>
void ExpectIndexedBoxes() {
  BoxTable<B> table;
  const std::vector<B> rows = {0, 1, 2, 3, 4, B(1.9), 5, 6,
                               7, 8, 1, 0, 0, 0,      0};
  ExpectOk(table.Init(Indexed(rows), 2, 1));
  EXPECT_EQ(table.columns(), 5);
  EXPECT_EQ(Images(table), (std::vector<int64_t>{0, 1, 1}));
  EXPECT_EQ(table.coordinates(1), rows.data() + 6);
  EXPECT_EQ(table.map(1), 0);

  constexpr B kInfinity = std::numeric_limits<B>::infinity();
  ExpectBadIndex<B>(-1, "-1");
  ExpectBadIndex<B>(B(-0.5), "-0.5");
  ExpectBadIndex<B>(2, "2");
  ExpectBadIndex<B>(B(1e30), "1e+30");
  ExpectBadIndex<B>(NAN, "nan");
  ExpectBadIndex<B>(kInfinity, "inf");
  ExpectBadIndex<B>(-kInfinity, "-inf");
}

TEST(BoxTable, ReadsAndChecksIndicesInRows) {
#define TF_ROIALIGN_EXPECT(B) ExpectIndexedBoxes<B>();
  TF_ROIALIGN_FOR_EACH_BOX_TYPE(TF_ROIALIGN_EXPECT)
#undef TF_ROIALIGN_EXPECT
}

// As few digits as tell it from its neighbours.
TEST(BoxTable, ShowsDigitsThatMatter) {
  ExpectBadIndex<double>(1e300, "1e+300");
  ExpectBadIndex<double>(-1e-9, "-1e-09");
  ExpectBadIndex<double>(-1.0 / 3, "-0.33333333333333331");
  ExpectBadIndex<double>(2.0000000000000004, "2.0000000000000004");
  ExpectBadIndex<float>(-1e-9f, "-1e-09");
  ExpectBadIndex<float>(-1.f / 3, "-0.333333343");
  ExpectBadIndex<float>(2.00000024f, "2.00000024");
  ExpectBadIndex<float>(16777216, "16777216");
}

template <typename Index>
Status InitSeparate(const std::vector<Index>& indices, int64_t batch,
                    BoxTable<float>* table) {
  static const std::vector<float> rows(40);
  Boxes<float> boxes = {BoxForm::kSeparate, rows.data(), 4,
                        static_cast<int64_t>(indices.size())};
  boxes.box_indices = indices.data();
  boxes.indices_are_64_bit = sizeof(Index) == 8;
  return table->Init(boxes, batch, 1);
}

template <typename Index>
void ExpectSeparateIndices() {
  BoxTable<float> table;
  ExpectOk(InitSeparate<Index>({1, 0, 2}, 3, &table));
  EXPECT_EQ(Images(table), (std::vector<int64_t>{1, 0, 2}));
  const std::string rule = "`box_indices[2]`, an image index, must be in ";
  ExpectInvalidArgument(InitSeparate<Index>({1, 0, 2}, 2, &table),
                        rule + "[0, 2), got 2");
  ExpectInvalidArgument(InitSeparate<Index>({1, 0, -1, 7}, 2, &table),
                        rule + "[0, 2), got -1");
  const Index most = std::numeric_limits<Index>::max();
  ExpectInvalidArgument(InitSeparate<Index>({1, 0, most}, 2, &table),
                        rule + "[0, 2), got " + std::to_string(most));
}

TEST(BoxTable, ReadsAndChecksSeparateIndices) {
  ExpectSeparateIndices<int32_t>();
  ExpectSeparateIndices<int64_t>();
}

TEST(BoxTable, SpreadsDenseBoxesOverImages) {
  const std::vector<float> rows(24);
  BoxTable<float> table;
  ExpectOk(table.Init({BoxForm::kDense, rows.data(), 4, 6}, 2, 1));
  EXPECT_EQ(Images(table), (std::vector<int64_t>{0, 0, 0, 1, 1, 1}));
  EXPECT_EQ(table.coordinates(5), rows.data() + 20);
}

TEST(BoxTable, MayBeEmpty) {
  BoxTable<float> table;
  ExpectOk(table.Init({BoxForm::kDense, nullptr, 4, 0}, 0, 1));
  ExpectOk(table.Init({BoxForm::kIndexed, nullptr, 5, 0}, 0, 1));
  ExpectOk(table.Init({BoxForm::kSeparate, nullptr, 4, 0}, 0, 1));
  ExpectOk(table.Init({BoxForm::kIndexed, nullptr, 5, 0}, 0, 0));
  EXPECT_EQ(table.count(), 0);
}

TEST(BoxTable, ChecksMaps) {
  const std::vector<float> rows(15);
  const auto init = [&](const std::vector<int32_t>& maps, int count) {
    BoxTable<float> table;
    Boxes<float> boxes = Indexed(rows);
    if (!maps.empty()) boxes.map_indices = maps.data();
    return table.Init(boxes, 1, count);
  };
  ExpectOk(init({2, 0, 1}, 3));
  ExpectInvalidArgument(
      init({2, 0, 1}, 2),
      "`levels[0]`, the index of a map, must be in [0, 2), got 2");
  ExpectInvalidArgument(
      init({1, 0, -1}, 2),
      "`levels[2]`, the index of a map, must be in [0, 2), got -1");
  ExpectOk(init({}, 1));
  // All boxes read the first map, of which there is none.
  ExpectInvalidArgument(
      init({}, 0), "`levels[0]`, the index of a map, must be in [0, 0), got 0");
}

}  // namespace
}  // namespace tf_roialign
