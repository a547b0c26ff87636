// The custom calls on XLA:CPU ("Host"): check the image indices, call the core.

#include <algorithm>
#include <functional>
#include <new>
#include <string>
#include <utility>

#include "cc/core/cpu/box_tangent.h"
#include "cc/core/call/checked_boxes.h"
#include "cc/core/cpu/roi_align_cpu.h"
#include "cc/core/call/signature.h"
#include "cc/core/cpu/huge_pages.h"
#include "cc/xla/custom_calls.h"
#include "cc/xla/ffi_arguments.h"
#include "cc/core/cpu/shared_work.h"
#include "xla/ffi/api/ffi.h"

namespace tf_roialign {
namespace {

namespace ffi = ::xla::ffi;
using ffi::AnyBuffer;
using ffi::Error;

// XLA:CPU's own threads, which are TensorFlow's. `pool` must outlive the
// result.
ParallelFor PoolThreads(ffi::ThreadPool* pool) {
  return [pool](int64_t units, int64_t unit_cost,
                const std::function<void(int64_t, int64_t)>& run) {
    ShareWork(
        pool->num_threads(),
        [pool](std::function<void()> task) { pool->Schedule(std::move(task)); },
        units, unit_cost, run);
  };
}

template <typename B>
std::string InitBoxes(const Signature& signature, const AnyBuffer& boxes,
                      const AnyBuffer& box_indices, CheckedBoxes<B>* checked) {
  const B* rows = Data<B>(boxes);
  return Is64Bit(box_indices)
             ? checked->Init(signature, rows, Data<int64_t>(box_indices))
             : checked->Init(signature, rows, Data<int32_t>(box_indices));
}

// The number of boxes where it is an operand, else `bound`.
int64_t CountBoxes(const ffi::RemainingArgs& count, int64_t bound) {
  if (count.size() == 0) return bound;
  const ffi::ErrorOr<AnyBuffer> buffer = count.get<AnyBuffer>(0);
  return std::min<int64_t>(bound, buffer ? *Data<int32_t>(*buffer) : 0);
}

// Does what the calls have in common, and calls
// run(context, sizes, boxes, TypeTag<T>, TypeTag<B>).
template <typename Run>
Error WithChecked(ffi::ThreadPool pool, const ffi::RemainingArgs& count,
                  const Params& params, const Shape& features,
                  const AnyBuffer& typed, const AnyBuffer& boxes,
                  const AnyBuffer& box_indices, const AnyBuffer* grad_output,
                  const AnyBuffer& result, const Run& run) {
  Signature signature;
  const std::string problem = ReadSignature(
      params, features, boxes, box_indices, grad_output, &signature);
  if (!problem.empty()) return ToError(problem);
  signature.sizes.boxes = CountBoxes(count, signature.sizes.boxes);
  try {
    return WithTypes(typed, boxes, [&](auto t, auto b) {
      CheckedBoxes<typename decltype(b)::type> checked;
      const std::string problem =
          InitBoxes(signature, boxes, box_indices, &checked);
      if (!problem.empty()) return ToError(problem);
      AdviseHugePages(result.untyped_data(), result.size_bytes());
      const ParallelFor threads = PoolThreads(&pool);
      run(CpuContext{threads}, signature.sizes, checked.table(), t, b);
      return Error::Success();
    });
  } catch (const std::bad_alloc&) {
    return Error(ffi::ErrorCode::kResourceExhausted, OutOfMemory(params));
  }
}

Error Forward(ffi::ThreadPool pool, AnyBuffer features, AnyBuffer boxes,
              AnyBuffer box_indices, ffi::RemainingArgs count,
              ffi::Result<AnyBuffer> output, ffi::Dictionary attributes) {
  const ffi::ErrorOr<Params> params = ReadParams(attributes);
  if (!params) return params.error();
  return WithChecked(
      pool, count, *params, ToShape(features), features, boxes, box_indices,
      /*grad_output=*/nullptr, *output,
      [&](const CpuContext& context, const Sizes& sizes, const auto& table,
          auto t, auto) {
        using T = typename decltype(t)::type;
        RoiAlignForward(context, *params, sizes, table, Data<const T>(features),
                        Data<T>(*output));
      });
}

Error FeatureGrad(ffi::ThreadPool pool, AnyBuffer grad_output, AnyBuffer boxes,
                  AnyBuffer box_indices, ffi::RemainingArgs count,
                  ffi::Result<AnyBuffer> grad_features,
                  ffi::Dictionary attributes) {
  const ffi::ErrorOr<Params> params = ReadParams(attributes);
  if (!params) return params.error();
  return WithChecked(pool, count, *params, ToShape(*grad_features), grad_output,
                     boxes, box_indices, &grad_output, *grad_features,
                     [&](const CpuContext& context, const Sizes& sizes,
                         const auto& table, auto t, auto) {
                       using T = typename decltype(t)::type;
                       RoiAlignFeatureGrad(context, *params, sizes, table,
                                           Data<const T>(grad_output),
                                           Data<T>(*grad_features));
                     });
}

Error BoxGrad(ffi::ThreadPool pool, AnyBuffer grad_output, AnyBuffer features,
              AnyBuffer boxes, AnyBuffer box_indices, ffi::RemainingArgs count,
              ffi::Result<AnyBuffer> grad_boxes, ffi::Dictionary attributes) {
  const ffi::ErrorOr<Params> params = ReadParams(attributes);
  if (!params) return params.error();
  return WithChecked(
      pool, count, *params, ToShape(features), features, boxes, box_indices,
      &grad_output, *grad_boxes,
      [&](const CpuContext& context, const Sizes& sizes, const auto& table,
          auto t, auto b) {
        using T = typename decltype(t)::type;
        using B = typename decltype(b)::type;
        RoiAlignBoxGrad(context, *params, sizes, table, Data<const T>(features),
                        Data<const T>(grad_output), Data<B>(*grad_boxes));
      });
}

Error Tangent(ffi::ThreadPool pool, AnyBuffer features, AnyBuffer boxes,
              AnyBuffer box_indices, AnyBuffer direction,
              ffi::RemainingArgs count, ffi::Result<AnyBuffer> tangent,
              ffi::Dictionary attributes) {
  const ffi::ErrorOr<Params> params = ReadParams(attributes);
  if (!params) return params.error();
  return WithChecked(
      pool, count, *params, ToShape(features), features, boxes, box_indices,
      /*grad_output=*/nullptr, *tangent,
      [&](const CpuContext& context, const Sizes& sizes, const auto& table,
          auto t, auto b) {
        using T = typename decltype(t)::type;
        using B = typename decltype(b)::type;
        RoiAlignBoxTangent(context, *params, sizes, table,
                           Data<const B>(direction), Data<const T>(features),
                           Data<T>(*tangent));
      });
}

Error TangentGrad(ffi::ThreadPool pool, AnyBuffer grad_output, AnyBuffer boxes,
                  AnyBuffer box_indices, AnyBuffer direction,
                  ffi::RemainingArgs count,
                  ffi::Result<AnyBuffer> grad_features,
                  ffi::Dictionary attributes) {
  const ffi::ErrorOr<Params> params = ReadParams(attributes);
  if (!params) return params.error();
  return WithChecked(pool, count, *params, ToShape(*grad_features), grad_output,
                     boxes, box_indices, &grad_output, *grad_features,
                     [&](const CpuContext& context, const Sizes& sizes,
                         const auto& table, auto t, auto b) {
                       using T = typename decltype(t)::type;
                       using B = typename decltype(b)::type;
                       RoiAlignBoxTangentGrad(context, *params, sizes, table,
                                              Data<const B>(direction),
                                              Data<const T>(grad_output),
                                              Data<T>(*grad_features));
                     });
}

XLA_FFI_DEFINE_HANDLER(kForward, Forward,
                       ffi::Ffi::Bind()
                           .Ctx<ffi::ThreadPool>()
                           .Arg<AnyBuffer>()  // features
                           .Arg<AnyBuffer>()  // boxes
                           .Arg<AnyBuffer>()  // box_indices
                           .RemainingArgs()   // count
                           .Ret<AnyBuffer>()  // output
                           .Attrs());
XLA_FFI_DEFINE_HANDLER(kFeatureGrad, FeatureGrad,
                       ffi::Ffi::Bind()
                           .Ctx<ffi::ThreadPool>()
                           .Arg<AnyBuffer>()  // grad_output
                           .Arg<AnyBuffer>()  // boxes
                           .Arg<AnyBuffer>()  // box_indices
                           .RemainingArgs()   // count
                           .Ret<AnyBuffer>()  // grad_features
                           .Attrs());
XLA_FFI_DEFINE_HANDLER(kBoxGrad, BoxGrad,
                       ffi::Ffi::Bind()
                           .Ctx<ffi::ThreadPool>()
                           .Arg<AnyBuffer>()  // grad_output
                           .Arg<AnyBuffer>()  // features
                           .Arg<AnyBuffer>()  // boxes
                           .Arg<AnyBuffer>()  // box_indices
                           .RemainingArgs()   // count
                           .Ret<AnyBuffer>()  // grad_boxes
                           .Attrs());

XLA_FFI_DEFINE_HANDLER(kTangent, Tangent,
                       ffi::Ffi::Bind()
                           .Ctx<ffi::ThreadPool>()
                           .Arg<AnyBuffer>()  // features
                           .Arg<AnyBuffer>()  // boxes
                           .Arg<AnyBuffer>()  // box_indices
                           .Arg<AnyBuffer>()  // direction
                           .RemainingArgs()   // count
                           .Ret<AnyBuffer>()  // tangent
                           .Attrs());
XLA_FFI_DEFINE_HANDLER(kTangentGrad, TangentGrad,
                       ffi::Ffi::Bind()
                           .Ctx<ffi::ThreadPool>()
                           .Arg<AnyBuffer>()  // grad_output
                           .Arg<AnyBuffer>()  // boxes
                           .Arg<AnyBuffer>()  // box_indices
                           .Arg<AnyBuffer>()  // direction
                           .RemainingArgs()   // count
                           .Ret<AnyBuffer>()  // grad_features
                           .Attrs());

XLA_FFI_REGISTER_HANDLER(ffi::GetXlaFfiApi(), kForwardCall, "Host", kForward);
XLA_FFI_REGISTER_HANDLER(ffi::GetXlaFfiApi(), kFeatureGradCall, "Host",
                         kFeatureGrad);
XLA_FFI_REGISTER_HANDLER(ffi::GetXlaFfiApi(), kBoxGradCall, "Host", kBoxGrad);
XLA_FFI_REGISTER_HANDLER(ffi::GetXlaFfiApi(), kTangentCall, "Host", kTangent);
XLA_FFI_REGISTER_HANDLER(ffi::GetXlaFfiApi(), kTangentGradCall, "Host",
                         kTangentGrad);

}  // namespace
}  // namespace tf_roialign
