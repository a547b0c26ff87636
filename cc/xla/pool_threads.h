// The threads of XLA:CPU for the core.

#ifndef TF_ROIALIGN_CC_XLA_POOL_THREADS_H_
#define TF_ROIALIGN_CC_XLA_POOL_THREADS_H_

#include "cc/core/parallel.h"
#include "xla/ffi/api/ffi.h"

namespace tf_roialign {

// The calling thread works too, and waits only for units that another thread
// has begun. So it makes progress where all threads of the pool are busy,
// perhaps with handlers that wait as well. `pool` must outlive the result.
ParallelFor PoolThreads(::xla::ffi::ThreadPool* pool);

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_XLA_POOL_THREADS_H_
