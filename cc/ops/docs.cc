#include "cc/ops/docs.h"

#include "absl/strings/str_cat.h"
#include "cc/core/call/params.h"
#include "cc/ops/attributes.h"

namespace tf_roialign {
namespace {

const char* Summary(Op op) {
  switch (op) {
    case Op::kForward:
      return R"doc(
Pools each box of a feature map to a fixed size by averaging bilinear samples.

RoIAlign of "Mask R-CNN" (He et al., 2017) with the meaning of
torchvision.ops.roi_align. Each box is cut into PH x PW bins; a bin's value is
the mean of its bilinear samples, where a sample more than one pixel outside the
map counts as zero. A box with a coordinate that is not finite gives NaN.

Differentiable in features and boxes.
)doc";
    case Op::kFeatureGrad:
      return R"doc(
The gradient of RoiAlign with respect to its features.

The transpose of the linear map that RoiAlign is. Bit-identical from run to run
and for every number of threads. Boxes that are not finite add nothing.

Differentiable in grad_output and boxes.
)doc";
    case Op::kMaxFeatureGrad:
      return R"doc(
The gradient of RoiAlign with mode "max" with respect to its features.

The gradient of a bin goes to the pixels of its largest sample, the first of equal
ones; a sample outside the map has none. Bit-identical from run to run and for every
number of threads. Boxes that are not finite add nothing.

Not differentiable.
)doc";
    case Op::kBoxGrad:
      return R"doc(
The gradient of RoiAlign with respect to its boxes.

The number of samples and the clamping to the map are piecewise constant and
have no gradient. Boxes that are not finite get NaN.

Differentiable in grad_output and features, not in boxes.
)doc";
    case Op::kBoxTangent:
      return R"doc(
How RoiAlign's output changes when its boxes move: a directional derivative.

The transpose of RoiAlignBoxesGrad as a map of its grad_output. Linear in
features and in direction. A box that is not finite gives NaN.
)doc";
    case Op::kBoxTangentGrad:
      return R"doc(
The gradient of RoiAlignBoxesTangent with respect to its features.

Boxes that are not finite add nothing.
)doc";
    case Op::kForwardQuantized:
      break;
  }
  return R"doc(
RoIAlign of quantized features.

Features are codes of the real values scale * (code - zero_point), with one scale
and zero point for the tensor, as UniformQuantize makes them. The output holds
codes of the same scale and zero point, made as torchvision makes them: the real
result divided by scale is rounded to the nearest integer, half to even, then
zero_point is added, then the code is saturated. So a half of result / scale, not
of the code, goes to the even integer. Codes of 8 bits are computed in float32,
those of 32 bits in float64. A sample more than one pixel outside the map counts
as the real value 0, so does a box with a coordinate that is not finite.

Not differentiable.
)doc";
}

const char* SummaryOfMany = R"doc(
Each box reads one map of a list, as of a feature pyramid: that of its level.
)doc";

const char* DocOf(Input input) {
  switch (input) {
    case Input::kFeatures:
      return "`[N, H, W, C]`, or `[N, C, H, W]` for data_format \"NCHW\".";
    case Input::kLevels:
      return "`[K]`, which of the features each box reads, or `[0]`: the "
             "areas\n"
             "  of the boxes say it (canonical_level).";
    case Input::kSpatialScales:
      return "`[maps, 2]`, (y, x) of each of the features: feature pixels per\n"
             "  input-image pixel. Finite, > 0. In host memory.";
    case Input::kGradOutput:
      return "Gradient with respect to the pooled features, in their shape.";
    case Input::kBoxes:
      return "`[K, 5]` (image index, x1, y1, x2, y2), `[K, 4]` (x1, y1, x2, "
             "y2; image\n  indices in `box_indices`) or `[N, M, 4]` (M boxes "
             "for each image), in\n  input-image pixels.";
    case Input::kBoxIndices:
      return "`[K]`, the image of each box, in [0, N); `[0]` unless boxes are\n"
             "  `[K, 4]`.";
    case Input::kFeaturesShape:
      return "`[4]`, the shape of the features, in data_format's order.";
    case Input::kDirection:
      return "Of the boxes' shape; the image index column of `[K, 5]` is not "
             "read.";
    case Input::kScale:
      return "Scalar, finite, > 0.";
    case Input::kZeroPoint:
      return "Scalar, the code that stands for 0.";
  }
  return "";
}

const char* DocOf(Output output) {
  switch (output) {
    case Output::kPooled:
      return "`[K, PH, PW, C]` (dense boxes: `[N, M, PH, PW, C]`), or\n"
             "  `[K, C, PH, PW]` (`[N, M, C, PH, PW]`) for data_format "
             "\"NCHW\".";
    case Output::kFeatures:
      return "Of shape features_shape.";
    case Output::kBoxes:
      return "Of the boxes' shape; 0 in the image index column of `[K, 5]`.";
  }
  return "";
}

std::string Entry(const char* name, const char* doc) {
  return absl::StrCat(name, ": ", doc, "\n");
}

}  // namespace

std::string DocOf(const OpInfo& info) {
  const Op op = info.op;
  const bool is_many = info.maps == Maps::kMany;
  std::string doc =
      absl::StrCat(Summary(op), is_many ? SummaryOfMany : "", "\n");
  for (int i = 0; i < info.input_count; ++i) {
    absl::StrAppend(&doc, Entry(NameOf(info.inputs[i]), DocOf(info.inputs[i])));
  }
  absl::StrAppend(&doc, Entry(info.output_name, DocOf(info.output)));
  OpParams params;
  params.maps = info.maps;
  std::string second;
  ForEachAttribute(params, [&](const char* name, const auto& value,
                               const char* documentation) {
    absl::StrAppend(&doc, Entry(name, documentation));
    absl::StrAppend(&second, SecondAttributeDoc(name, value));
  });
  absl::StrAppend(
      &doc, second,
      op == Op::kForwardQuantized
          ? Entry("T", "Dtype of the codes.")
          : Entry("T",
                  "Dtype of the features. half and bfloat16 are "
                  "accumulated in float32."),
      Entry("Tboxes",
            "Dtype of the boxes, in which sample coordinates are computed."),
      Entry("Tindices", "Dtype of box_indices."));
  if (info.Has(Input::kFeaturesShape)) {
    absl::StrAppend(&doc, Entry("Tshape", "Dtype of features_shape."));
  }
  if (is_many) {
    absl::StrAppend(&doc, Entry("Tlevels", "Dtype of levels."),
                    Entry("N", "How many maps there are, 1 to 8."));
  }
  return doc;
}

}  // namespace tf_roialign
