// Memory that runs out anywhere in a call, on any of its threads, becomes an
// error of that call, and of no other: nothing is lost, and the next call gives
// what it would have given.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <vector>

#include "cc/core/cpu/buffer_pool.h"
#include "cc/core/cpu/shared_work.h"
#include "cc/core/testing/counting_new.h"
#include "cc/core/testing/expect.h"
#include "cc/core/testing/op_call.h"
#include "cc/core/testing/threads.h"
#include "gtest/gtest.h"

namespace tf_roialign {
namespace {

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
  for (const OpCase& which : AllOpCases()) {
    SCOPED_TRACE(which.name());
    const auto call = MakeOpCall(which);
    OutputBytes outputs = call->MakeOutputs();
    ExpectExhausted(call->Run({exhausted}, AnyOpCall::PointersTo(&outputs)));
  }
}

// A call of an op of which allocations fail.
class FailingCall {
 public:
  FailingCall(const OpCase& which, const ParallelFor& threads, int64_t count)
      : call_(MakeOpCall(which)),
        alone_(call_->Alone()),
        outputs_(call_->MakeOutputs()),
        pointers_(AnyOpCall::PointersTo(&outputs_)),
        context_{threads, CurrentSimdLevel(), count} {}

  // Lets one allocation after the other fail until there is none that could.
  void ExpectExhaustedByEach(Failing failing) {
    int64_t told = 0;
    for (int64_t before = 0; !testing::Test::HasFailure(); ++before) {
      FailAfter(before, failing);
      const bool succeeded = Run(failing);
      if (!has_failed_) break;
      told += !succeeded;
      // As if nothing had been.
      EXPECT_TRUE(Run(failing));
    }
    EXPECT_GT(told, 10);
  }

 private:
  // Returns whether it succeeded: a pool that cannot take a task leaves it to
  // the calling thread. Allocations no longer fail afterwards.
  bool Run(Failing failing) {
    const int64_t blocks = LiveBlocks();
    bool has_thrown = false;
    std::optional<Status> status;
    try {
      status = call_->Run(context_, pointers_);
    } catch (...) {
      has_thrown = true;
    }
    has_failed_ = StopFailing();
    EXPECT_FALSE(has_thrown);
    if (has_thrown) return false;
    const bool succeeded = status->ok();
    if (succeeded) {
      for (size_t i = 0; i < outputs_.size(); ++i) {
        ExpectSameBits(outputs_[i], alone_[i]);
      }
    } else if (failing == Failing::kOne) {
      ExpectExhausted(*status);
    } else {
      EXPECT_EQ(status->code(), ErrorCode::kResourceExhausted);
      EXPECT_EQ(status->text(), "out of memory");
    }
    status.reset();
    EXPECT_EQ(LiveBlocks(), blocks);
    return succeeded;
  }

  const std::unique_ptr<AnyOpCall> call_;
  const OutputBytes alone_;
  OutputBytes outputs_;
  const std::vector<void*> pointers_;
  const CpuContext context_;
  bool has_failed_ = false;
};

TEST(LackOfMemory, OfEachAllocationIsTold) {
  const ParallelFor serial = Serial;
  for (const OpCase& which : AllOpCases()) {
    SCOPED_TRACE(which.name());
    FailingCall(which, serial, 1).ExpectExhaustedByEach(Failing::kOne);
  }
}

// Not even the words of the error can be had.
TEST(LackOfMemory, OfAllMemoryIsTold) {
  const ParallelFor serial = Serial;
  for (const OpCase& which : AllOpCases()) {
    SCOPED_TRACE(which.name());
    FailingCall(which, serial, 1).ExpectExhaustedByEach(Failing::kAllFromThen);
  }
}

TEST(LackOfMemory, OfEachAllocationOfAnyThreadIsTold) {
  const ParallelFor threads =
      [](int64_t units, int64_t,
         const std::function<void(int64_t, int64_t)>& run) {
        TaskThreads pool;
        ShareWork(3, pool.schedule(), units, /*unit_cost=*/1000000, run);
      };
  for (const OpCase& which : AllOpCases()) {
    SCOPED_TRACE(which.name());
    FailingCall(which, threads, 3).ExpectExhaustedByEach(Failing::kOne);
    FailingCall(which, threads, 3).ExpectExhaustedByEach(Failing::kAllFromThen);
  }
}

// Pages of this process's addresses.
int64_t MappedPages() {
  long pages = 0;
  if (std::FILE* file = std::fopen("/proc/self/statm", "r")) {
    EXPECT_EQ(std::fscanf(file, "%ld", &pages), 1);
    std::fclose(file);
  }
  return pages;
}

TEST(LackOfMemory, OfTheBufferPoolIsTold) {
  constexpr size_t kMegabyte = 1 << 20;
  const int64_t blocks = LiveBlocks();
  int64_t refused = 0;
  const int64_t pages = MappedPages();
  for (int64_t before = 0, has_failed = true; has_failed; ++before) {
    BufferPool pool(64 * kMegabyte);
    FailAfter(before, Failing::kOne);
    for (const size_t size : {20, 20, 40}) {
      void* first = pool.Allocate(size * kMegabyte);
      void* second = pool.Allocate(size * kMegabyte);
      refused += first == nullptr;
      refused += second == nullptr;
      pool.Free(first);
      pool.Free(second);
    }
    has_failed = StopFailing();
    const BufferPool::Usage usage = pool.usage();
    EXPECT_EQ(usage.in_use, 0);
    EXPECT_LE(usage.waiting, usage.limit);
  }
  EXPECT_GT(refused, 1);
  EXPECT_EQ(LiveBlocks(), blocks);
  EXPECT_LT((MappedPages() - pages) * 4096, int64_t(10 * kMegabyte));
}

}  // namespace
}  // namespace tf_roialign
