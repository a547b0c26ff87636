// What the handlers of all platforms share: a custom call's attributes and
// buffers as the core has them.

#ifndef TF_ROIALIGN_CC_XLA_FFI_ARGUMENTS_H_
#define TF_ROIALIGN_CC_XLA_FFI_ARGUMENTS_H_

#include <string>
#include <utility>

#include "cc/core/dtypes/float16.h"
#include "cc/core/call/params.h"
#include "cc/core/call/signature.h"
#include "xla/ffi/api/ffi.h"

namespace xla::ffi {
// Exported by libtensorflow_cc. The header that declares it, xla/ffi/ffi_api.h,
// is for the inside of XLA.
const XLA_FFI_Api* GetXlaFfiApi();
}  // namespace xla::ffi

namespace tf_roialign {

inline ::xla::ffi::Error ToError(const std::string& problem) {
  return problem.empty() ? ::xla::ffi::Error::Success()
                         : ::xla::ffi::Error::InvalidArgument(problem);
}

inline Shape ToShape(const ::xla::ffi::AnyBuffer& buffer) {
  Shape shape;
  shape.rank = 0;
  for (int64_t size : buffer.dimensions()) shape.Append(size);
  return shape;
}

// The attributes of custom_calls.h.
::xla::ffi::ErrorOr<Params> ReadParams(
    const ::xla::ffi::Dictionary& attributes);

// What the shapes say, which XLA knew when it compiled the call; grad_output:
// null for the forward call.
std::string ReadSignature(const Params& params, const Shape& features,
                          const ::xla::ffi::AnyBuffer& boxes,
                          const ::xla::ffi::AnyBuffer& box_indices,
                          const ::xla::ffi::AnyBuffer* grad_output,
                          Signature* signature);

template <typename T>
T* Data(const ::xla::ffi::AnyBuffer& buffer) {
  return static_cast<T*>(buffer.untyped_data());
}

inline bool Is64Bit(const ::xla::ffi::AnyBuffer& buffer) {
  return buffer.element_type() == ::xla::ffi::DataType::S64;
}

// Stands for a type where one is passed as a value.
template <typename T>
struct TypeTag {
  using type = T;
};

// Calls run(TypeTag<T>, TypeTag<B>) for the dtypes of features and boxes.
template <typename Run>
::xla::ffi::Error WithTypes(const ::xla::ffi::AnyBuffer& features,
                            const ::xla::ffi::AnyBuffer& boxes, Run&& run) {
  using ::xla::ffi::DataType;
  const auto with_boxes = [&](auto features_type) {
    return boxes.element_type() == DataType::F64
               ? run(features_type, TypeTag<double>())
               : run(features_type, TypeTag<float>());
  };
  switch (features.element_type()) {
    case DataType::F32:
      return with_boxes(TypeTag<float>());
    case DataType::F64:
      return with_boxes(TypeTag<double>());
    case DataType::F16:
      return with_boxes(TypeTag<Half>());
    case DataType::BF16:
      return with_boxes(TypeTag<BFloat16>());
    default:
      return ::xla::ffi::Error::Internal("RoIAlign has no such dtype");
  }
}

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_XLA_FFI_ARGUMENTS_H_
