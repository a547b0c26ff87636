// The custom calls on XLA:CPU ("Host").

#include <cstdint>
#include <functional>
#include <utility>

#include "cc/core/base/parallel.h"
#include "cc/core/call/op.h"
#include "cc/core/cpu/context.h"
#include "cc/core/cpu/huge_pages.h"
#include "cc/core/cpu/shared_work.h"
#include "cc/xla/handler.h"
#include "xla/ffi/api/ffi.h"

namespace tf_roialign {
namespace {

namespace ffi = ::xla::ffi;

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

template <Op kOp>
ffi::Error HandleOnCpu(ffi::ThreadPool pool, ffi::RemainingArgs operands,
                       ffi::Result<ffi::AnyBuffer> result,
                       ffi::Dictionary attributes) {
  AdviseHugePages(result->untyped_data(), result->size_bytes());
  const ParallelFor threads = PoolThreads(&pool);
  return Handle<kOp>(CpuContext{threads}, operands, *result, attributes);
}

#define TF_ROIALIGN_REGISTER(op)                                             \
  XLA_FFI_DEFINE_HANDLER(handle_##op, HandleOnCpu<Op::op>,                   \
                         ffi::Ffi::Bind()                                    \
                             .Ctx<ffi::ThreadPool>()                         \
                             .RemainingArgs()                                \
                             .Ret<ffi::AnyBuffer>()                          \
                             .Attrs());                                      \
  XLA_FFI_REGISTER_HANDLER(ffi::GetXlaFfiApi(), InfoOf(Op::op).name, "Host", \
                           handle_##op);
TF_ROIALIGN_FOR_EACH_FLOAT_OP(TF_ROIALIGN_REGISTER)

}  // namespace
}  // namespace tf_roialign
