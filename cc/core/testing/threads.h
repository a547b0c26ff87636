// Threads for tests: those of a ParallelFor, and those of a host that can only
// be given tasks.

#ifndef TF_ROIALIGN_CC_CORE_TESTING_THREADS_H_
#define TF_ROIALIGN_CC_CORE_TESTING_THREADS_H_

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>
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

using Task = std::function<void()>;

// Starts a thread for each task. Those threads may ask for more.
class TaskThreads {
 public:
  ~TaskThreads() {
    for (std::vector<std::thread> threads = Take(); !threads.empty();
         threads = Take()) {
      for (std::thread& thread : threads) thread.join();
    }
  }

  std::function<void(Task)> schedule() {
    return [this](Task task) {
      std::lock_guard<std::mutex> lock(mutex_);
      threads_.emplace_back(std::move(task));
      ++count_;
    };
  }

  size_t count() const {
    std::lock_guard<std::mutex> lock(mutex_);
    return count_;
  }

 private:
  std::vector<std::thread> Take() {
    std::lock_guard<std::mutex> lock(mutex_);
    return std::exchange(threads_, {});
  }

  mutable std::mutex mutex_;
  std::vector<std::thread> threads_;
  size_t count_ = 0;
};

// A number of threads that take tasks from a queue, as a host's pool does.
class WorkerPool {
 public:
  explicit WorkerPool(int count) {
    for (int i = 0; i < count; ++i) {
      threads_.emplace_back([this] { Work(); });
    }
  }
  // After the last task.
  ~WorkerPool() {
    for (size_t i = 0; i < threads_.size(); ++i) Add(nullptr);
    for (std::thread& thread : threads_) thread.join();
  }

  std::function<void(Task)> schedule() {
    return [this](Task task) { Add(std::move(task)); };
  }

 private:
  void Add(Task task) {
    std::lock_guard<std::mutex> lock(mutex_);
    tasks_.push_back(std::move(task));
    comes_.notify_one();
  }

  void Work() {
    while (true) {
      Task task;
      {
        std::unique_lock<std::mutex> lock(mutex_);
        comes_.wait(lock, [this] { return !tasks_.empty(); });
        task = std::move(tasks_.front());
        tasks_.pop_front();
      }
      if (task == nullptr) return;
      task();
    }
  }

  std::mutex mutex_;
  std::condition_variable comes_;
  std::deque<Task> tasks_;
  std::vector<std::thread> threads_;
};

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_TESTING_THREADS_H_
