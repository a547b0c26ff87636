#include "cc/core/cpu/shared_work.h"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <memory>
#include <mutex>
#include <new>

#include "cc/core/base/span.h"
#include "cc/core/cpu/tuning.h"
#include "cc/core/cpu/woken_threads.h"

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

// Units that threads take in blocks.
class Work : public std::enable_shared_from_this<Work> {
 public:
  Work(const WorkCut& cut, int64_t units, const Schedule& schedule,
       const Run& run)
      : cut_(cut),
        units_(units),
        schedule_(schedule),
        run_(run),
        unfinished_(units) {}

  // Runs blocks until there are none to take, and wakes threads that do the
  // same: each a few, since it takes long to wake one. A thread that comes too
  // late for any block touches neither `schedule` nor `run`, which may be gone
  // by then. `thread`: a number of its own, 0 for the calling one.
  void Help(int64_t thread) {
    int64_t finished = 0;
    Span block;
    while (Take(&block)) {
      if (finished == 0) WakeOthers(thread);
      try {
        run_(block.begin, block.end);
      } catch (const std::bad_alloc&) {
        // An exception may not leave a thread of the pool.
        out_of_memory_ = true;
      }
      finished += block.length();
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
  bool Take(Span* block) {
    int64_t begin = next_;
    do {
      if (begin >= units_) return false;
      *block = {begin, cut_.End(begin)};
    } while (!next_.compare_exchange_weak(begin, block->end));
    return true;
  }

  void WakeOthers(int64_t thread) {
    try {
      for (int64_t i = 1; i <= kWakes; ++i) {
        const int64_t other = thread * kWakes + i;
        if (other >= cut_.threads() || next_ >= units_) return;
        schedule_([work = shared_from_this(), other] { work->Help(other); });
      }
    } catch (const std::bad_alloc&) {
      // Fewer threads help.
    }
  }

  const WorkCut cut_;
  const int64_t units_;
  const Schedule& schedule_;
  const Run& run_;
  std::atomic<int64_t> next_{0};
  std::atomic<bool> out_of_memory_{false};
  std::mutex mutex_;
  Condition all_finished_;
  int64_t unfinished_;
};

}  // namespace

WorkCut::WorkCut(int64_t threads, int64_t units, int64_t unit_cost)
    : units_(units), threads_(1), least_(std::max<int64_t>(units, 1)) {
  const double cost = double(std::max<int64_t>(unit_cost, 1));
  const double woken = WokenThreads(threads, double(units) * cost);
  threads_ = std::max<int64_t>(std::min(static_cast<int64_t>(woken), units), 1);
  if (threads_ > 1) {
    least_ = static_cast<int64_t>(
        std::clamp(std::ceil(kBlockCost / cost), 1.0, double(units)));
  }
}

int64_t WorkCut::End(int64_t begin) const {
  const int64_t left = units_ - begin;
  const int64_t part = left / threads_ / kBlocksPerThread;
  return begin + std::min(left, std::max(part, least_));
}

void ShareWork(int64_t threads, const Schedule& schedule, int64_t units,
               int64_t unit_cost, const Run& run) {
  if (units <= 0) return;
  const WorkCut cut(threads, units, unit_cost);
  if (cut.threads() == 1) {
    run(0, units);
    return;
  }
  const auto work = std::make_shared<Work>(cut, units, schedule, run);
  work->Help(0);
  work->Wait();
}

}  // namespace tf_roialign
