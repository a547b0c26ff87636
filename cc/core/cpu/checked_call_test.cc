#include "cc/core/cpu/checked_call.h"

#include <cmath>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "cc/core/testing/cpu_call.h"
#include "cc/core/testing/expect.h"
#include "gtest/gtest.h"

namespace tf_roialign {
namespace {

const std::vector<MapSize> kMaps = {{9, 13, 0.5, 0.45}, {5, 7, 0.3, 0.3}};

template <typename T>
Call<T, double> CallOnMaps(Layout layout) {
  Call<T, double> call =
      RandomCall<T, double>(4, {{3, 4}, 2, true, layout}, {2, 6, 10}, kMaps);
  for (int64_t k = 0; k < 10; ++k) {
    call.map_indices.push_back(static_cast<int32_t>(k % 2));
  }
  return call;
}

// check(name, status) of all functions on calls that change(&call) changed, in
// both layouts.
template <typename Change, typename Check>
void ForEachStatus(const Change& change, const Check& check) {
  for (const Layout layout : {Layout::kNHWC, Layout::kNCHW}) {
    auto call = CallOnMaps<float>(layout);
    auto codes = CallOnMaps<int8_t>(layout);
    change(&call);
    change(&codes);
    ForEachFunction(call, codes, [&](const char* name, const auto& run) {
      SCOPED_TRACE(name);
      check(name, run(Serial));
    });
  }
}

template <typename Change>
void ExpectOkOf(const Change& change) {
  ForEachStatus(change,
                [](const char*, const Status& status) { ExpectOk(status); });
}

template <typename Change>
void ExpectInvalidArgumentOf(const std::string& text, const Change& change) {
  ForEachStatus(change, [&](const char*, const Status& status) {
    ExpectInvalidArgument(status, text);
  });
}

TEST(CheckedCall, TakesWhatIsRight) {
  ExpectOkOf([](auto*) {});
}

TEST(CheckedCall, NamesABadImageIndex) {
  const std::string rule =
      "`boxes[3, 0]`, an image index, must be in [0, 2), got ";
  const auto with = [](double index) {
    return [index](auto* call) { call->rows[3 * 5] = index; };
  };
  ExpectInvalidArgumentOf(rule + "2", with(2));
  ExpectInvalidArgumentOf(rule + "-1", with(-1));
  ExpectInvalidArgumentOf(rule + "nan", with(NAN));
  ExpectInvalidArgumentOf(rule + "inf", with(INFINITY));
  ExpectInvalidArgumentOf(rule + "1e+300", with(1e300));
  ExpectInvalidArgumentOf(rule + "2.0000000000000004",
                          with(2.0000000000000004));
}

TEST(CheckedCall, NamesABadMapIndex) {
  const auto with = [](int32_t index) {
    return [index](auto* call) { call->map_indices[7] = index; };
  };
  ExpectInvalidArgumentOf(
      "`levels[7]`, the index of a map, must be in [0, 2), got 2", with(2));
  ExpectInvalidArgumentOf(
      "`levels[7]`, the index of a map, must be in [0, 2), got -1", with(-1));
}

// The first of both kinds is told.
TEST(CheckedCall, NamesTheFirstBadBox) {
  ExpectInvalidArgumentOf(
      "`boxes[5, 0]`, an image index, must be in [0, 2), got 9",
      [](auto* call) {
        call->rows[5 * 5] = 9;
        call->rows[6 * 5] = 8;
        call->map_indices[7] = 2;
      });
}

TEST(CheckedCall, RefusesAnEmptyMapThatABoxReads) {
  for (const auto& [height, width] :
       {std::pair<int64_t, int64_t>{0, 7}, {7, 0}, {0, 0}}) {
    const std::string text =
        " must have a height and width of at least 1 when there are boxes, "
        "got [" +
        std::to_string(height) + ", " + std::to_string(width) + "]";
    const auto emptied = [height = height, width = width](auto* call) {
      call->maps[1].height = height;
      call->maps[1].width = width;
      call->features[1].clear();
    };
    ForEachStatus(emptied, [&](const char* function, const Status& status) {
      // Whose maps are not read.
      const bool has_shapes = function == std::string("feature gradient") ||
                              function == std::string("box tangent's gradient");
      ExpectInvalidArgument(
          status,
          (has_shapes ? "`features_shape[1]`" : "`features[1]`") + text);
    });
    ExpectOkOf([&](auto* call) {  // which no box reads
      emptied(call);
      call->map_indices.assign(10, 0);
    });
    ExpectOkOf([&](auto* call) {
      emptied(call);
      *call = Only(*call, {});
    });
  }
}

TEST(CheckedCall, TakesEmptyBatches) {
  ExpectOkOf([](auto* call) {
    *call = Only(*call, {});
    call->sizes.batch = 0;
    for (auto& features : call->features) features.clear();
  });
}

}  // namespace
}  // namespace tf_roialign
