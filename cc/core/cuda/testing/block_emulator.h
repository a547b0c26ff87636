// Runs kernels written against cc/core/cuda/portable.h on the host: blocks one
// after the other, a block's threads as fibers that take turns at barriers.
//
// Shared memory is a heap block of exactly the size asked for, so that
// AddressSanitizer sees what leaves it, and holds rubbish at first. Threads run
// in the order that is asked for: a result that depends on it lacks a barrier.
// Included by one source file of a program only.

#ifndef TF_ROIALIGN_CC_CORE_CUDA_TESTING_BLOCK_EMULATOR_H_
#define TF_ROIALIGN_CC_CORE_CUDA_TESTING_BLOCK_EMULATOR_H_

#include <ucontext.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <numeric>
#include <random>
#include <vector>

#include "cc/core/base/status.h"
#include "cc/core/cuda/platform/portable.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

namespace tf_roialign {

enum class ThreadOrder { kAscending, kDescending, kShuffled };

class BlockEmulator {
 public:
  explicit BlockEmulator(ThreadOrder order) : order_(order) {}

  template <typename Kernel>
  void Run(const Kernel& kernel, int64_t blocks, int shared_bytes) {
    for (int64_t block = 0; block < blocks; ++block) {
      RunBlock([](const void* k) { (*static_cast<const Kernel*>(k))(); },
               &kernel, block, Kernel::kThreads, shared_bytes);
    }
  }

  // What device code asks, of the thread that runs.
  static BlockEmulator& current() { return *current_; }
  int thread() const { return running_; }
  int64_t block() const { return block_; }
  unsigned char* shared() { return shared_.get(); }

  bool WaitForBlock(bool value) {
    any_ = any_ || value;
    fibers_[running_].state = State::kAtBlock;
    Leave();
    return released_any_;
  }

  uint32_t WaitForWarp(bool value) {
    Fiber& fiber = fibers_[running_];
    fiber.vote = value;
    fiber.state = State::kAtWarp;
    Leave();
    return fiber.ballot;
  }

 private:
  enum class State { kReady, kAtBlock, kAtWarp, kDone };

  static constexpr size_t kStackBytes = 128 << 10;

  struct Fiber {
    ucontext_t context;
    std::unique_ptr<char[]> stack;
    void* fake_stack = nullptr;
    State state = State::kReady;
    bool vote = false;
    uint32_t ballot = 0;
  };

  void RunBlock(void (*body)(const void*), const void* kernel, int64_t block,
                int threads, int shared_bytes) {
    current_ = this;
    body_ = body;
    kernel_ = kernel;
    block_ = block;
    any_ = false;
    shared_.reset(static_cast<unsigned char*>(
        std::aligned_alloc(16, std::max(16, shared_bytes))));
    std::memset(shared_.get(), 0xcd, std::max(16, shared_bytes));
    while (static_cast<int>(fibers_.size()) < threads) {
      fibers_.emplace_back();
      fibers_.back().stack.reset(new char[kStackBytes]);
    }
    for (int i = 0; i < threads; ++i) {
      Fiber& fiber = fibers_[i];
      fiber.state = State::kReady;
      fiber.fake_stack = nullptr;
      getcontext(&fiber.context);
      fiber.context.uc_stack.ss_sp = fiber.stack.get();
      fiber.context.uc_stack.ss_size = kStackBytes;
      fiber.context.uc_link = nullptr;
      makecontext(&fiber.context, &BlockEmulator::Main, 0);
    }
    std::vector<int> turns(threads);
    std::iota(turns.begin(), turns.end(), 0);
    if (order_ == ThreadOrder::kDescending) {
      std::reverse(turns.begin(), turns.end());
    }
    for (;;) {
      if (order_ == ThreadOrder::kShuffled) {
        std::shuffle(turns.begin(), turns.end(), random_);
      }
      bool ran = false;
      for (const int i : turns) {
        if (fibers_[i].state != State::kReady) continue;
        ran = true;
        running_ = i;
        Enter(&fibers_[i]);
      }
      if (!Release(threads) && !ran) break;
    }
    for (int i = 0; i < threads; ++i) {
      if (fibers_[i].state == State::kDone) continue;
      std::fprintf(stderr, "thread %d of block %ld waits for others forever\n",
                   i, static_cast<long>(block));
      std::abort();
    }
  }

