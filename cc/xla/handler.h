// What handles the custom calls, on every platform: a call's buffers and
// attributes become a call of the core.
//
// A call has the operands of its op, but for features_shape, whose value is the
// shape of the results, and on a GPU what else the host reads, which are
// attributes there. After them there is one more where XLA knows only a bound
// of the number of boxes: the number itself, a scalar int32. Further rows are
// rubbish: not read on CPU, where the host knows the number, and without
// meaning on a GPU, whose kernels read it.

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

// A custom call's inputs and outputs, once they are known to fit together.
struct HandledCall {
  HandledCall() = default;
  HandledCall(const HandledCall&) = delete;  // `inputs` may point into it

  OpParams params;
  Signature signature;
  InputData inputs;
  OutputData outputs;
  ::xla::ffi::DataType features_type;
  ::xla::ffi::DataType boxes_type;
  // Inputs that are attributes.
  double spatial_scales[2 * kMaxMaps];
  float scale;
  int32_t zero_point;
};

// `on_host`: whether operands are in memory that the host reads.
::xla::ffi::Error ReadCall(const OpInfo& info, bool on_host,
                           const ::xla::ffi::RemainingArgs& operands,
                           const ::xla::ffi::RemainingRets& results,
                           const ::xla::ffi::Dictionary& attributes,
                           HandledCall* call);

template <Op kOp, typename T, typename Context>
Status RunWithBoxes(const Context& context, const HandledCall& call) {
  return call.boxes_type == ::xla::ffi::DataType::F64
             ? RunOp<kOp, T, double>(context, call.params, call.signature,
                                     call.inputs, call.outputs)
             : RunOp<kOp, T, float>(context, call.params, call.signature,
                                    call.inputs, call.outputs);
}

// Context: of the core, for the platform.
template <Op kOp, typename Context>
::xla::ffi::Error Handle(const Context& context, const HandledCall& call) {
  if constexpr (IsOnCodes(kOp)) {
    switch (call.features_type) {
#define TF_ROIALIGN_RUN(T, Code, Quantized, Xla) \
  case ::xla::ffi::DataType::Xla:                \
    return ToError(RunWithBoxes<kOp, T>(context, call));
      TF_ROIALIGN_FOR_EACH_CODE(TF_ROIALIGN_RUN)
#undef TF_ROIALIGN_RUN
      default:
        break;
    }
  } else {
    switch (call.features_type) {
#define TF_ROIALIGN_RUN(T, Tensorflow, Xla) \
  case ::xla::ffi::DataType::Xla:           \
    return ToError(RunWithBoxes<kOp, T>(context, call));
      TF_ROIALIGN_FOR_EACH_FLOAT(TF_ROIALIGN_RUN)
#undef TF_ROIALIGN_RUN
      default:
        break;
    }
  }
  return ::xla::ffi::Error::Internal("RoIAlign has no such dtype");
}

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_XLA_HANDLER_H_
