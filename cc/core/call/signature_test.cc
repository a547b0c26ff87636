#include "cc/core/call/signature.h"

#include <string>

#include "cc/core/testing/expect.h"
#include "gtest/gtest.h"

namespace tf_roialign {
namespace {

Params Pool(int64_t height, int64_t width, Layout layout = Layout::kNHWC) {
  Params params;
  params.output_size = {height, width};
  params.data_format = layout;
  return params;
}

// Shapes of which the others are unknown.
InputShapes Inputs(const Shape& features, const Shape& boxes,
                   const Shape& box_indices) {
  InputShapes shapes;
  shapes.features(0) = features;
  shapes[Input::kBoxes] = boxes;
  shapes[Input::kBoxIndices] = box_indices;
  return shapes;
}

Status Check(const Shape& features, const Shape& boxes, const Shape& indices,
             Layout layout = Layout::kNHWC) {
  Signature signature;
  return CheckShapes(InfoOf(Op::kForward), Pool(7, 7, layout),
                     Inputs(features, boxes, indices), &signature);
}

std::string Output(const Shape& features, const Shape& boxes,
                   const Shape& indices, Layout layout = Layout::kNHWC) {
  Signature signature;
  const Params params = Pool(7, 3, layout);
  const Status status =
      CheckShapes(InfoOf(Op::kForward), params,
                  Inputs(features, boxes, indices), &signature);
  return status.ok()
             ? signature.OutputShape(InfoOf(Op::kForward), params).ToString()
             : status.text();
}

TEST(Inputs, OutputShapeOfEachForm) {
  EXPECT_EQ(Output({2, 8, 9, 16}, {5, 5}, {0}), "[5, 7, 3, 16]");
  EXPECT_EQ(Output({2, 8, 9, 16}, {5, 4}, {5}), "[5, 7, 3, 16]");
  EXPECT_EQ(Output({2, 8, 9, 16}, {2, 6, 4}, {0}), "[2, 6, 7, 3, 16]");
  EXPECT_EQ(Output({2, 16, 8, 9}, {5, 5}, {0}, Layout::kNCHW), "[5, 16, 7, 3]");
  EXPECT_EQ(Output({2, 16, 8, 9}, {2, 6, 4}, {0}, Layout::kNCHW),
            "[2, 6, 16, 7, 3]");
}

TEST(Inputs, OutputShapeOfWhatIsPartlyUnknown) {
  const Shape unknown;
  EXPECT_EQ(Output(unknown, unknown, unknown), "a shape of unknown rank");
  EXPECT_EQ(Output({2, 8, 9, 16}, {-1, -1}, {-1}), "[?, 7, 3, 16]");
  EXPECT_EQ(Output({2, 8, 9, 16}, {-1, 4}, {3}), "[3, 7, 3, 16]");
  EXPECT_EQ(Output({2, 8, 9, 16}, unknown, {3}), "[3, 7, 3, 16]");
  EXPECT_EQ(Output({-1, -1, -1, 16}, {2, -1, 4}, {0}), "[2, ?, 7, 3, 16]");
  EXPECT_EQ(Output(unknown, {4, 5}, {0}), "[4, 7, 3, ?]");
}

// Also where there is no element, for sizes are multiplied all the same.
TEST(Inputs, HaveSizesWhoseProductCanBeCounted) {
  constexpr int64_t kHuge = int64_t{1} << 40;
  const std::string rule =
      " must have less than 2^60 elements, sizes of 0 counted as 1, got ";
  ExpectInvalidArgument(
      Check({0, kHuge, kHuge, 3}, {0, 5}, {0}),
      "`features`" + rule + "[0, 1099511627776, 1099511627776, 3]");
  ExpectInvalidArgument(
      Check({1, 0, kHuge, kHuge}, {3, 5}, {0}, Layout::kNCHW),
      "`features`" + rule + "[1, 0, 1099511627776, 1099511627776]");
  ExpectInvalidArgument(Check({-1, 1 << 30, 1 << 30, 0}, {0, 5}, {0}),
                        "`features`" + rule + "[?, 1073741824, 1073741824, 0]");
  EXPECT_EQ(Output({0, 1 << 30, 1 << 29, 0}, {0, 5}, {0}), "[0, 7, 3, 0]");
  EXPECT_EQ(Output({0, 1, 1, (int64_t{1} << 60) / 21}, {0, 5}, {0}),
            "[0, 7, 3, 54901024028897475]");
  ExpectInvalidArgument(
      Check({0, 1, 1, int64_t{1} << 59}, {0, 5}, {0}),
      "`output_size` must give less than 2^60 elements, sizes of 0 counted as "
      "1, got [0, 7, 7, 576460752303423488]");
}

TEST(Inputs, NamesTheRuleAndWhatCame) {
  const Shape map = {2, 8, 9, 16};
  ExpectInvalidArgument(Check({2, 3}, {5, 5}, {0}),
                        "`features` must have shape [N, H, W, C], got [2, 3]");
  ExpectInvalidArgument(Check({2, 3}, {5, 5}, {0}, Layout::kNCHW),
                        "`features` must have shape [N, C, H, W], got [2, 3]");
  for (const Shape& boxes :
       {Shape{3}, Shape({}), Shape{3, 6}, Shape{2, 3, 5}, Shape{1, 2, 3, 4}}) {
    ExpectInvalidArgument(
        Check(map, boxes, {0}),
        "`boxes` must have shape [K, 5], [K, 4] or [N, M, 4], got " +
            boxes.ToString());
  }
  ExpectInvalidArgument(
      Check(map, {3, 5}, {3}),
      "`boxes` must have shape [K, 4] when `box_indices` is given, got [3, 5]");
  ExpectInvalidArgument(
      Check(map, {2, 3, 4}, {6}),
      "`boxes` must have shape [K, 4] when `box_indices` is given, got "
      "[2, 3, 4]");
  ExpectInvalidArgument(
      Check(map, {3, 4}, {0}),
      "`boxes` of shape [3, 4] need `box_indices` of shape [3], got [0]");
  ExpectInvalidArgument(
      Check(map, {3, 4}, {2}),
      "`box_indices` must have shape [3], one image index per box, got [2]");
  ExpectInvalidArgument(Check(map, {3, 4}, {3, 1}),
                        "`box_indices` must have shape [K], got [3, 1]");
  ExpectInvalidArgument(
      Check(map, {3, 5, 4}, {0}),
      "`boxes` must have shape [2, M, 4], one row of boxes per image, "
      "got [3, 5, 4]");
  ExpectInvalidArgument(
      Check({1, 0, 5, 3}, {1, 5}, {0}),
      "`features` must have a height and width of at least 1 when there "
      "are boxes, got [1, 0, 5, 3]");
  ExpectOk(Check({1, 0, 5, 3}, {0, 5}, {0}));
}

// A box gradient's shapes, with that of its upstream last.
Status CheckWithGradOutput(const Shape& features, const Shape& boxes,
                           const Shape& indices, const Shape& grad_output,
                           Signature* signature) {
  InputShapes shapes = Inputs(features, boxes, indices);
  shapes[Input::kGradOutput] = grad_output;
  return CheckShapes(InfoOf(Op::kBoxGrad), Pool(7, 7), shapes, signature);
}

TEST(GradOutput, HasTheOutputsShape) {
  const auto check = [](const Shape& grad_output) {
    Signature signature;
    return CheckWithGradOutput({2, 8, 9, 16}, {3, 5}, {0}, grad_output,
                               &signature);
  };
  ExpectOk(check({3, 7, 7, 16}));
  ExpectInvalidArgument(
      check({4, 7, 7, 16}),
      "`grad_output` must have shape [3, 7, 7, 16], got [4, 7, 7, 16]");
  ExpectInvalidArgument(
      check({3, 7, 7}),
      "`grad_output` must have shape [3, 7, 7, 16], got [3, 7, 7]");
  for (const Shape& bad :
       {Shape{3, 6, 7, 16}, Shape{3, 7, 8, 16}, Shape{3, 7, 7, 15}}) {
    ExpectInvalidArgument(
        check(bad),
        "`grad_output` must have shape [3, 7, 7, 16], got " + bad.ToString());
  }
}

TEST(GradOutput, OfDenseBoxesHasTheirNumbers) {
  const auto check = [](const Shape& grad_output) {
    Signature signature;
    return CheckWithGradOutput({2, 8, 9, 16}, {2, 6, 4}, {0}, grad_output,
                               &signature);
  };
  ExpectOk(check({2, 6, 7, 7, 16}));
  for (const Shape& bad : {Shape{3, 6, 7, 7, 16}, Shape{2, 5, 7, 7, 16}}) {
    ExpectInvalidArgument(
        check(bad), "`grad_output` must have shape [2, 6, 7, 7, 16], got " +
                        bad.ToString());
  }
}

TEST(GradOutput, TellsTheNumberOfBoxes) {
  Signature signature;
  ExpectInvalidArgument(
      CheckWithGradOutput({2, 8, 9, -1}, {-1, 5}, {0}, {3, 7, 6, 16},
                          &signature),
      "`grad_output` must have shape [K, 7, 7, C], got [3, 7, 6, 16]");
  ExpectOk(CheckWithGradOutput({2, 8, 9, -1}, {-1, 5}, {0}, {3, 7, 7, 16},
                               &signature));
  EXPECT_EQ(signature.sizes.boxes, 3);
}

TEST(GradOutput, TellsTheForm) {
  Signature matrix, dense, wrong;
  const Shape unknown;
  ExpectOk(
      CheckWithGradOutput(unknown, unknown, unknown, {3, 7, 7, 16}, &matrix));
  EXPECT_EQ(matrix.BoxRows().ToString(), "[3, ?]");
  EXPECT_EQ(matrix.sizes.channels, 16);
  ExpectOk(
      CheckWithGradOutput(unknown, unknown, unknown, {2, 3, 7, 7, 16}, &dense));
  EXPECT_EQ(dense.BoxRows().ToString(), "[2, 3, 4]");
  ExpectInvalidArgument(
      CheckWithGradOutput(unknown, unknown, unknown, {3, 7, 7}, &wrong),
      "`grad_output` must have shape [K, 7, 7, C], got [3, 7, 7]");
}

// What an op does not have is not looked at.
TEST(GradOutput, IsAskedForWhereItIsAnInput) {
  InputShapes shapes = Inputs({2, 8, 9, 16}, {3, 5}, {0});
  shapes[Input::kGradOutput] = {4, 7, 7, 16};
  for (const Op op : {Op::kForward, Op::kBoxTangent, Op::kForwardQuantized}) {
    Signature signature;
    ExpectOk(CheckShapes(InfoOf(op), Pool(7, 7), shapes, &signature));
  }
  for (const Op op : {Op::kFeatureGrad, Op::kBoxGrad, Op::kBoxTangentGrad}) {
    Signature signature;
    EXPECT_FALSE(CheckShapes(InfoOf(op), Pool(7, 7), shapes, &signature).ok());
  }
}

TEST(Direction, HasTheShapeOfTheBoxes) {
  const auto check = [](const Shape& boxes, const Shape& direction) {
    InputShapes shapes = Inputs({2, 8, 9, 16}, boxes, {0});
    shapes[Input::kDirection] = direction;
    Signature signature;
    return CheckShapes(InfoOf(Op::kBoxTangent), Pool(7, 7), shapes, &signature);
  };
  ExpectOk(check({3, 5}, {3, 5}));
  ExpectOk(check({3, 5}, {-1, 5}));
  ExpectOk(check({3, 5}, Shape()));
  ExpectInvalidArgument(
      check({3, 5}, {3, 4}),
      "`direction` must have the shape of `boxes`, [3, 5], got [3, 4]");
  ExpectInvalidArgument(
      check({3, 5}, {15}),
      "`direction` must have the shape of `boxes`, [3, 5], got [15]");
}

TEST(Scalars, AreScalars) {
  for (const Input input : {Input::kScale, Input::kZeroPoint}) {
    InputShapes shapes = Inputs({2, 8, 9, 16}, {3, 5}, {0});
    Signature signature;
    ExpectOk(CheckShapes(InfoOf(Op::kForwardQuantized), Pool(7, 7), shapes,
                         &signature));
    shapes[input] = Shape({});
    ExpectOk(CheckShapes(InfoOf(Op::kForwardQuantized), Pool(7, 7), shapes,
                         &signature));
    shapes[input] = {1};
    ExpectInvalidArgument(
        CheckShapes(InfoOf(Op::kForwardQuantized), Pool(7, 7), shapes,
                    &signature),
        std::string("`") + NameOf(input) + "` must be a scalar, got shape [1]");
  }
}

TEST(OutputShape, IsThatOfWhatTheOpMakes) {
  const Params params = Pool(7, 3, Layout::kNCHW);
  Signature signature;
  ExpectOk(CheckShapes(InfoOf(Op::kForward), params,
                       Inputs({2, 16, 8, 9}, {5, 4}, {5}), &signature));
  for (const Op op : {Op::kForward, Op::kBoxTangent, Op::kForwardQuantized}) {
    EXPECT_EQ(signature.OutputShape(InfoOf(op), params).ToString(),
              "[5, 16, 7, 3]");
  }
  for (const Op op : {Op::kFeatureGrad, Op::kBoxTangentGrad}) {
    EXPECT_EQ(signature.OutputShape(InfoOf(op), params).ToString(),
              "[2, 16, 8, 9]");
  }
  EXPECT_EQ(signature.OutputShape(InfoOf(Op::kBoxGrad), params).ToString(),
            "[5, 4]");
}

TEST(OutputShape, OfAGradientToMapsIsEachMaps) {
  const OpInfo info = InfoOf(Op::kMaxFeatureGrad, Maps::kMany);
  const Params params = Pool(7, 3);
  InputShapes shapes;
  shapes.set_map_count(2);
  shapes.features(0) = {2, 8, 9, 16};
  shapes.features(1) = {2, 4, 5, 16};
  shapes[Input::kBoxes] = {5, 4};
  shapes[Input::kBoxIndices] = {5};
  Signature signature;
  ExpectOk(CheckShapes(info, params, shapes, &signature));
  EXPECT_EQ(signature.OutputShape(info, params, 0).ToString(), "[2, 8, 9, 16]");
  EXPECT_EQ(signature.OutputShape(info, params, 1).ToString(), "[2, 4, 5, 16]");
}

TEST(BoxRows, ColumnsFollowFromTheIndices) {
  const auto rows = [](const Shape& indices) {
    Signature signature;
    ExpectOk(CheckShapes(InfoOf(Op::kForward), Pool(7, 7),
                         Inputs({2, 8, 9, 16}, {3, -1}, indices), &signature));
    return signature.BoxRows().ToString();
  };
  EXPECT_EQ(rows({0}), "[3, 5]");
  EXPECT_EQ(rows({3}), "[3, 4]");
}

TEST(FeaturesShape, HoldsFourSizes) {
  Shape shape;
  const int64_t good[] = {1, 2, 3, 4};
  ExpectOk(ReadFeaturesShape({4}, good, &shape));
  EXPECT_EQ(shape.ToString(), "[1, 2, 3, 4]");
  ExpectInvalidArgument(ReadFeaturesShape({3}, good, &shape),
                        "`features_shape` must have shape [4], got [3]");
  ExpectInvalidArgument(ReadFeaturesShape({2, 2}, good, &shape),
                        "`features_shape` must have shape [4], got [2, 2]");
  for (int i = 0; i < 4; ++i) {
    int64_t bad[] = {1, 2, 3, 4};
    bad[i] = -2;  // -1 is written as what is not known
    const std::string got = Shape({bad[0], bad[1], bad[2], bad[3]}).ToString();
    ExpectInvalidArgument(
        ReadFeaturesShape({4}, bad, &shape),
        "`features_shape` must hold 4 non-negative sizes, got " + got);
  }
}

// What an op lacks is not in its errors.
TEST(FeaturesShape, IsNamedInThePlaceOfFeatures) {
  const auto check = [](const OpInfo& info, const Shape& first,
                        const Shape& second) {
    InputShapes shapes = Inputs(first, {3, 5}, {0});
    shapes[Input::kFeaturesShape] = {4};
    if (info.maps == Maps::kMany) {
      shapes.set_map_count(2);
      shapes.features(1) = second;
    }
    Signature signature;
    return CheckShapes(info, Pool(7, 7), shapes, &signature);
  };
  for (const Op op : {Op::kFeatureGrad, Op::kBoxTangentGrad}) {
    const OpInfo one = InfoOf(op);
    const OpInfo many = InfoOf(op, Maps::kMany);
    const Shape map = {2, 8, 9, 16};
    ExpectInvalidArgument(
        check(one, {2, 8, 0, 16}, {}),
        "`features_shape` must have a height and width of at least 1 when "
        "there are boxes, got [2, 8, 0, 16]");
    ExpectInvalidArgument(
        check(one, {1, 1 << 30, 1 << 30, 1}, {}),
        "`features_shape` must have less than 2^60 elements, sizes of 0 "
        "counted as 1, got [1, 1073741824, 1073741824, 1]");
    ExpectInvalidArgument(
        check(many, map, {3, 8, 9, 16}),
        "`features_shape[1]` must have shape [2, H, W, 16], the batch and "
        "channels of the other maps, got [3, 8, 9, 16]");
    ExpectInvalidArgument(
        CheckMapCount(many, 9),
        "`features_shape` must be a list of 1 to 8 maps, got 9");
  }
  ExpectInvalidArgument(CheckMapCount(InfoOf(Op::kForward, Maps::kMany), 0),
                        "`features` must be a list of 1 to 8 maps, got 0");
}

// The shape of the input itself, before its value is known.
TEST(FeaturesShape, IsLookedAtWithTheOthers) {
  InputShapes shapes = Inputs(Shape(), {3, 5}, {0});
  Signature signature;
  shapes[Input::kFeaturesShape] = {4};
  ExpectOk(
      CheckShapes(InfoOf(Op::kFeatureGrad), Pool(7, 7), shapes, &signature));
  shapes[Input::kFeaturesShape] = {5};
  ExpectInvalidArgument(
      CheckShapes(InfoOf(Op::kFeatureGrad), Pool(7, 7), shapes, &signature),
      "`features_shape` must have shape [4], got [5]");
}

TEST(Shape, ShowsThatAHighRankGoesOn) {
  EXPECT_EQ(Shape({1, 2, 3, 4, 5, 6, 7, 8, 9}).ToString(),
            "[1, 2, 3, 4, 5, 6, 7, 8, ...]");
}

}  // namespace
}  // namespace tf_roialign