  // Lets those go on for whom all others have come.
  bool Release(int threads) {
    bool released = false;
    for (int warp = 0; warp < threads; warp += cuda::kWarp) {
      uint32_t ballot = 0;
      int waiting = 0;
      for (int i = 0; i < cuda::kWarp; ++i) {
        waiting += fibers_[warp + i].state == State::kAtWarp;
        ballot |= uint32_t(fibers_[warp + i].vote) << i;
      }
      if (waiting < cuda::kWarp) continue;
      for (int i = 0; i < cuda::kWarp; ++i) {
        fibers_[warp + i].ballot = ballot;
        fibers_[warp + i].state = State::kReady;
      }
      released = true;
    }
    const auto at_block = [](const Fiber& fiber) {
      return fiber.state == State::kAtBlock;
    };
    if (std::all_of(fibers_.begin(), fibers_.begin() + threads, at_block)) {
      for (int i = 0; i < threads; ++i) fibers_[i].state = State::kReady;
      released_any_ = any_;
      any_ = false;
      released = true;
    }
    return released;
  }

  static void Main() {
    BlockEmulator& emulator = current();
    FinishSwitch(nullptr, /*from_scheduler=*/true);
    emulator.body_(emulator.kernel_);
    emulator.fibers_[emulator.running_].state = State::kDone;
    emulator.Leave();
  }

  void Enter(Fiber* fiber) {
    void* fake = nullptr;
    StartSwitch(&fake, fiber->stack.get(), kStackBytes);
    swapcontext(&scheduler_, &fiber->context);
    FinishSwitch(fake, /*from_scheduler=*/false);
  }

  void Leave() {
    Fiber& fiber = fibers_[running_];
    StartSwitch(fiber.state == State::kDone ? nullptr : &fiber.fake_stack,
                scheduler_stack_, scheduler_stack_bytes_);
    swapcontext(&fiber.context, &scheduler_);
    FinishSwitch(fibers_[running_].fake_stack, /*from_scheduler=*/true);
  }

#if defined(__SANITIZE_ADDRESS__)
  static void StartSwitch(void** fake, const void* bottom, size_t bytes) {
    __sanitizer_start_switch_fiber(fake, bottom, bytes);
  }
  static void FinishSwitch(void* fake, bool from_scheduler) {
    const void* bottom = nullptr;
    size_t bytes = 0;
    __sanitizer_finish_switch_fiber(fake, &bottom, &bytes);
    if (from_scheduler) {
      current().scheduler_stack_ = bottom;
      current().scheduler_stack_bytes_ = bytes;
    }
  }
#else
  static void StartSwitch(void**, const void*, size_t) {}
  static void FinishSwitch(void*, bool) {}
#endif

  struct Free {
    void operator()(unsigned char* memory) const { std::free(memory); }
  };

  static inline BlockEmulator* current_ = nullptr;

  ThreadOrder order_;
  std::mt19937 random_{17};
  std::vector<Fiber> fibers_;
  ucontext_t scheduler_;
  const void* scheduler_stack_ = nullptr;
  size_t scheduler_stack_bytes_ = 0;
  void (*body_)(const void*) = nullptr;
  const void* kernel_ = nullptr;
  int64_t block_ = 0;
  int running_ = 0;
  bool any_ = false;
  bool released_any_ = false;
  std::unique_ptr<unsigned char, Free> shared_;
};

// A device for cc/core/cuda/run.h.
class EmulatedDevice {
 public:
  explicit EmulatedDevice(ThreadOrder order) : emulator_(order) {}

  void* Allocate(size_t bytes) {
    if (out_of_memory) return nullptr;
    const size_t rounded = (bytes + 15) / 16 * 16;
    memory_.emplace_back(std::aligned_alloc(16, rounded), &std::free);
    std::memset(memory_.back().get(), 0xcd, rounded);
    return memory_.back().get();
  }

  template <typename Kernel>
  Status Launch(Kernel kernel, int64_t blocks, int shared_bytes) {
    if (shared_bytes > 48 << 10) {
      return Status::Internal("more than 48 KB of shared memory");
    }
    kernel.first_unit = 0;
    emulator_.Run(kernel, blocks, shared_bytes);
    ++launches;
    return {};
  }

  bool out_of_memory = false;
  int launches = 0;

 private:
  BlockEmulator emulator_;
  std::vector<std::unique_ptr<void, void (*)(void*)>> memory_;
};

namespace cuda {

inline int ThreadIndex() { return BlockEmulator::current().thread(); }
inline int64_t BlockIndex() { return BlockEmulator::current().block(); }
inline void SyncThreads() { BlockEmulator::current().WaitForBlock(false); }
inline bool SyncThreadsOr(bool value) {
  return BlockEmulator::current().WaitForBlock(value);
}
inline uint32_t Ballot(bool value) {
  return BlockEmulator::current().WaitForWarp(value);
}
inline unsigned char* SharedMemory() {
  return BlockEmulator::current().shared();
}

}  // namespace cuda
}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CUDA_TESTING_BLOCK_EMULATOR_H_
