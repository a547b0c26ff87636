// The graph ops: their names, inputs and outputs. Registration, shape
// functions, kernels and XLA's custom calls follow from this table.

#ifndef TF_ROIALIGN_CC_CORE_CALL_OP_H_
#define TF_ROIALIGN_CC_CORE_CALL_OP_H_

namespace tf_roialign {

enum class Input {
  kFeatures,
  kGradOutput,
  kBoxes,
  kBoxIndices,
  kFeaturesShape,  // in the place of features, of which nothing else is read
  kDirection,      // along which boxes move
  kScale,          // of codes
  kZeroPoint,      // of codes
};
constexpr int kInputs = 8;

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
  kBoxGrad,
  kBoxTangent,
  kBoxTangentGrad,
  kForwardQuantized,
};

struct OpInfo {
  static constexpr int kMaxInputs = 5;

  const char* name;  // in graphs
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
};

constexpr OpInfo InfoOf(Op op) {
  switch (op) {
    case Op::kForward:
      return {"TfRoialign>RoiAlign",
              Output::kPooled,
              "output",
              3,
              {Input::kFeatures, Input::kBoxes, Input::kBoxIndices}};
    case Op::kFeatureGrad:
      return {"TfRoialign>RoiAlignGrad",
              Output::kFeatures,
              "grad_features",
              4,
              {Input::kGradOutput, Input::kBoxes, Input::kBoxIndices,
               Input::kFeaturesShape}};
    case Op::kBoxGrad:
      return {"TfRoialign>RoiAlignBoxesGrad",
              Output::kBoxes,
              "grad_boxes",
              4,
              {Input::kGradOutput, Input::kFeatures, Input::kBoxes,
               Input::kBoxIndices}};
    case Op::kBoxTangent:
      return {"TfRoialign>RoiAlignBoxesTangent",
              Output::kPooled,
              "tangent",
              4,
              {Input::kFeatures, Input::kBoxes, Input::kBoxIndices,
               Input::kDirection}};
    case Op::kBoxTangentGrad:
      return {"TfRoialign>RoiAlignBoxesTangentGrad",
              Output::kFeatures,
              "grad_features",
              5,
              {Input::kGradOutput, Input::kBoxes, Input::kBoxIndices,
               Input::kFeaturesShape, Input::kDirection}};
    case Op::kForwardQuantized:
      break;
  }
  return {"TfRoialign>QuantizedRoiAlign",
          Output::kPooled,
          "output",
          5,
          {Input::kFeatures, Input::kBoxes, Input::kBoxIndices, Input::kScale,
           Input::kZeroPoint}};
}

// Lists for macros. X(op).
#define TF_ROIALIGN_FOR_EACH_FLOAT_OP(X) \
  X(kForward)                            \
  X(kFeatureGrad)                        \
  X(kBoxGrad)                            \
  X(kBoxTangent)                         \
  X(kBoxTangentGrad)

// Those that have CUDA kernels.
#define TF_ROIALIGN_FOR_EACH_CUDA_OP(X) \
  X(kForward)                           \
  X(kFeatureGrad)                       \
  X(kBoxGrad)

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CALL_OP_H_
