// The core's errors and shapes, and TensorFlow's.

#ifndef TF_ROIALIGN_CC_OPS_CONVERT_H_
#define TF_ROIALIGN_CC_OPS_CONVERT_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "cc/core/base/status.h"
#include "cc/core/call/shape.h"
#include "cc/core/call/signature.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/framework/tensor_shape.h"

namespace tf_roialign {

inline absl::Status ToAbsl(const Status& status) {
  switch (status.code()) {
    case ErrorCode::kOk:
      return absl::OkStatus();
    case ErrorCode::kInvalidArgument:
      return absl::InvalidArgumentError(status.text());
    case ErrorCode::kResourceExhausted:
      return absl::ResourceExhaustedError(status.text());
    case ErrorCode::kInternal:
      break;
  }
  return absl::InternalError(status.text());
}

inline Shape ToShape(const tensorflow::TensorShape& shape) {
  Shape result({});
  for (int i = 0; i < shape.dims(); ++i) result.Append(shape.dim_size(i));
  return result;
}

// Reads an input `features_shape` (int32 or int64, in host memory).
inline absl::Status ReadFeaturesShape(const tensorflow::Tensor& tensor,
                                      Shape* features) {
  std::vector<int64_t> sizes(tensor.NumElements());
  for (size_t i = 0; i < sizes.size(); ++i) {
    sizes[i] = tensor.dtype() == tensorflow::DT_INT32
                   ? static_cast<const int32_t*>(tensor.data())[i]
                   : static_cast<const int64_t*>(tensor.data())[i];
  }
  return ToAbsl(
      ReadFeaturesShape(ToShape(tensor.shape()), sizes.data(), features));
}

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_OPS_CONVERT_H_
