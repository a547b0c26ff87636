// The custom calls on XLA:GPU ("CUDA"). Nothing waits for the device, so image
// indices cannot be refused: a box whose index is out of range gets NaN.

#include <cstddef>

#include "cc/core/call/op.h"
#include "cc/core/cuda/roi_align_cuda.h"
#include "cc/xla/handler.h"
#include "xla/ffi/api/ffi.h"

namespace tf_roialign {
namespace {

namespace ffi = ::xla::ffi;

template <Op kOp, Maps kMaps>
ffi::Error HandleOnCuda(void* stream, ffi::ScratchAllocator scratch,
                        ffi::RemainingArgs operands, ffi::RemainingRets results,
                        ffi::Dictionary attributes) {
  // XLA frees the scratch memory when the handler returns, to be used by what
  // is queued on the same stream later.
  const CudaContext context = {
      stream, [&scratch](size_t bytes) {
        // XLA refuses to promise a larger alignment than 16.
        return scratch.Allocate(bytes, 16).value_or(nullptr);
      }};
  HandledCall call;
  ffi::Error error = ReadCall(InfoOf(kOp, kMaps), /*on_host=*/false, operands,
                              results, attributes, &call);
  if (error.failure()) return error;
  return Handle<kOp>(context, call);
}

#define TF_ROIALIGN_REGISTER_FOR(op, maps)                          \
  XLA_FFI_DEFINE_HANDLER(handle_##op##_##maps,                      \
                         (HandleOnCuda<Op::op, Maps::maps>),        \
                         ffi::Ffi::Bind()                           \
                             .Ctx<ffi::PlatformStream<void*>>()     \
                             .Ctx<ffi::ScratchAllocator>()          \
                             .RemainingArgs()                       \
                             .RemainingRets()                       \
                             .Attrs());                             \
  XLA_FFI_REGISTER_HANDLER(ffi::GetXlaFfiApi(),                     \
                           InfoOf(Op::op, Maps::maps).name, "CUDA", \
                           handle_##op##_##maps);
#define TF_ROIALIGN_REGISTER(op)     \
  TF_ROIALIGN_REGISTER_FOR(op, kOne) \
  TF_ROIALIGN_REGISTER_FOR(op, kMany)
TF_ROIALIGN_FOR_EACH_FLOAT_OP(TF_ROIALIGN_REGISTER)
TF_ROIALIGN_FOR_EACH_CODE_OP(TF_ROIALIGN_REGISTER)

}  // namespace
}  // namespace tf_roialign
