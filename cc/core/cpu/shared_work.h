// Shares work with the threads of a pool that can be given tasks and nothing
// else.

#ifndef TF_ROIALIGN_CC_CORE_CPU_SHARED_WORK_H_
#define TF_ROIALIGN_CC_CORE_CPU_SHARED_WORK_H_

#include <cstdint>
#include <functional>

#include "cc/core/base/visibility.h"

namespace tf_roialign {

// Runs the task at any time on any thread, or at once on this one.
using Schedule = std::function<void(std::function<void()> task)>;

// What a ParallelFor (parallel.h) does, with `threads` threads, this one among
// them. The calling thread takes blocks of units too, and waits only for blocks
// that another has begun. So it comes to an end even if no task ever runs, for
// example because all threads of the pool wait here themselves.
TF_ROIALIGN_API void ShareWork(
    int64_t threads, const Schedule& schedule, int64_t units, int64_t unit_cost,
    const std::function<void(int64_t, int64_t)>& run);

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CPU_SHARED_WORK_H_
