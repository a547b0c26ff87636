#include "cc/core/call/signature.h"

#include "gtest/gtest.h"

namespace tf_roialign {
namespace {

Params Pool(int64_t height, int64_t width, Layout layout = Layout::kNHWC) {
  Params params;
  params.pooled_height = height;
  params.pooled_width = width;
  params.layout = layout;
  return params;
}

std::string Check(const Shape& features, const Shape& boxes,
                  const Shape& indices, Layout layout = Layout::kNHWC) {
  Signature signature;
  return CheckInputs(Pool(7, 7, layout), features, boxes, indices, &signature);
}

std::string Output(const Shape& features, const Shape& boxes,
                   const Shape& indices, Layout layout = Layout::kNHWC) {
  Signature signature;
  const Params params = Pool(7, 3, layout);
  const std::string problem =
      CheckInputs(params, features, boxes, indices, &signature);
  return problem.empty() ? signature.Output(params).ToString() : problem;
}

TEST(CheckParams, NamesTheAttribute) {
  EXPECT_EQ(CheckParams(Pool(1, 1)), "");
  EXPECT_EQ(CheckParams(Pool(0, 7)),
            "`output_size` must be two integers of at least 1, got [0, 7]");
  for (const double scale : {0.0, -1.0, double(NAN), double(INFINITY)}) {
    Params params = Pool(7, 7);
    params.spatial_scale = scale;
    EXPECT_EQ(CheckParams(params).find(
                  "`spatial_scale` must be finite and greater than 0, got "),
              0u);
  }
  Params params = Pool(7, 7);
  params.sampling_ratio = INT64_C(1) << 31;
  EXPECT_EQ(CheckParams(params),
            "`sampling_ratio` must be less than 2^31, got 2147483648");
}

TEST(CheckInputs, OutputShapeOfEachForm) {
  EXPECT_EQ(Output({2, 8, 9, 16}, {5, 5}, {0}), "[5, 7, 3, 16]");
  EXPECT_EQ(Output({2, 8, 9, 16}, {5, 4}, {5}), "[5, 7, 3, 16]");
  EXPECT_EQ(Output({2, 8, 9, 16}, {2, 6, 4}, {0}), "[2, 6, 7, 3, 16]");
  EXPECT_EQ(Output({2, 16, 8, 9}, {5, 5}, {0}, Layout::kNCHW), "[5, 16, 7, 3]");
  EXPECT_EQ(Output({2, 16, 8, 9}, {2, 6, 4}, {0}, Layout::kNCHW),
            "[2, 6, 16, 7, 3]");
}

TEST(CheckInputs, OutputShapeOfWhatIsPartlyUnknown) {
  const Shape unknown;
  EXPECT_EQ(Output(unknown, unknown, unknown), "a shape of unknown rank");
  EXPECT_EQ(Output({2, 8, 9, 16}, {-1, -1}, {-1}), "[?, 7, 3, 16]");
  EXPECT_EQ(Output({2, 8, 9, 16}, {-1, 4}, {3}), "[3, 7, 3, 16]");
  EXPECT_EQ(Output({2, 8, 9, 16}, unknown, {3}), "[3, 7, 3, 16]");
  EXPECT_EQ(Output({-1, -1, -1, 16}, {2, -1, 4}, {0}), "[2, ?, 7, 3, 16]");
  EXPECT_EQ(Output(unknown, {4, 5}, {0}), "[4, 7, 3, ?]");
}

TEST(CheckInputs, NamesTheRuleAndWhatCame) {
  const Shape map = {2, 8, 9, 16};
  EXPECT_EQ(Check({2, 3}, {5, 5}, {0}),
            "`features` must have shape [N, H, W, C], got [2, 3]");
  EXPECT_EQ(Check({2, 3}, {5, 5}, {0}, Layout::kNCHW),
            "`features` must have shape [N, C, H, W], got [2, 3]");
  for (const Shape& boxes :
       {Shape{3}, Shape{}, Shape{3, 6}, Shape{2, 3, 5}, Shape{1, 2, 3, 4}}) {
    if (boxes.rank == kUnknown) continue;
    EXPECT_EQ(Check(map, boxes, {0}),
              "`boxes` must have shape [K, 5], [K, 4] or [N, M, 4], got " +
                  boxes.ToString());
  }
  EXPECT_EQ(
      Check(map, {3, 5}, {3}),
      "`boxes` must have shape [K, 4] when `box_indices` is given, got [3, 5]");
  EXPECT_EQ(Check(map, {2, 3, 4}, {6}),
            "`boxes` must have shape [K, 4] when `box_indices` is given, got "
            "[2, 3, 4]");
  EXPECT_EQ(Check(map, {3, 4}, {0}),
            "`boxes` of shape [3, 4] need `box_indices` of shape [3], got [0]");
  EXPECT_EQ(
      Check(map, {3, 4}, {2}),
      "`box_indices` must have shape [3], one image index per box, got [2]");
  EXPECT_EQ(Check(map, {3, 4}, {3, 1}),
            "`box_indices` must have shape [K], got [3, 1]");
  EXPECT_EQ(Check(map, {3, 5, 4}, {0}),
            "`boxes` must have shape [2, M, 4], one row of boxes per image, "
            "got [3, 5, 4]");
  EXPECT_EQ(Check({1, 0, 5, 3}, {1, 5}, {0}),
            "`features` must have a height and width of at least 1 when there "
            "are boxes, got [1, 0, 5, 3]");
  EXPECT_EQ(Check({1, 0, 5, 3}, {0, 5}, {0}), "");
}

TEST(CheckGradOutput, WantsTheOutputsShape) {
  const Params params = Pool(7, 7);
  Signature signature;
  ASSERT_EQ(CheckInputs(params, {2, 8, 9, 16}, {3, 5}, {0}, &signature), "");
  EXPECT_EQ(CheckGradOutput(params, {3, 7, 7, 16}, &signature), "");
  EXPECT_EQ(CheckGradOutput(params, {4, 7, 7, 16}, &signature),
            "`grad_output` must have shape [3, 7, 7, 16], got [4, 7, 7, 16]");
  EXPECT_EQ(CheckGradOutput(params, {3, 7, 7}, &signature),
            "`grad_output` must have shape [3, 7, 7, 16], got [3, 7, 7]");
}

TEST(CheckGradOutput, TellsTheNumberOfBoxes) {
  const Params params = Pool(7, 7);
  Signature signature;
  ASSERT_EQ(CheckInputs(params, {2, 8, 9, -1}, {-1, 5}, {0}, &signature), "");
  EXPECT_EQ(CheckGradOutput(params, {3, 7, 6, 16}, &signature),
            "`grad_output` must have shape [K, 7, 7, C], got [3, 7, 6, 16]");
  EXPECT_EQ(CheckGradOutput(params, {3, 7, 7, 16}, &signature), "");
  EXPECT_EQ(signature.sizes.boxes, 3);
}

TEST(CheckGradOutput, TellsTheForm) {
  const Params params = Pool(7, 7);
  Signature matrix, dense, wrong;
  const Shape unknown;
  ASSERT_EQ(CheckInputs(params, unknown, unknown, unknown, &matrix), "");
  ASSERT_EQ(CheckInputs(params, unknown, unknown, unknown, &dense), "");
  EXPECT_EQ(CheckGradOutput(params, {3, 7, 7, 16}, &matrix), "");
  EXPECT_EQ(matrix.Boxes().ToString(), "[3, ?]");
  EXPECT_EQ(matrix.sizes.channels, 16);
  EXPECT_EQ(CheckGradOutput(params, {2, 3, 7, 7, 16}, &dense), "");
  EXPECT_EQ(dense.Boxes().ToString(), "[2, 3, 4]");
  EXPECT_EQ(CheckGradOutput(params, {3, 7, 7}, &wrong),
            "`grad_output` must have shape [K, 7, 7, C], got [3, 7, 7]");
}

TEST(Boxes, ColumnsFollowFromTheIndices) {
  Signature signature;
  ASSERT_EQ(CheckInputs(Pool(7, 7), {2, 8, 9, 16}, {3, -1}, {0}, &signature),
            "");
  EXPECT_EQ(signature.Boxes().ToString(), "[3, 5]");
  Signature separate;
  ASSERT_EQ(CheckInputs(Pool(7, 7), {2, 8, 9, 16}, {3, -1}, {3}, &separate),
            "");
  EXPECT_EQ(separate.Boxes().ToString(), "[3, 4]");
}

TEST(CheckFeaturesShape, WantsFourSizes) {
  Shape shape;
  const int64_t good[] = {1, 2, 3, 4}, bad[] = {1, -2, 3, 4};
  EXPECT_EQ(CheckFeaturesShape({4}, good, &shape), "");
  EXPECT_EQ(shape.ToString(), "[1, 2, 3, 4]");
  EXPECT_EQ(CheckFeaturesShape({3}, good, &shape),
            "`features_shape` must have shape [4], got [3]");
  EXPECT_EQ(CheckFeaturesShape({2, 2}, good, &shape),
            "`features_shape` must have shape [4], got [2, 2]");
  EXPECT_EQ(
      CheckFeaturesShape({4}, bad, &shape),
      "`features_shape` must hold 4 non-negative sizes, got [1, -2, 3, 4]");
}

TEST(Shape, ShowsThatAHighRankGoesOn) {
  EXPECT_EQ(Shape({1, 2, 3, 4, 5, 6, 7, 8, 9}).ToString(),
            "[1, 2, 3, 4, 5, 6, 7, 8, ...]");
}

TEST(BadImageIndex, NamesRowIndexAndBatch) {
  EXPECT_EQ(BadImageIndex(BoxForm::kIndexed, 3, "nan", 2),
            "`boxes[3, 0]`, an image index, must be in [0, 2), got nan");
  EXPECT_EQ(BadImageIndex(BoxForm::kSeparate, 3, "7", 2),
            "`box_indices[3]`, an image index, must be in [0, 2), got 7");
}

}  // namespace
}  // namespace tf_roialign
