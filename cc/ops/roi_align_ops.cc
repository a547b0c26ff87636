// Registers the graph ops.

#include <string>

#include "absl/strings/str_cat.h"
#include "cc/core/call/op.h"
#include "cc/core/call/params.h"
#include "cc/core/dtypes/dtypes.h"
#include "cc/ops/attributes.h"
#include "cc/ops/docs.h"
#include "cc/ops/shape_function.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/types.h"

namespace tf_roialign {
namespace {

using tensorflow::register_op::OpDefBuilderWrapper;
using tensorflow::shape_inference::InferenceContext;

// The dtype of an input, or the attribute that tells it.
const char* DtypeOf(Input input) {
  switch (input) {
    case Input::kFeatures:
    case Input::kGradOutput:
      return "T";
    case Input::kBoxes:
    case Input::kDirection:
      return "Tboxes";
    case Input::kBoxIndices:
      return "Tindices";
    case Input::kLevels:
      return "Tlevels";
    case Input::kSpatialScales:
      return "double";
    case Input::kFeaturesShape:
      return "Tshape";
    case Input::kScale:
      return "float";
    case Input::kZeroPoint:
      return "int32";
  }
  return "";
}

template <typename T>
void AppendDtype(std::string* list) {
  absl::StrAppend(
      list, list->empty() ? "" : ", ",
      tensorflow::DataTypeString(tensorflow::DataTypeToEnum<T>::value));
}

std::string FeatureDtypes(Op op) {
  std::string list;
  if (op == Op::kForwardQuantized) {
#define TF_ROIALIGN_APPEND_QUANTIZED(T, Code, Quantized, Xla) \
  AppendDtype<Quantized>(&list);
#define TF_ROIALIGN_APPEND_CODE(T, Code, Quantized, Xla) \
  AppendDtype<Code>(&list);
    TF_ROIALIGN_FOR_EACH_CODE(TF_ROIALIGN_APPEND_QUANTIZED)
    TF_ROIALIGN_FOR_EACH_CODE(TF_ROIALIGN_APPEND_CODE)
  } else {
#define TF_ROIALIGN_APPEND_FLOAT(T, Tensorflow, Xla) \
  AppendDtype<Tensorflow>(&list);
    TF_ROIALIGN_FOR_EACH_FLOAT(TF_ROIALIGN_APPEND_FLOAT)
  }
  return list;
}

std::string BoxDtypes() {
  std::string list;
#define TF_ROIALIGN_APPEND_BOX_TYPE(B) AppendDtype<B>(&list);
  TF_ROIALIGN_FOR_EACH_BOX_TYPE(TF_ROIALIGN_APPEND_BOX_TYPE)
  return list;
}

OpDefBuilderWrapper Define(Op op, Maps maps) {
  const OpInfo info = InfoOf(op, maps);
  OpDefBuilderWrapper definition(info.name);
  for (int i = 0; i < info.input_count; ++i) {
    const Input input = info.inputs[i];
    definition.Input(absl::StrCat(
        NameOf(input), info.IsList(input) ? ": N * " : ": ", DtypeOf(input)));
  }
  definition.Output(
      absl::StrCat(info.output_name, info.OutputIsList() ? ": N * " : ": ",
                   info.output == Output::kBoxes ? "Tboxes" : "T"));
  OpParams params;
  params.maps = maps;
  ForEachAttribute(params,
                   [&](const char* name, const auto& value, const char*) {
                     definition.Attr(AttributeSpec(name, value));
                   });
  ForEachAttribute(
      params, [&](const char* name, const auto& value, const char*) {
        const std::string second = SecondAttributeSpec(name, value);
        if (!second.empty()) definition.Attr(second);
      });
  definition.Attr(absl::StrCat("T: {", FeatureDtypes(op), "}"))
      .Attr(absl::StrCat("Tboxes: {", BoxDtypes(), "} = DT_FLOAT"))
      .Attr("Tindices: {int32, int64} = DT_INT32");
  if (info.Has(Input::kFeaturesShape)) {
    definition.Attr("Tshape: {int32, int64} = DT_INT32");
  }
  if (maps == Maps::kMany) {
    definition.Attr("Tlevels: {int32, int64} = DT_INT32").Attr("N: int >= 1");
  }
  definition
      .SetShapeFn([info](InferenceContext* context) {
        return InferShape(info, context);
      })
      .Doc(DocOf(info));
  return definition;
}

#define TF_ROIALIGN_REGISTER(op)                                         \
  const tensorflow::InitOnStartupMarker register_##op [[maybe_unused]] = \
      TF_INIT_ON_STARTUP_IF(true)                                        \
      << Define(Op::op, Maps::kOne) << Define(Op::op, Maps::kMany);
TF_ROIALIGN_FOR_EACH_FLOAT_OP(TF_ROIALIGN_REGISTER)
TF_ROIALIGN_FOR_EACH_CODE_OP(TF_ROIALIGN_REGISTER)

}  // namespace
}  // namespace tf_roialign
