// The graph ops: names, inputs, attributes, shape functions, documentation.

#include "absl/strings/str_cat.h"
#include "cc/core/call/signature.h"
#include "cc/ops/attributes.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"
#include "tensorflow/core/framework/tensor.h"

namespace tf_roialign {
namespace {

using tensorflow::shape_inference::DimensionHandle;
using tensorflow::shape_inference::InferenceContext;
using tensorflow::shape_inference::ShapeHandle;

Shape ToShape(InferenceContext* context, ShapeHandle handle) {
  Shape shape;
  if (!context->RankKnown(handle)) return shape;
  shape.rank = 0;
  for (int i = 0; i < context->Rank(handle); ++i) {
    shape.Append(context->Value(context->Dim(handle, i)));
  }
  return shape;
}

ShapeHandle ToHandle(InferenceContext* context, const Shape& shape) {
  if (shape.rank == kUnknown) return context->UnknownShape();
  std::vector<DimensionHandle> dims;
  for (int i = 0; i < shape.rank; ++i) {
    dims.push_back(context->MakeDim(shape.dims[i]));
  }
  return context->MakeShape(dims);
}

absl::Status RoiAlignShape(InferenceContext* context) {
  Params params;
  Signature signature;
  TF_RETURN_IF_ERROR(ReadParams(context, &params));
  TF_RETURN_IF_ERROR(InvalidUnlessEmpty(
      CheckInputs(params, ToShape(context, context->input(0)),
                  ToShape(context, context->input(1)),
                  ToShape(context, context->input(2)), &signature)));
  context->set_output(0, ToHandle(context, signature.Output(params)));
  return absl::OkStatus();
}

// The value of the input `features_shape`, as far as it is known.
absl::Status FeaturesShapeInput(InferenceContext* context, int input,
                                ShapeHandle* features) {
  const tensorflow::Tensor* value = context->input_tensor(input);
  Shape shape;
  if (value != nullptr) {
    TF_RETURN_IF_ERROR(ReadFeaturesShape(*value, &shape));
    *features = ToHandle(context, shape);
    return absl::OkStatus();
  }
  TF_RETURN_IF_ERROR(InvalidUnlessEmpty(CheckFeaturesShape(
      ToShape(context, context->input(input)), nullptr, &shape)));
  TF_RETURN_IF_ERROR(context->MakeShapeFromShapeTensor(input, features));
  return context->WithRank(*features, 4, features);
}

absl::Status RoiAlignGradShape(InferenceContext* context) {
  Params params;
  Signature signature;
  ShapeHandle features;
  TF_RETURN_IF_ERROR(ReadParams(context, &params));
  TF_RETURN_IF_ERROR(FeaturesShapeInput(context, 3, &features));
  TF_RETURN_IF_ERROR(InvalidUnlessEmpty(CheckInputs(
      params, ToShape(context, features), ToShape(context, context->input(1)),
      ToShape(context, context->input(2)), &signature)));
  TF_RETURN_IF_ERROR(InvalidUnlessEmpty(CheckGradOutput(
      params, ToShape(context, context->input(0)), &signature)));
  const Sizes& sizes = signature.sizes;
  context->set_output(
      0, ToHandle(context, params.layout == Layout::kNHWC
                               ? Shape({sizes.batch, sizes.height, sizes.width,
                                        sizes.channels})
                               : Shape({sizes.batch, sizes.channels,
                                        sizes.height, sizes.width})));
  return absl::OkStatus();
}

absl::Status RoiAlignBoxesGradShape(InferenceContext* context) {
  Params params;
  Signature signature;
  TF_RETURN_IF_ERROR(ReadParams(context, &params));
  TF_RETURN_IF_ERROR(InvalidUnlessEmpty(
      CheckInputs(params, ToShape(context, context->input(1)),
                  ToShape(context, context->input(2)),
                  ToShape(context, context->input(3)), &signature)));
  TF_RETURN_IF_ERROR(InvalidUnlessEmpty(CheckGradOutput(
      params, ToShape(context, context->input(0)), &signature)));
  context->set_output(0, ToHandle(context, signature.Boxes()));
  return absl::OkStatus();
}

absl::Status CheckDirectionInput(InferenceContext* context, int direction) {
  return InvalidUnlessEmpty(
      CheckDirection(ToShape(context, context->input(1)),
                     ToShape(context, context->input(direction))));
}

absl::Status RoiAlignBoxesTangentShape(InferenceContext* context) {
  TF_RETURN_IF_ERROR(RoiAlignShape(context));
  return CheckDirectionInput(context, 3);
}

absl::Status RoiAlignBoxesTangentGradShape(InferenceContext* context) {
  TF_RETURN_IF_ERROR(RoiAlignGradShape(context));
  return CheckDirectionInput(context, 4);
}

absl::Status QuantizedRoiAlignShape(InferenceContext* context) {
  TF_RETURN_IF_ERROR(RoiAlignShape(context));
  for (const int input : {3, 4}) {
    TF_RETURN_IF_ERROR(InvalidUnlessEmpty(
        CheckScalar(input == 3 ? "scale" : "zero_point",
                    ToShape(context, context->input(input)))));
  }
  return absl::OkStatus();
}

constexpr char kAttrDocs[] =
    R"doc(output_size: `[PH, PW]`, pooled height and width, each at least 1.
spatial_scale: Feature pixels per input-image pixel, e.g. 1/16. Finite, > 0.
sampling_ratio: Samples per bin and axis. If <= 0, adaptive: the extent of the
  bin in feature pixels, rounded up.
aligned: If true, coordinates are shifted by half a feature pixel, so that the
  centre of the first pixel is at 0.5. If false, as in the first Mask R-CNN
  codes, they are not shifted and boxes are at least one feature pixel large.
data_format: Layout of features and outputs: "NHWC" or "NCHW".
Tboxes: Dtype of the boxes, in which sample coordinates are computed.
Tindices: Dtype of box_indices.
)doc";

constexpr char kFloatDocs[] =
    R"doc(T: Dtype of the features. half and bfloat16 are accumulated in float32.
)doc";

