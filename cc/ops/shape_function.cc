#include "cc/ops/shape_function.h"

#include <vector>

#include "cc/core/call/signature.h"
#include "cc/ops/attributes.h"
#include "cc/ops/convert.h"
#include "tensorflow/core/framework/tensor.h"

namespace tf_roialign {
namespace {

using tensorflow::shape_inference::DimensionHandle;
using tensorflow::shape_inference::InferenceContext;
using tensorflow::shape_inference::ShapeHandle;

Shape ToShape(InferenceContext* context, ShapeHandle handle) {
  if (!context->RankKnown(handle)) return Shape();
  Shape shape({});
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

// What the input `features_shape` holds, as far as it is known.
absl::Status FeaturesOfShapeInput(InferenceContext* context, int input,
                                  Shape* features) {
  const tensorflow::Tensor* value = context->input_tensor(input);
  if (value != nullptr) return ReadFeaturesShape(*value, features);
  ShapeHandle shape = context->input(input);
  const bool is_vector_of_4 = !context->RankKnown(shape) ||
                              (context->Rank(shape) == 1 &&
                               (!context->ValueKnown(context->Dim(shape, 0)) ||
                                context->Value(context->Dim(shape, 0)) == 4));
  if (!is_vector_of_4) return absl::OkStatus();  // CheckShapes refuses it
  ShapeHandle handle;
  TF_RETURN_IF_ERROR(context->MakeShapeFromShapeTensor(input, &handle));
  TF_RETURN_IF_ERROR(context->WithRank(handle, 4, &handle));
  *features = ToShape(context, handle);
  return absl::OkStatus();
}

}  // namespace

absl::Status InferShape(Op op, InferenceContext* context) {
  OpParams params;
  TF_RETURN_IF_ERROR(ReadParams(context, &params));
  const OpInfo info = InfoOf(op);
  InputShapes shapes;
  for (int i = 0; i < info.input_count; ++i) {
    shapes[info.inputs[i]] = ToShape(context, context->input(i));
  }
  if (info.Has(Input::kFeaturesShape)) {
    TF_RETURN_IF_ERROR(FeaturesOfShapeInput(context,
                                            info.IndexOf(Input::kFeaturesShape),
                                            &shapes[Input::kFeatures]));
  }
  Signature signature;
  TF_RETURN_IF_ERROR(ToAbsl(CheckShapes(op, params, shapes, &signature)));
  context->set_output(0, ToHandle(context, signature.OutputShape(op, params)));
  return absl::OkStatus();
}

}  // namespace tf_roialign
