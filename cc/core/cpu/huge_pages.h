// Large outputs in large pages.

#ifndef TF_ROIALIGN_CC_CORE_CPU_HUGE_PAGES_H_
#define TF_ROIALIGN_CC_CORE_CPU_HUGE_PAGES_H_

#include <cstddef>

#include "cc/core/base/visibility.h"

namespace tf_roialign {

// TensorFlow's CPU allocator gets a large output fresh from the system, and
// touching 100 MB of it for the first time costs 25 000 page faults, which take
// longer than the pooling. Asks for 2 MB pages instead, where the system gives
// them on advice. Never fails.
TF_ROIALIGN_API void AdviseHugePages(void* data, size_t bytes);

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CPU_HUGE_PAGES_H_