constexpr char kBoxDocs[] =
    R"doc(boxes: `[K, 5]` (image index, x1, y1, x2, y2), `[K, 4]` (x1, y1, x2, y2; image
  indices in `box_indices`) or `[N, M, 4]` (M boxes for each image), in
  input-image pixels.
box_indices: `[K]`, the image of each box, in [0, N); `[0]` unless boxes are
  `[K, 4]`.
)doc";

}  // namespace

#define TF_ROIALIGN_ATTRS_OF(dtypes)                  \
  Attr("output_size: list(int)")                      \
      .Attr("spatial_scale: float = 1.0")             \
      .Attr("sampling_ratio: int = -1")               \
      .Attr("aligned: bool = false")                  \
      .Attr("data_format: {'NHWC', 'NCHW'} = 'NHWC'") \
      .Attr("T: " dtypes)                             \
      .Attr("Tboxes: {float, double} = DT_FLOAT")     \
      .Attr("Tindices: {int32, int64} = DT_INT32")
#define TF_ROIALIGN_ATTRS \
  TF_ROIALIGN_ATTRS_OF("{half, bfloat16, float, double}")

REGISTER_OP("TfRoialign>RoiAlign")
    .Input("features: T")
    .Input("boxes: Tboxes")
    .Input("box_indices: Tindices")
    .Output("output: T")
    .TF_ROIALIGN_ATTRS.SetShapeFn(RoiAlignShape)
    .Doc(absl::StrCat(
        R"doc(
Pools each box of a feature map to a fixed size by averaging bilinear samples.

RoIAlign of "Mask R-CNN" (He et al., 2017) with the meaning of
torchvision.ops.roi_align. Each box is cut into PH x PW bins; a bin's value is
the mean of its bilinear samples, where a sample more than one pixel outside the
map counts as zero. A box with a coordinate that is not finite gives NaN.

Differentiable in features and boxes.

features: `[N, H, W, C]`, or `[N, C, H, W]` for data_format "NCHW".
)doc",
        kBoxDocs,
        R"doc(output: `[K, PH, PW, C]` (dense boxes: `[N, M, PH, PW, C]`), or
  `[K, C, PH, PW]` (`[N, M, C, PH, PW]`) for data_format "NCHW".
)doc",
        kAttrDocs, kFloatDocs));

REGISTER_OP("TfRoialign>RoiAlignGrad")
    .Input("grad_output: T")
    .Input("boxes: Tboxes")
    .Input("box_indices: Tindices")
    .Input("features_shape: Tshape")
    .Output("grad_features: T")
    .TF_ROIALIGN_ATTRS.Attr("Tshape: {int32, int64} = DT_INT32")
    .SetShapeFn(RoiAlignGradShape)
    .Doc(absl::StrCat(
        R"doc(
The gradient of RoiAlign with respect to its features.

The transpose of the linear map that RoiAlign is. Bit-identical from run to run
and for every number of threads. Boxes that are not finite add nothing.

Differentiable in grad_output and boxes.

grad_output: Gradient with respect to RoiAlign's output, in its shape.
)doc",
        kBoxDocs,
        R"doc(features_shape: `[4]`, the shape of the features, in data_format's order.
grad_features: Of shape features_shape.
)doc",
        kAttrDocs, kFloatDocs, R"doc(Tshape: Dtype of features_shape.
)doc"));

