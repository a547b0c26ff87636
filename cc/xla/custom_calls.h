// What the compiler's side (xla_ops.cc) and the handlers agree on: the names of
// the custom calls and of their attributes.

#ifndef TF_ROIALIGN_CC_XLA_CUSTOM_CALLS_H_
#define TF_ROIALIGN_CC_XLA_CUSTOM_CALLS_H_

namespace tf_roialign {

// Each takes, after its own operands, one more where XLA knows only a bound of
// the number of boxes: the number itself, a scalar int32. Further rows are not
// read, and not written.

// Operands: features, boxes, box_indices.
constexpr char kForwardCall[] = "TfRoialign.RoiAlign";
// Operands: grad_output, boxes, box_indices. The result has the features'
// shape.
constexpr char kFeatureGradCall[] = "TfRoialign.RoiAlignGrad";
// Operands: grad_output, features, boxes, box_indices.
constexpr char kBoxGradCall[] = "TfRoialign.RoiAlignBoxesGrad";

// Operands: features, boxes, box_indices, direction.
constexpr char kTangentCall[] = "TfRoialign.RoiAlignBoxesTangent";
// Operands: grad_output, boxes, box_indices, direction. The result has the
// features' shape.
constexpr char kTangentGradCall[] = "TfRoialign.RoiAlignBoxesTangentGrad";

constexpr char kPooledHeight[] = "pooled_height";    // int64
constexpr char kPooledWidth[] = "pooled_width";      // int64
constexpr char kSpatialScale[] = "spatial_scale";    // float64
constexpr char kSamplingRatio[] = "sampling_ratio";  // int64
constexpr char kAligned[] = "aligned";               // bool
constexpr char kChannelsFirst[] = "channels_first";  // bool

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_XLA_CUSTOM_CALLS_H_
