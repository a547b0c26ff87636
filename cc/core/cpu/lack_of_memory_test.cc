// Memory that runs out anywhere in a call, on any of its threads, becomes an
// error of that call, and of no other.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <mutex>
#include <new>
#include <thread>
#include <utility>
#include <vector>

#include "cc/core/cpu/roi_align_cpu.h"
#include "cc/core/cpu/shared_work.h"
#include "cc/core/testing/cpu_call.h"
#include "cc/core/testing/expect.h"
#include "gtest/gtest.h"

namespace {

// Allocations until one fails; < 0: none does.
std::atomic<int64_t> left{-1};

void* Allocate(size_t size, size_t alignment) {
  if (left >= 0 && left-- == 0) throw std::bad_alloc();
  const size_t rounded = (size + alignment - 1) / alignment * alignment;
  void* data = std::aligned_alloc(alignment, rounded > 0 ? rounded : alignment);
  if (data == nullptr) throw std::bad_alloc();
  return data;
}

}  // namespace

void* operator new(size_t size) {
  return Allocate(size, alignof(std::max_align_t));
}
void* operator new(size_t size, std::align_val_t alignment) {
  return Allocate(size, static_cast<size_t>(alignment));
}
void operator delete(void* data) noexcept { std::free(data); }
void operator delete(void* data, size_t) noexcept { std::free(data); }
void operator delete(void* data, std::align_val_t) noexcept { std::free(data); }
void operator delete(void* data, size_t, std::align_val_t) noexcept {
  std::free(data);
}

namespace tf_roialign {
namespace {

template <typename T>
Call<T, float> CallOnMaps(Layout layout) {
  Call<T, float> call =
      RandomCall<T, float>(4, {{3, 4}, 2, true, layout}, {2, 70, 9},
                           {{9, 13, 0.5, 0.45}, {21, 30, 1.2, 1.2}});
  for (int64_t k = 0; k < 9; ++k) {
    call.map_indices.push_back(static_cast<int32_t>(k % 2));
  }
  return call;
}

// Calls check(run) for every function, in both layouts.
template <typename Check>
void ForEachCall(const Check& check) {
  for (const Layout layout : {Layout::kNHWC, Layout::kNCHW}) {
    ForEachFunction(CallOnMaps<float>(layout), CallOnMaps<int8_t>(layout),
                    [&](const char* name, const auto& run) {
                      SCOPED_TRACE(name);
                      check(run);
                    });
  }
}

void ExpectExhausted(const Status& status) {
  EXPECT_EQ(status.code(), ErrorCode::kResourceExhausted);
  EXPECT_EQ(status.text(),
            "There is not enough memory for the scratch space of RoIAlign with "
            "`output_size` [3, 4]");
}

TEST(LackOfMemory, OfAThreadIsTold) {
  const ParallelFor exhausted = [](int64_t, int64_t, const auto&) {
    throw std::bad_alloc();
  };
  ForEachCall([&](const auto& run) { ExpectExhausted(run(exhausted)); });
}

// Lets one allocation after the other fail until there is none that could.
template <typename Run>
void ExpectExhaustedByEach(const Run& run, const ParallelFor& threads) {
  int64_t in_call = 0;
  for (int64_t before = 0;; ++before) {
    Status status;
    bool is_of_test = false;
    left = before;
    try {
      status = run(threads);
    } catch (const std::bad_alloc&) {
      is_of_test = true;  // the outputs'
    }
    if (left.exchange(-1) >= 0) {
      ExpectOk(status);
      break;
    }
    if (is_of_test) continue;
    ++in_call;
    // A pool that cannot take a task leaves it to the calling thread.
    if (!status.ok()) ExpectExhausted(status);
  }
  EXPECT_GT(in_call, 10);
}

TEST(LackOfMemory, OfEachAllocationIsTold) {
  ForEachCall([&](const auto& run) { ExpectExhaustedByEach(run, Serial); });
}

// Threads of a host that can only be given tasks, and may be by one of them.
class Pool {
 public:
  ~Pool() {
    for (std::vector<std::thread> threads = Take(); !threads.empty();
         threads = Take()) {
      for (std::thread& thread : threads) thread.join();
    }
  }
  Schedule schedule() {
    return [this](std::function<void()> task) {
      std::lock_guard<std::mutex> lock(mutex_);
      threads_.emplace_back(std::move(task));
    };
  }

 private:
  std::vector<std::thread> Take() {
    std::lock_guard<std::mutex> lock(mutex_);
    return std::exchange(threads_, {});
  }

  std::mutex mutex_;
  std::vector<std::thread> threads_;
};

TEST(LackOfMemory, OfEachAllocationOfAnyThreadIsTold) {
  const ParallelFor threads =
      [](int64_t units, int64_t,
         const std::function<void(int64_t, int64_t)>& run) {
        Pool pool;
        ShareWork(3, pool.schedule(), units, /*unit_cost=*/1000000, run);
      };
  ForEachCall([&](const auto& run) { ExpectExhaustedByEach(run, threads); });
}

}  // namespace
}  // namespace tf_roialign
