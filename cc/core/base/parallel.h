// How the core is given threads: the host runs ranges of units as it likes.

#ifndef TF_ROIALIGN_CC_CORE_BASE_PARALLEL_H_
#define TF_ROIALIGN_CC_CORE_BASE_PARALLEL_H_

#include <cstdint>
#include <functional>

namespace tf_roialign {

// Calls `run(begin, end)` for ranges that together cover [0, units) once,
// possibly at the same time, and returns when all are done. `unit_cost` is a
// unit's mean cost in nanoseconds, to decide whether threads pay.
using ParallelFor =
    std::function<void(int64_t units, int64_t unit_cost,
                       const std::function<void(int64_t, int64_t)>& run)>;

// Nanoseconds as parallel_for takes them.
inline int64_t UnitCost(double nanoseconds) {
  constexpr double kMost = 1e12;
  return static_cast<int64_t>(nanoseconds < kMost ? nanoseconds : kMost);
}

// Everything on the calling thread.
inline void Serial(int64_t units, int64_t /*unit_cost*/,
                   const std::function<void(int64_t, int64_t)>& run) {
  if (units > 0) run(0, units);
}

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_BASE_PARALLEL_H_
