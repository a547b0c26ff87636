#include "cc/core/call/attributes.h"

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>

#include "cc/core/testing/expect.h"
#include "gtest/gtest.h"

namespace tf_roialign {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

OpParams Pool(int64_t height, int64_t width) {
  OpParams params;
  params.output_size = {height, width};
  return params;
}

TEST(CheckParams, TakesWhatIsInRange) {
  ExpectOk(CheckParams(Op::kForward, OpParams()));
  ExpectOk(CheckParams(Op::kForward, Pool(1, 1)));
  OpParams params = Pool(INT64_C(2147483647), 7);
  params.spatial_scale = {1e-300, 1e300};
  params.sampling_ratio = INT64_C(2147483647);
  params.aligned = true;
  params.data_format = Layout::kNCHW;
  ExpectOk(CheckParams(Op::kForward, params));
  params.sampling_ratio = std::numeric_limits<int64_t>::min();
  ExpectOk(CheckParams(Op::kForward, params));
}

TEST(CheckParams, NamesTheOutputSize) {
  ExpectInvalidArgument(
      CheckParams(Op::kForward, Pool(0, 7)),
      "`output_size` must be two integers of at least 1, got [0, 7]");
  ExpectInvalidArgument(
      CheckParams(Op::kForward, Pool(7, -3)),
      "`output_size` must be two integers of at least 1, got [7, -3]");
  ExpectInvalidArgument(
      CheckParams(Op::kForward, Pool(7, INT64_C(1) << 31)),
      "`output_size` must be less than 2^31, got [7, 2147483648]");
  ExpectInvalidArgument(
      CheckParams(Op::kForward, Pool(INT64_C(1) << 31, 7)),
      "`output_size` must be less than 2^31, got [2147483648, 7]");
}

TEST(CheckParams, NamesTheSpatialScale) {
  for (const double scale : {0.0, -1.0, kNan, kInfinity, -kInfinity}) {
    OpParams params = Pool(7, 7);
    params.spatial_scale = {scale, scale};
    const Status status = CheckParams(Op::kForward, params);
    EXPECT_EQ(status.code(), ErrorCode::kInvalidArgument);
    EXPECT_EQ(status.text().find(
                  "`spatial_scale` must be finite and greater than 0, got "),
              0u);
  }
}

// The text shows the one that is wrong.
TEST(CheckParams, LooksAtTheScaleOfEitherAxis) {
  const auto check = [](double y, double x) {
    OpParams params = Pool(7, 7);
    params.spatial_scale = {y, x};
    return CheckParams(Op::kForward, params);
  };
  const std::string rule =
      "`spatial_scale` must be finite and greater than 0, got ";
  ExpectOk(check(0.5, 0.25));
  ExpectInvalidArgument(check(-2, 0.5), rule + "-2");
  ExpectInvalidArgument(check(0.5, -2), rule + "-2");
  ExpectInvalidArgument(check(-3, -2), rule + "-3");
  ExpectInvalidArgument(check(kNan, 0.5), rule + "nan");
  ExpectInvalidArgument(check(0.5, kNan), rule + "nan");
  ExpectInvalidArgument(check(0.5, kInfinity), rule + "inf");
  ExpectInvalidArgument(check(0, 0), rule + "0");
}

TEST(CheckParams, NamesTheSamplingRatio) {
  OpParams params = Pool(7, 7);
  params.sampling_ratio = INT64_C(1) << 31;
  ExpectInvalidArgument(
      CheckParams(Op::kForward, params),
      "`sampling_ratio` must be less than 2^31, got 2147483648");
}

TEST(CheckAttribute, GoesByAnyName) {
  ExpectInvalidArgument(CheckAttribute("size", OutputSize{0, 1}),
                        "`size` must be two integers of at least 1, got "
                        "[0, 1]");
  ExpectInvalidArgument(BadOutputSize("size", {1, 2, 3}),
                        "`size` must be two integers of at least 1, got "
                        "[1, 2, 3]");
}

TEST(CheckQuantization, TakesWhatCodesCanSay) {
  ExpectOk(CheckQuantization(0.25f, -128, -128, 127));
  ExpectOk(CheckQuantization(1e-38f, 127, -128, 127));
  ExpectOk(CheckQuantization(3e38f, 0, 0, 255));
}

TEST(CheckQuantization, NamesTheScale) {
  const std::string rule = "`scale` must be finite and greater than 0, got ";
  ExpectInvalidArgument(CheckQuantization(0.f, 0, 0, 255), rule + "0");
  ExpectInvalidArgument(CheckQuantization(-0.5f, 0, 0, 255), rule + "-0.5");
  ExpectInvalidArgument(CheckQuantization(INFINITY, 0, 0, 255), rule + "inf");
  EXPECT_FALSE(CheckQuantization(NAN, 0, 0, 255).ok());
}

TEST(CheckQuantization, NamesTheZeroPoint) {
  ExpectInvalidArgument(CheckQuantization(1.f, 128, -128, 127),
                        "`zero_point` must be in [-128, 127], got 128");
  ExpectInvalidArgument(CheckQuantization(1.f, -1, 0, 255),
                        "`zero_point` must be in [0, 255], got -1");
}

}  // namespace
}  // namespace tf_roialign
