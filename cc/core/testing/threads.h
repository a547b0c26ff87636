// A ParallelFor of threads.

#ifndef TF_ROIALIGN_CC_CORE_TESTING_THREADS_H_
#define TF_ROIALIGN_CC_CORE_TESTING_THREADS_H_

#include <cstdint>
#include <functional>
#include <thread>
#include <vector>

#include "cc/core/base/parallel.h"

namespace tf_roialign {

// They take the units in pieces of any size.
inline ParallelFor Threads(int count) {
  return [count](int64_t units, int64_t /*cost*/,
                 const std::function<void(int64_t, int64_t)>& run) {
    std::vector<std::thread> threads;
    for (int i = 0; i < count; ++i) {
      const int64_t first = units * i / count;
      const int64_t last = units * (i + 1) / count;
      if (first < last) threads.emplace_back([=] { run(first, last); });
    }
    for (std::thread& thread : threads) thread.join();
  };
}

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_TESTING_THREADS_H_
