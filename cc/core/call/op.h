// The graph ops: their names, inputs and outputs. Registration, shape
// functions, kernels and XLA's custom calls follow from this table.

#ifndef TF_ROIALIGN_CC_CORE_CALL_OP_H_
#define TF_ROIALIGN_CC_CORE_CALL_OP_H_

#include "cc/core/call/params.h"

namespace tf_roialign {

enum class Input {
  kFeatures,  // a list where an op reads many maps
  kGradOutput,
  kBoxes,
  kBoxIndices,
  kLevels,         // of many maps: which of them each box reads
  kSpatialScales,  // of many maps
  kFeaturesShape,  // in the place of features, of which nothing else is read
  kDirection,      // along which boxes move
  kScale,          // of codes
  kZeroPoint,      // of codes
};
constexpr int kInputs = 10;

// Whether the host reads an input's value, on whatever device the op runs.
constexpr bool IsReadByHost(Input input) {
  return input == Input::kFeaturesShape || input == Input::kSpatialScales ||
         input == Input::kScale || input == Input::kZeroPoint;
}

constexpr const char* NameOf(Input input) {
  switch (input) {
    case Input::kFeatures:
      return "features";
    case Input::kGradOutput:
      return "grad_output";
    case Input::kBoxes:
      return "boxes";
    case Input::kBoxIndices:
      return "box_indices";
    case Input::kLevels:
      return "levels";
    case Input::kSpatialScales:
      return "spatial_scales";
    case Input::kFeaturesShape:
      return "features_shape";
    case Input::kDirection:
      return "direction";
    case Input::kScale:
      return "scale";
    case Input::kZeroPoint:
      return "zero_point";
  }
  return "";
}

// Whose shape and dtype an output has.
enum class Output { kPooled, kFeatures, kBoxes };

enum class Op {
  kForward,
  kFeatureGrad,
  kMaxFeatureGrad,
  kBoxGrad,
  kBoxTangent,
  kBoxTangentGrad,
  kForwardQuantized,
};

struct OpInfo {
  static constexpr int kMaxInputs = 7;

  Op op;
  const char* name;  // in graphs
  Maps maps;
  Output output;
  const char* output_name;
  int input_count;
  Input inputs[kMaxInputs];

  // The place of an input among them; -1: the op has none.
  constexpr int IndexOf(Input input) const {
    for (int i = 0; i < input_count; ++i) {
      if (inputs[i] == input) return i;
    }
    return -1;
  }
  constexpr bool Has(Input input) const { return IndexOf(input) >= 0; }

