#include "cc/xla/ffi_arguments.h"

#include <cstdint>

#include "cc/xla/custom_calls.h"

namespace tf_roialign {

::xla::ffi::ErrorOr<Params> ReadParams(
    const ::xla::ffi::Dictionary& attributes) {
  const auto height = attributes.get<int64_t>(kPooledHeight);
  const auto width = attributes.get<int64_t>(kPooledWidth);
  const auto scale = attributes.get<double>(kSpatialScale);
  const auto ratio = attributes.get<int64_t>(kSamplingRatio);
  const auto aligned = attributes.get<bool>(kAligned);
  const auto channels_first = attributes.get<bool>(kChannelsFirst);
  if (!height || !width || !scale || !ratio || !aligned || !channels_first) {
    return ::xla::ffi::Unexpected(::xla::ffi::Error::Internal(
        "RoIAlign's custom call lacks an attribute"));
  }
  Params params;
  params.pooled_height = *height;
  params.pooled_width = *width;
  params.spatial_scale = *scale;
  params.sampling_ratio = *ratio;
  params.aligned = *aligned;
  params.layout = *channels_first ? Layout::kNCHW : Layout::kNHWC;
  return params;
}

std::string ReadSignature(const Params& params, const Shape& features,
                          const ::xla::ffi::AnyBuffer& boxes,
                          const ::xla::ffi::AnyBuffer& box_indices,
                          const ::xla::ffi::AnyBuffer* grad_output,
                          Signature* signature) {
  const std::string problem = CheckInputs(params, features, ToShape(boxes),
                                          ToShape(box_indices), signature);
  if (!problem.empty() || grad_output == nullptr) return problem;
  return CheckGradOutput(params, ToShape(*grad_output), signature);
}

}  // namespace tf_roialign
