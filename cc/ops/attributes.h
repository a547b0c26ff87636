// Reads what shape functions and kernels share: attributes and shapes.

#ifndef TF_ROIALIGN_CC_OPS_ATTRIBUTES_H_
#define TF_ROIALIGN_CC_OPS_ATTRIBUTES_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "cc/core/call/params.h"
#include "cc/core/call/signature.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/platform/errors.h"

namespace tf_roialign {

inline absl::Status InvalidUnlessEmpty(const std::string& problem) {
  return problem.empty() ? absl::OkStatus()
                         : absl::InvalidArgumentError(problem);
}

inline Shape ToShape(const tensorflow::TensorShape& shape) {
  Shape result;
  result.rank = 0;
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
  return InvalidUnlessEmpty(
      CheckFeaturesShape(ToShape(tensor.shape()), sizes.data(), features));
}

// Context: InferenceContext or OpKernelConstruction.
template <typename Context>
absl::Status ReadParams(Context* context, Params* params) {
  std::vector<int64_t> output_size;
  TF_RETURN_IF_ERROR(context->GetAttr("output_size", &output_size));
  if (output_size.size() != 2) {
    Shape got;
    got.rank = 0;
    for (int64_t size : output_size) got.Append(size);
    return absl::InvalidArgumentError(BadOutputSize(got));
  }
  params->pooled_height = output_size[0];
  params->pooled_width = output_size[1];
  float spatial_scale;
  TF_RETURN_IF_ERROR(context->GetAttr("spatial_scale", &spatial_scale));
  params->spatial_scale = spatial_scale;
  TF_RETURN_IF_ERROR(
      context->GetAttr("sampling_ratio", &params->sampling_ratio));
  TF_RETURN_IF_ERROR(context->GetAttr("aligned", &params->aligned));
  std::string data_format;
  TF_RETURN_IF_ERROR(context->GetAttr("data_format", &data_format));
  params->layout = data_format == "NCHW" ? Layout::kNCHW : Layout::kNHWC;
  return InvalidUnlessEmpty(CheckParams(*params));
}

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_OPS_ATTRIBUTES_H_
