// The custom calls on XLA:GPU ("CUDA"): call the core on XLA's stream. Nothing
// waits for the device, so image indices cannot be refused: a box whose index
// is out of range gets NaN.

#include <string>

#include "cc/core/cuda/roi_align_cuda.h"
#include "cc/core/call/signature.h"
#include "cc/xla/custom_calls.h"
#include "cc/xla/ffi_arguments.h"
#include "xla/ffi/api/ffi.h"

namespace tf_roialign {
namespace {

namespace ffi = ::xla::ffi;
using ffi::AnyBuffer;
using ffi::Error;
using Stream = ffi::PlatformStream<void*>;

// Does what the three calls have in common, and calls
// run(context, sizes, boxes, TypeTag<T>, TypeTag<B>).
template <typename Run>
Error WithBoxes(void* stream, ffi::ScratchAllocator* scratch,
                const Params& params, const Shape& features,
                const AnyBuffer& typed, const AnyBuffer& boxes,
                const AnyBuffer& box_indices, const AnyBuffer* grad_output,
                const Run& run) {
  Signature signature;
  const std::string problem = ReadSignature(
      params, features, boxes, box_indices, grad_output, &signature);
  if (!problem.empty()) return ToError(problem);
  // XLA frees the scratch memory when the handler returns, to be used by what
  // is queued on the same stream later.
  const CudaContext context = {
      stream, [scratch](size_t bytes) {
        // XLA refuses to promise a larger alignment than 16.
        return scratch->Allocate(bytes, 16).value_or(nullptr);
      }};
  const void* indices = signature.form == BoxForm::kSeparate
                            ? box_indices.untyped_data()
                            : nullptr;
  return WithTypes(typed, boxes, [&](auto t, auto b) {
    using B = typename decltype(b)::type;
    const CudaBoxes<B> table = {
        signature.form,    Data<const B>(boxes),
        signature.columns, signature.sizes.boxes,
        indices,           Is64Bit(box_indices),
    };
    const std::string problem = run(context, signature.sizes, table, t, b);
    if (problem.empty()) return Error::Success();
    return IsLackOfGpuMemory(problem)
               ? Error(ffi::ErrorCode::kResourceExhausted, problem)
               : Error::Internal(problem);
  });
}

Error Forward(void* stream, ffi::ScratchAllocator scratch, AnyBuffer features,
              AnyBuffer boxes, AnyBuffer box_indices,
              ffi::Result<AnyBuffer> output, ffi::Dictionary attributes) {
  const ffi::ErrorOr<Params> params = ReadParams(attributes);
  if (!params) return params.error();
  return WithBoxes(stream, &scratch, *params, ToShape(features), features,
                   boxes, box_indices, /*grad_output=*/nullptr,
                   [&](const CudaContext& context, const Sizes& sizes,
                       const auto& table, auto t, auto) {
                     using T = typename decltype(t)::type;
                     return RoiAlignForwardCuda(context, *params, sizes, table,
                                                Data<const T>(features),
                                                Data<T>(*output));
                   });
}

Error FeatureGrad(void* stream, ffi::ScratchAllocator scratch,
                  AnyBuffer grad_output, AnyBuffer boxes, AnyBuffer box_indices,
                  ffi::Result<AnyBuffer> grad_features,
                  ffi::Dictionary attributes) {
  const ffi::ErrorOr<Params> params = ReadParams(attributes);
  if (!params) return params.error();
  return WithBoxes(stream, &scratch, *params, ToShape(*grad_features),
                   grad_output, boxes, box_indices, &grad_output,
                   [&](const CudaContext& context, const Sizes& sizes,
                       const auto& table, auto t, auto) {
                     using T = typename decltype(t)::type;
                     return RoiAlignFeatureGradCuda(
                         context, *params, sizes, table,
                         Data<const T>(grad_output), Data<T>(*grad_features));
                   });
}

Error BoxGrad(void* stream, ffi::ScratchAllocator scratch,
              AnyBuffer grad_output, AnyBuffer features, AnyBuffer boxes,
              AnyBuffer box_indices, ffi::Result<AnyBuffer> grad_boxes,
              ffi::Dictionary attributes) {
  const ffi::ErrorOr<Params> params = ReadParams(attributes);
  if (!params) return params.error();
  return WithBoxes(stream, &scratch, *params, ToShape(features), features,
                   boxes, box_indices, &grad_output,
                   [&](const CudaContext& context, const Sizes& sizes,
                       const auto& table, auto t, auto b) {
                     using T = typename decltype(t)::type;
                     using B = typename decltype(b)::type;
                     return RoiAlignBoxGradCuda(context, *params, sizes, table,
                                                Data<const T>(features),
                                                Data<const T>(grad_output),
                                                Data<B>(*grad_boxes));
                   });
}

XLA_FFI_DEFINE_HANDLER(kForward, Forward,
                       ffi::Ffi::Bind()
                           .Ctx<Stream>()
                           .Ctx<ffi::ScratchAllocator>()
                           .Arg<AnyBuffer>()  // features
                           .Arg<AnyBuffer>()  // boxes
                           .Arg<AnyBuffer>()  // box_indices
                           .Ret<AnyBuffer>()  // output
                           .Attrs());
XLA_FFI_DEFINE_HANDLER(kFeatureGrad, FeatureGrad,
                       ffi::Ffi::Bind()
                           .Ctx<Stream>()
                           .Ctx<ffi::ScratchAllocator>()
                           .Arg<AnyBuffer>()  // grad_output
                           .Arg<AnyBuffer>()  // boxes
                           .Arg<AnyBuffer>()  // box_indices
                           .Ret<AnyBuffer>()  // grad_features
                           .Attrs());
XLA_FFI_DEFINE_HANDLER(kBoxGrad, BoxGrad,
                       ffi::Ffi::Bind()
                           .Ctx<Stream>()
                           .Ctx<ffi::ScratchAllocator>()
                           .Arg<AnyBuffer>()  // grad_output
                           .Arg<AnyBuffer>()  // features
                           .Arg<AnyBuffer>()  // boxes
                           .Arg<AnyBuffer>()  // box_indices
                           .Ret<AnyBuffer>()  // grad_boxes
                           .Attrs());

XLA_FFI_REGISTER_HANDLER(ffi::GetXlaFfiApi(), kForwardCall, "CUDA", kForward);
XLA_FFI_REGISTER_HANDLER(ffi::GetXlaFfiApi(), kFeatureGradCall, "CUDA",
                         kFeatureGrad);
XLA_FFI_REGISTER_HANDLER(ffi::GetXlaFfiApi(), kBoxGradCall, "CUDA", kBoxGrad);

}  // namespace
}  // namespace tf_roialign
