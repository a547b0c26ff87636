// Calls of all ops at once, from many threads of a host, on the same inputs and
// with the same threads and memory, give what each gives alone. `make tsan`
// looks for races in it.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "cc/core/cpu/buffer_pool.h"
#include "cc/core/cpu/shared_work.h"
#include "cc/core/testing/op_call.h"
#include "cc/core/testing/threads.h"
#include "gtest/gtest.h"

namespace tf_roialign {
namespace {

constexpr int kCallers = 8;
constexpr int kWorkers = 4;

// An op, and what it gives alone.
struct KnownCall {
  KnownCall(const OpCase& which, const OpSizes& sizes)
      : call(MakeOpCall(which, sizes)), alone(call->Alone()) {}

  std::unique_ptr<AnyOpCall> call;
  OutputBytes alone;
};

// One that a thread does by itself, and one that threads share.
const OpSizes kSmall;
const OpSizes kShared = {{2, 40, 500}, {{18, 26, 1, 1}, {9, 13, 0.5, 0.5}}};

// What a host has for all its calls.
class Host {
 public:
  Host()
      : parallel_for_([this](int64_t units, int64_t unit_cost,
                             const std::function<void(int64_t, int64_t)>& run) {
          ShareWork(
              kWorkers,
              [this](Task task) {
                ++tasks_;
                workers_.schedule()(std::move(task));
              },
              units, unit_cost, run);
        }),
        buffers_(8 << 20) {}

  // Whether it gives what it gives alone, in memory that other calls have had.
  bool GivesTheSame(const KnownCall& known) {
    const std::vector<size_t>& bytes = known.call->output_bytes();
    std::vector<void*> outputs;
    for (const size_t each : bytes) outputs.push_back(buffers_.Allocate(each));
    const Status status =
        known.call->Run({parallel_for_, CurrentSimdLevel(), kWorkers}, outputs);
    bool same = status.ok();
    for (size_t i = 0; i < outputs.size(); ++i) {
      same =
          same && std::memcmp(outputs[i], known.alone[i].data(), bytes[i]) == 0;
      buffers_.Free(outputs[i]);
    }
    return same;
  }

  BufferPool& buffers() { return buffers_; }
  // That the workers were given.
  int64_t tasks() const { return tasks_; }

 private:
  std::atomic<int64_t> tasks_{0};
  WorkerPool workers_{kWorkers - 1};
  const ParallelFor parallel_for_;
  BufferPool buffers_;
};

// Calls run(caller) on as many threads, all at about the same time.
void OnCallers(const std::function<void(int)>& run) {
  std::atomic<int> missing{kCallers};
  std::vector<std::thread> callers;
  for (int i = 0; i < kCallers; ++i) {
    callers.emplace_back([&run, &missing, i] {
      --missing;
      while (missing > 0) std::this_thread::yield();
      run(i);
    });
  }
  for (std::thread& caller : callers) caller.join();
}

TEST(ConcurrentCalls, OfOneOpDoNotDisturbEachOther) {
  Host host;
  for (const OpCase& which : AllOpCases()) {
    SCOPED_TRACE(which.name());
    const KnownCall small(which, kSmall), shared(which, kShared);
    const int64_t tasks = host.tasks();
    std::atomic<int> wrong{0};
    OnCallers([&](int caller) {
      if (!host.GivesTheSame(caller % 2 == 0 ? shared : small)) ++wrong;
      if (!host.GivesTheSame(shared)) ++wrong;
    });
    EXPECT_EQ(wrong, 0);
    EXPECT_GT(host.tasks(), tasks) << "nothing was shared among threads";
  }
  EXPECT_EQ(host.buffers().usage().in_use, 0);
}

TEST(ConcurrentCalls, OfAllOpsDoNotDisturbEachOther) {
  Host host;
  std::vector<KnownCall> calls;
  for (const OpCase& which : AllOpCases()) {
    calls.emplace_back(which, calls.size() % 2 == 0 ? kSmall : kShared);
  }
  std::vector<std::atomic<int>> wrong(calls.size());
  OnCallers([&](int caller) {
    // Each begins with another op.
    for (size_t i = 0; i < calls.size(); ++i) {
      const size_t place =
          (i + caller * calls.size() / kCallers) % calls.size();
      if (!host.GivesTheSame(calls[place])) ++wrong[place];
      if (i % 8 == 0) host.buffers().Tick();
    }
  });
  for (size_t i = 0; i < calls.size(); ++i) {
    EXPECT_EQ(wrong[i], 0) << calls[i].call->which().name();
  }
  EXPECT_EQ(host.buffers().usage().in_use, 0);
}

}  // namespace
}  // namespace tf_roialign
