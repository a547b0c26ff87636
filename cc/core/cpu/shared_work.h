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

// How units are shared among threads: which are worth their while, and in what
// blocks they take them. The blocks become smaller, so that all threads end at
// about the same time.
class WorkCut {
 public:
  WorkCut(int64_t threads, int64_t units, int64_t unit_cost);

  // With the calling one; 1: it does all.
  int64_t threads() const { return threads_; }
  // Where the block ends that begins at `begin`, less than the units.
  int64_t End(int64_t begin) const;

 private:
  int64_t units_;
  int64_t threads_;
  int64_t least_;  // units of a block
};

// What a ParallelFor (parallel.h) does, with `threads` threads, this one among
// them. The calling thread takes blocks of units too, and waits only for blocks
// that another has begun. So it comes to an end even if no task ever runs, for
// example because all threads of the pool wait here themselves. `schedule` is
// called by those of the threads that have begun a block, too.
TF_ROIALIGN_API void ShareWork(
    int64_t threads, const Schedule& schedule, int64_t units, int64_t unit_cost,
    const std::function<void(int64_t, int64_t)>& run);

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CPU_SHARED_WORK_H_
