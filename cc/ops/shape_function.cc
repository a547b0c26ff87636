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

// What the input `features_shape` at `place` holds, as far as it is known.
absl::Status FeaturesOfShapeInput(InferenceContext* context, int place,
                                  Shape* features) {
  const tensorflow::Tensor* value = context->input_tensor(place);
  if (value != nullptr) return ReadFeaturesShape(*value, features);
  ShapeHandle shape = context->input(place);
  const bool is_vector_of_4 = !context->RankKnown(shape) ||
                              (context->Rank(shape) == 1 &&
                               (!context->ValueKnown(context->Dim(shape, 0)) ||
                                context->Value(context->Dim(shape, 0)) == 4));
  if (!is_vector_of_4) return absl::OkStatus();  // CheckShapes refuses it
  ShapeHandle handle;
  TF_RETURN_IF_ERROR(context->MakeShapeFromShapeTensor(place, &handle));
  TF_RETURN_IF_ERROR(context->WithRank(handle, 4, &handle));
  *features = ToShape(context, handle);
  return absl::OkStatus();
}

}  // namespace

absl::Status InferShape(const OpInfo& info, InferenceContext* context) {
  OpParams params;
  TF_RETURN_IF_ERROR(ReadParams(context, info, &params));
  InputShapes shapes;
  int map_count;
  TF_RETURN_IF_ERROR(ReadMapCount(context, info, &map_count));
  shapes.set_map_count(map_count);
  TF_RETURN_IF_ERROR(
      ForEachTensor(info, map_count, [&](Input input, int map, int place) {
        const Shape shape = ToShape(context, context->input(place));
        if (map == 0) shapes[input] = shape;
        if (input == Input::kFeaturesShape) {
          return FeaturesOfShapeInput(context, place, &shapes.features(map));
        }
        if (input == Input::kFeatures) shapes.features(map) = shape;
        return absl::OkStatus();
      }));
  Signature signature;
  TF_RETURN_IF_ERROR(ToAbsl(CheckShapes(info, params, shapes, &signature)));
  for (int m = 0; m < (info.OutputIsList() ? map_count : 1); ++m) {
    context->set_output(
        m, ToHandle(context, signature.OutputShape(info, params, m)));
  }
  return absl::OkStatus();
}

}  // namespace tf_roialign
