// How many threads a call wakes.

#ifndef TF_ROIALIGN_CC_CORE_CPU_WOKEN_THREADS_H_
#define TF_ROIALIGN_CC_CORE_CPU_WOKEN_THREADS_H_

#include <algorithm>
#include <cstdint>

#include "cc/core/cpu/tuning.h"

namespace tf_roialign {

// Of `threads`, as many as work of this cost, in nanoseconds, is worth; the
// calling one is among them.
inline double WokenThreads(int64_t threads, double cost) {
  if (cost < kSecondThreadCost) return 1;
  return std::min(double(threads), cost / kThreadCost);
}

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CPU_WOKEN_THREADS_H_
