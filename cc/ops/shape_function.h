// What is known of an op's output before it runs.

#ifndef TF_ROIALIGN_CC_OPS_SHAPE_FUNCTION_H_
#define TF_ROIALIGN_CC_OPS_SHAPE_FUNCTION_H_

#include "absl/status/status.h"
#include "cc/core/call/op.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace tf_roialign {

absl::Status InferShape(const OpInfo& info,
                        tensorflow::shape_inference::InferenceContext* context);

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_OPS_SHAPE_FUNCTION_H_
