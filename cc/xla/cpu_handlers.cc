// The custom calls on XLA:CPU ("Host").

#include <algorithm>
#include <cstdint>
#include <functional>
#include <thread>
#include <utility>

#include "cc/core/base/parallel.h"
#include "cc/core/call/op.h"
#include "cc/core/cpu/context.h"
#include "cc/core/cpu/huge_pages.h"
#include "cc/core/cpu/shared_work.h"
#include "cc/core/cpu/simd/level.h"
#include "cc/xla/handler.h"
#include "xla/ffi/api/ffi.h"

namespace tf_roialign {
namespace {

namespace ffi = ::xla::ffi;

// How many threads a pool has. TensorFlow 2.18's cannot tell: as many as there
// are processors, then, of which some shares of work may have to wait.
template <typename Pool>
auto NumThreads(const Pool& pool, int) -> decltype(pool.num_threads()) {
  return pool.num_threads();
}
template <typename Pool>
int64_t NumThreads(const Pool&, long) {
  return std::max<int64_t>(1, std::thread::hardware_concurrency());
}

// XLA:CPU's own threads, which are TensorFlow's. `pool` must outlive the
// result.
ParallelFor PoolThreads(ffi::ThreadPool* pool, int64_t count) {
  return [pool, count](int64_t units, int64_t unit_cost,
                       const std::function<void(int64_t, int64_t)>& run) {
    ShareWork(
        count,
        [pool](std::function<void()> task) { pool->Schedule(std::move(task)); },
        units, unit_cost, run);
  };
}

template <Op kOp, Maps kMaps>
ffi::Error HandleOnCpu(ffi::ThreadPool pool, ffi::RemainingArgs operands,
                       ffi::RemainingRets results, ffi::Dictionary attributes) {
  for (size_t i = 0; i < results.size(); ++i) {
    auto result = results.get<ffi::AnyBuffer>(i);
    if (!result) return result.error();
    AdviseHugePages((*result)->untyped_data(), (*result)->size_bytes());
  }
  HandledCall call;
  ffi::Error error = ReadCall(InfoOf(kOp, kMaps), /*on_host=*/true, operands,
                              results, attributes, &call);
  if (error.failure()) return error;
  const int64_t count = NumThreads(pool, 0);
  const ParallelFor threads = PoolThreads(&pool, count);
  return Handle<kOp>(CpuContext{threads, CurrentSimdLevel(), count}, call);
}

#define TF_ROIALIGN_REGISTER_FOR(op, maps)                          \
  XLA_FFI_DEFINE_HANDLER(handle_##op##_##maps,                      \
                         (HandleOnCpu<Op::op, Maps::maps>),         \
                         ffi::Ffi::Bind()                           \
                             .Ctx<ffi::ThreadPool>()                \
                             .RemainingArgs()                       \
                             .RemainingRets()                       \
                             .Attrs());                             \
  XLA_FFI_REGISTER_HANDLER(ffi::GetXlaFfiApi(),                     \
                           InfoOf(Op::op, Maps::maps).name, "Host", \
                           handle_##op##_##maps);
#define TF_ROIALIGN_REGISTER(op)     \
  TF_ROIALIGN_REGISTER_FOR(op, kOne) \
  TF_ROIALIGN_REGISTER_FOR(op, kMany)
TF_ROIALIGN_FOR_EACH_FLOAT_OP(TF_ROIALIGN_REGISTER)
TF_ROIALIGN_FOR_EACH_CODE_OP(TF_ROIALIGN_REGISTER)

}  // namespace
}  // namespace tf_roialign