  // Whether an input is a list, one entry for each map.
  constexpr bool IsList(Input input) const {
    return maps == Maps::kMany &&
           (input == Input::kFeatures || input == Input::kFeaturesShape);
  }
  constexpr bool OutputIsList() const {
    return maps == Maps::kMany && output == Output::kFeatures;
  }
};

namespace op_internal {

// Of an op on one map.
constexpr OpInfo Table(Op op) {
  switch (op) {
    case Op::kForward:
      return {op,
              "TfRoialign>RoiAlign",
              Maps::kOne,
              Output::kPooled,
              "output",
              3,
              {Input::kFeatures, Input::kBoxes, Input::kBoxIndices}};
    case Op::kFeatureGrad:
      return {op,
              "TfRoialign>RoiAlignGrad",
              Maps::kOne,
              Output::kFeatures,
              "grad_features",
              4,
              {Input::kGradOutput, Input::kBoxes, Input::kBoxIndices,
               Input::kFeaturesShape}};
    case Op::kMaxFeatureGrad:
      return {op,
              "TfRoialign>RoiAlignMaxGrad",
              Maps::kOne,
              Output::kFeatures,
              "grad_features",
              4,
              {Input::kGradOutput, Input::kFeatures, Input::kBoxes,
               Input::kBoxIndices}};
    case Op::kBoxGrad:
      return {op,
              "TfRoialign>RoiAlignBoxesGrad",
              Maps::kOne,
              Output::kBoxes,
              "grad_boxes",
              4,
              {Input::kGradOutput, Input::kFeatures, Input::kBoxes,
               Input::kBoxIndices}};
    case Op::kBoxTangent:
      return {op,
              "TfRoialign>RoiAlignBoxesTangent",
              Maps::kOne,
              Output::kPooled,
              "tangent",
              4,
              {Input::kFeatures, Input::kBoxes, Input::kBoxIndices,
               Input::kDirection}};
    case Op::kBoxTangentGrad:
      return {op,
              "TfRoialign>RoiAlignBoxesTangentGrad",
              Maps::kOne,
              Output::kFeatures,
              "grad_features",
              5,
              {Input::kGradOutput, Input::kBoxes, Input::kBoxIndices,
               Input::kFeaturesShape, Input::kDirection}};
    case Op::kForwardQuantized:
      break;
  }
  return {op,
          "TfRoialign>QuantizedRoiAlign",
          Maps::kOne,
          Output::kPooled,
          "output",
          5,
          {Input::kFeatures, Input::kBoxes, Input::kBoxIndices, Input::kScale,
           Input::kZeroPoint}};
}

// The name of the same on many maps.
constexpr const char* NameOfMany(Op op) {
  switch (op) {
    case Op::kForward:
      return "TfRoialign>MultiScaleRoiAlign";
    case Op::kFeatureGrad:
      return "TfRoialign>MultiScaleRoiAlignGrad";
    case Op::kMaxFeatureGrad:
      return "TfRoialign>MultiScaleRoiAlignMaxGrad";
    case Op::kBoxGrad:
      return "TfRoialign>MultiScaleRoiAlignBoxesGrad";
    case Op::kBoxTangent:
      return "TfRoialign>MultiScaleRoiAlignBoxesTangent";
    case Op::kBoxTangentGrad:
      return "TfRoialign>MultiScaleRoiAlignBoxesTangentGrad";
    case Op::kForwardQuantized:
      break;
  }
  return "TfRoialign>QuantizedMultiScaleRoiAlign";
}

}  // namespace op_internal

// On many maps an op has two inputs more, which come after box_indices.
constexpr OpInfo InfoOf(Op op, Maps maps = Maps::kOne) {
  const OpInfo one = op_internal::Table(op);
  if (maps == Maps::kOne) return one;
  OpInfo many = one;
  many.name = op_internal::NameOfMany(op);
  many.maps = Maps::kMany;
  many.input_count = 0;
  for (int i = 0; i < one.input_count; ++i) {
    many.inputs[many.input_count++] = one.inputs[i];
    if (one.inputs[i] != Input::kBoxIndices) continue;
    many.inputs[many.input_count++] = Input::kLevels;
    many.inputs[many.input_count++] = Input::kSpatialScales;
  }
  return many;
}

// Calls visit(input, map, place) for every tensor that an op takes: `map`, of
// an input that is a list, among its entries; `place` among all tensors. Ends
// with the first answer that is not ok().
template <typename Visit>
auto ForEachTensor(const OpInfo& info, int map_count, const Visit& visit)
    -> decltype(visit(Input::kFeatures, 0, 0)) {
  int place = 0;
  for (int i = 0; i < info.input_count; ++i) {
    const Input input = info.inputs[i];
    const int count = info.IsList(input) ? map_count : 1;
    for (int map = 0; map < count; ++map, ++place) {
      auto answer = visit(input, map, place);
      if (!answer.ok()) return answer;
    }
  }
  return {};
}

// Whether an op's features are codes, and not floating-point numbers.
constexpr bool IsOnCodes(Op op) { return op == Op::kForwardQuantized; }

// Whether an op can be asked for `mode`.
constexpr bool Has(Op op, Mode mode) {
  switch (op) {
    case Op::kForward:
    case Op::kBoxGrad:
      return true;
    case Op::kMaxFeatureGrad:
      return mode == Mode::kMax;
    default:
      return mode == Mode::kAvg;
  }
}

// Lists for macros. X(op): the op, on one map and on many. All of them run on
// CPU and on GPUs, and are compiled by XLA for both.
#define TF_ROIALIGN_FOR_EACH_FLOAT_OP(X) \
  X(kForward)                            \
  X(kFeatureGrad)                        \
  X(kMaxFeatureGrad)                     \
  X(kBoxGrad)                            \
  X(kBoxTangent)                         \
  X(kBoxTangentGrad)

// On codes.
#define TF_ROIALIGN_FOR_EACH_CODE_OP(X) X(kForwardQuantized)

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CALL_OP_H_
