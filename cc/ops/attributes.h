// Reads the attributes that all RoIAlign ops share.

#ifndef TF_ROIALIGN_CC_OPS_ATTRIBUTES_H_
#define TF_ROIALIGN_CC_OPS_ATTRIBUTES_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "cc/core/params.h"
#include "cc/core/signature.h"
#include "tensorflow/core/platform/errors.h"

namespace tf_roialign {

inline absl::Status InvalidUnlessEmpty(const std::string& problem) {
  return problem.empty() ? absl::OkStatus()
                         : absl::InvalidArgumentError(problem);
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
    return absl::InvalidArgumentError(
        "`output_size` must be two integers of at least 1, got " +
        got.ToString());
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
