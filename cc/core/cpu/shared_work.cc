#include "cc/core/cpu/shared_work.h"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <mutex>
#include <new>

#include "cc/core/cpu/tuning.h"

namespace tf_roialign {
namespace {

// std::condition_variable, whose wait() would ask for the libstdc++ of GCC 12
// where all else is content with that of GCC 11.
class Condition {
 public:
  Condition() = default;
  Condition(const Condition&) = delete;
  ~Condition() { pthread_cond_destroy(&condition_); }

  void NotifyOne() { pthread_cond_signal(&condition_); }
  template <typename IsMet>
  void Wait(std::unique_lock<std::mutex>& lock, const IsMet& is_met) {
    while (!is_met()) {
      pthread_cond_wait(&condition_, lock.mutex()->native_handle());
    }
  }

 private:
  pthread_cond_t condition_ = PTHREAD_COND_INITIALIZER;
};

using Run = std::function<void(int64_t, int64_t)>;

// Blocks of units that threads take one by one.
class Blocks {
 public:
  Blocks(int64_t units, int64_t count, const Run& run)
      : units_(units), count_(count), run_(run), unfinished_(count) {}

  // Runs blocks until there are none to take. A thread that comes too late for
  // any does not touch `run`, which may be gone by then.
  void Work() {
    int64_t finished = 0;
    for (int64_t i; (i = next_.fetch_add(1)) < count_; ++finished) {
      try {
        run_(Begin(i), Begin(i + 1));
      } catch (const std::bad_alloc&) {
        // An exception may not leave a thread of the pool.
        out_of_memory_ = true;
      }
    }
    if (finished == 0) return;
    std::lock_guard<std::mutex> lock(mutex_);
    unfinished_ -= finished;
    if (unfinished_ == 0) all_finished_.NotifyOne();
  }

  void Wait() {
    std::unique_lock<std::mutex> lock(mutex_);
    all_finished_.Wait(lock, [&] { return unfinished_ == 0; });
    if (out_of_memory_) throw std::bad_alloc();
  }

 private:
  // Without a product that may overflow.
  int64_t Begin(int64_t block) const {
    return units_ / count_ * block + std::min(units_ % count_, block);
  }

  const int64_t units_;
  const int64_t count_;
  const Run& run_;
  std::atomic<int64_t> next_{0};
  std::atomic<bool> out_of_memory_{false};
  std::mutex mutex_;
  Condition all_finished_;
  int64_t unfinished_;
};

}  // namespace

void ShareWork(int64_t threads, const Schedule& schedule, int64_t units,
               int64_t unit_cost, const Run& run) {
  if (units <= 0) return;
  const double cost = double(units) * double(std::max<int64_t>(unit_cost, 1));
  const int64_t count = static_cast<int64_t>(
      std::min({double(units), double(threads) * double(kBlocksPerThread),
                cost / double(kBlockCost)}));
  if (threads <= 1 || count <= 1) {
    run(0, units);
    return;
  }
  const auto blocks = std::make_shared<Blocks>(units, count, run);
  try {
    for (int64_t i = 1; i < std::min(threads, count); ++i) {
      schedule([blocks] { blocks->Work(); });
    }
  } catch (const std::bad_alloc&) {
    // Fewer threads help. Those that do read `run`: it has to stay.
  }
  blocks->Work();
  blocks->Wait();
}

}  // namespace tf_roialign