REGISTER_OP("TfRoialign>RoiAlignBoxesGrad")
    .Input("grad_output: T")
    .Input("features: T")
    .Input("boxes: Tboxes")
    .Input("box_indices: Tindices")
    .Output("grad_boxes: Tboxes")
    .TF_ROIALIGN_ATTRS.SetShapeFn(RoiAlignBoxesGradShape)
    .Doc(absl::StrCat(
        R"doc(
The gradient of RoiAlign with respect to its boxes.

The number of samples and the clamping to the map are piecewise constant and
have no gradient. Boxes that are not finite get NaN.

Differentiable in grad_output and features, not in boxes.

grad_output: Gradient with respect to RoiAlign's output, in its shape.
features: `[N, H, W, C]`, or `[N, C, H, W]` for data_format "NCHW".
)doc",
        kBoxDocs,
        R"doc(grad_boxes: Of the boxes' shape; 0 in the image index column of `[K, 5]`.
)doc",
        kAttrDocs, kFloatDocs));

REGISTER_OP("TfRoialign>RoiAlignBoxesTangent")
    .Input("features: T")
    .Input("boxes: Tboxes")
    .Input("box_indices: Tindices")
    .Input("direction: Tboxes")
    .Output("tangent: T")
    .TF_ROIALIGN_ATTRS.SetShapeFn(RoiAlignBoxesTangentShape)
    .Doc(absl::StrCat(
        R"doc(
How RoiAlign's output changes when its boxes move: a directional derivative.

The transpose of RoiAlignBoxesGrad as a map of its grad_output. Linear in features
and in direction. A box that is not finite gives NaN.

features: `[N, H, W, C]`, or `[N, C, H, W]` for data_format "NCHW".
)doc",
        kBoxDocs,
        R"doc(direction: Of the boxes' shape; the image index column of `[K, 5]` is not read.
tangent: Of the shape of RoiAlign's output.
)doc",
        kAttrDocs, kFloatDocs));

REGISTER_OP("TfRoialign>RoiAlignBoxesTangentGrad")
    .Input("grad_output: T")
    .Input("boxes: Tboxes")
    .Input("box_indices: Tindices")
    .Input("features_shape: Tshape")
    .Input("direction: Tboxes")
    .Output("grad_features: T")
    .TF_ROIALIGN_ATTRS.Attr("Tshape: {int32, int64} = DT_INT32")
    .SetShapeFn(RoiAlignBoxesTangentGradShape)
    .Doc(absl::StrCat(
        R"doc(
The gradient of RoiAlignBoxesTangent with respect to its features.

Boxes that are not finite add nothing.

grad_output: Gradient with respect to RoiAlignBoxesTangent's output, in its shape.
)doc",
        kBoxDocs,
        R"doc(features_shape: `[4]`, the shape of the features, in data_format's order.
direction: Of the boxes' shape; the image index column of `[K, 5]` is not read.
grad_features: Of shape features_shape.
)doc",
        kAttrDocs, kFloatDocs, R"doc(Tshape: Dtype of features_shape.
)doc"));

REGISTER_OP("TfRoialign>QuantizedRoiAlign")
    .Input("features: T")
    .Input("boxes: Tboxes")
    .Input("box_indices: Tindices")
    .Input("scale: float")
    .Input("zero_point: int32")
    .Output("output: T")
    .TF_ROIALIGN_ATTRS_OF("{qint8, quint8, qint32, int8, uint8, int32}")
    .SetShapeFn(QuantizedRoiAlignShape)
    .Doc(absl::StrCat(
        R"doc(
RoiAlign of quantized features.

Features are codes of the real values scale * (code - zero_point), with one scale
and zero point for the tensor, as UniformQuantize makes them. The output holds
codes of the same scale and zero point, made as torchvision makes them: the real
result divided by scale is rounded to the nearest integer, half to even, then
zero_point is added, then the code is saturated. So a half of result / scale, not
of the code, goes to the even integer. Codes of 8 bits are computed in float32,
those of 32 bits in float64. A sample more than one pixel outside the map counts as the real value
0, so does a box with a coordinate that is not finite.

Not differentiable.

features: `[N, H, W, C]`, or `[N, C, H, W]` for data_format "NCHW".
)doc",
        kBoxDocs,
        R"doc(scale: Scalar, finite, > 0.
zero_point: Scalar, the code that stands for 0.
output: `[K, PH, PW, C]` (dense boxes: `[N, M, PH, PW, C]`), or
  `[K, C, PH, PW]` (`[N, M, C, PH, PW]`) for data_format "NCHW".
)doc",
        kAttrDocs, R"doc(T: Dtype of the codes.
)doc"));

}  // namespace tf_roialign
