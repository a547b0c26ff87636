// What handles the custom calls, on every platform: a call's buffers and
// attributes become a call of the core.
//
// A call has the operands of its op, but for features_shape, whose value is the
// shape of the result. After them there is one more where XLA knows only a
// bound of the number of boxes: the number itself, a scalar int32. Further rows
// are not read, and not written.

#ifndef TF_ROIALIGN_CC_XLA_HANDLER_H_
#define TF_ROIALIGN_CC_XLA_HANDLER_H_

#include <algorithm>
#include <cstdint>

#include "cc/core/base/status.h"
#include "cc/core/call/op.h"
#include "cc/core/call/params.h"
#include "cc/core/call/signature.h"
#include "cc/core/dtypes/dtypes.h"
#include "cc/core/run_op.h"
#include "cc/xla/attributes.h"
#include "xla/ffi/api/ffi.h"

namespace xla::ffi {
// Exported by libtensorflow_cc. The header that declares it, xla/ffi/ffi_api.h,
// is for the inside of XLA.
const XLA_FFI_Api* GetXlaFfiApi();
}  // namespace xla::ffi

namespace tf_roialign {

inline ::xla::ffi::Error ToError(const Status& status) {
  using ::xla::ffi::Error;
  switch (status.code()) {
    case ErrorCode::kOk:
      return Error::Success();
    case ErrorCode::kInvalidArgument:
      return Error::InvalidArgument(status.text());
    case ErrorCode::kResourceExhausted:
      return Error(::xla::ffi::ErrorCode::kResourceExhausted, status.text());
    case ErrorCode::kInternal:
      break;
  }
  return Error::Internal(status.text());
}

// A custom call's inputs, once they are known to fit together.
struct HandledCall {
  OpParams params;
  Signature signature;
  InputData inputs;
  ::xla::ffi::DataType features_type;
  ::xla::ffi::DataType boxes_type;
};

::xla::ffi::ErrorOr<HandledCall> ReadCall(
    Op op, const ::xla::ffi::RemainingArgs& operands,
    const ::xla::ffi::AnyBuffer& result,
    const ::xla::ffi::Dictionary& attributes);

template <Op kOp, typename T, typename Context>
Status RunWithBoxes(const Context& context, const HandledCall& call,
                    void* result) {
  return call.boxes_type == ::xla::ffi::DataType::F64
             ? RunOp<kOp, T, double>(context, call.params, call.signature,
                                     call.inputs, result)
             : RunOp<kOp, T, float>(context, call.params, call.signature,
                                    call.inputs, result);
}

// Context: of the core, for the platform.
template <Op kOp, typename Context>
::xla::ffi::Error Handle(const Context& context,
                         const ::xla::ffi::RemainingArgs& operands,
                         const ::xla::ffi::AnyBuffer& result,
                         const ::xla::ffi::Dictionary& attributes) {
  const ::xla::ffi::ErrorOr<HandledCall> call =
      ReadCall(kOp, operands, result, attributes);
  if (!call) return call.error();
  void* const data = result.untyped_data();
  switch (call->features_type) {
#define TF_ROIALIGN_RUN(T, Tensorflow, Xla) \
  case ::xla::ffi::DataType::Xla:           \
    return ToError(RunWithBoxes<kOp, T>(context, *call, data));
    TF_ROIALIGN_FOR_EACH_FLOAT(TF_ROIALIGN_RUN)
#undef TF_ROIALIGN_RUN
    default:
      return ::xla::ffi::Error::Internal("RoIAlign has no such dtype");
  }
}

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_XLA_HANDLER_H_
