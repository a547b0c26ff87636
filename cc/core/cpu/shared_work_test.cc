#include "cc/core/cpu/shared_work.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <new>
#include <vector>

#include "cc/core/cpu/tuning.h"
#include "cc/core/testing/threads.h"

namespace tf_roialign {
namespace {

constexpr int64_t kDear = 1000000;  // nanoseconds: every unit is worth a block

std::vector<int> CountVisits(int64_t threads, const Schedule& schedule,
                             int64_t units, int64_t unit_cost) {
  std::vector<std::atomic<int>> visits(units);
  ShareWork(threads, schedule, units, unit_cost,
            [&](int64_t first, int64_t last) {
              EXPECT_LT(first, last);
              EXPECT_LE(last, units);
              for (int64_t i = first; i < std::min(last, units); ++i) {
                ++visits[i];
              }
            });
  return {visits.begin(), visits.end()};
}

TEST(SharedWork, EveryUnitRunsOnce) {
  for (int64_t units : {0, 1, 2, 3, 7, 8, 9, 100, 1001}) {
    for (int64_t threads : {0, 1, 2, 3, 8, 200}) {
      for (int64_t cost : {int64_t(0), int64_t(50), int64_t(3000), kDear}) {
        TaskThreads pool;
        EXPECT_EQ(CountVisits(threads, pool.schedule(), units, cost),
                  std::vector<int>(units, 1))
            << units << " units, " << threads << " threads";
      }
    }
  }
}

TEST(SharedWork, AsksForOneThreadLessThanThereAre) {
  for (int64_t threads : {2, 4, 30}) {
    TaskThreads pool;
    std::atomic<int64_t> here{0};
    // Nobody leaves before all have come.
    ShareWork(threads, pool.schedule(), 1000, kDear, [&](int64_t, int64_t) {
      ++here;
      while (here < threads) std::this_thread::yield();
    });
    EXPECT_EQ(pool.count(), static_cast<size_t>(threads - 1));
  }
}

TEST(SharedWork, AsksForAsManyThreadsAsPay) {
  const auto threads = [](double cost) {
    return WorkCut(96, 1000, static_cast<int64_t>(cost / 1000)).threads();
  };
  EXPECT_EQ(threads(0.9 * kSecondThreadCost), 1);
  EXPECT_EQ(threads(10.5 * kThreadCost), 10);
  EXPECT_EQ(threads(1000 * kThreadCost), 96);
}

TEST(SharedWork, BlocksBecomeSmaller) {
  const int64_t units = 5000;
  const WorkCut cut(7, units, kDear);
  int64_t last = units;
  for (int64_t begin = 0; begin < units; begin = cut.End(begin)) {
    const int64_t length = cut.End(begin) - begin;
    EXPECT_GE(length, 1);
    EXPECT_LE(length, last);
    last = length;
  }
  EXPECT_EQ(last, 1);
}

TEST(SharedWork, CheapWorkStaysHere) {
  TaskThreads pool;
  CountVisits(4, pool.schedule(), 100, 10);
  EXPECT_EQ(pool.count(), 0u);
}

// A pool whose threads are all taken: the tasks run after everything is over.
TEST(SharedWork, EndsWithoutHelpAndForgivesLateTasks) {
  std::vector<std::function<void()>> late;
  const Schedule never = [&](std::function<void()> task) {
    late.push_back(std::move(task));
  };
  EXPECT_EQ(CountVisits(4, never, 50, kDear), std::vector<int>(50, 1));
  ASSERT_EQ(late.size(), 3u);
  for (const auto& task : late) task();  // touches nothing that is gone
}

TEST(SharedWork, TasksMayRunAtOnce) {
  const Schedule here = [](std::function<void()> task) { task(); };
  EXPECT_EQ(CountVisits(4, here, 50, kDear), std::vector<int>(50, 1));
}

TEST(SharedWork, MayBeNested) {
  TaskThreads pool;
  std::atomic<int> visits{0};
  ShareWork(3, pool.schedule(), 6, kDear, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) {
      ShareWork(3, pool.schedule(), 5, kDear, [&](int64_t a, int64_t b) {
        visits += static_cast<int>(b - a);
      });
    }
  });
  EXPECT_EQ(visits, 30);
}

TEST(SharedWork, LackOfMemoryReachesTheCaller) {
  for (int64_t bad : {0, 37, 99}) {
    TaskThreads pool;
    std::atomic<int> visits{0};
    const auto run = [&](int64_t first, int64_t last) {
      visits += static_cast<int>(last - first);
      if (first <= bad && bad < last) throw std::bad_alloc();
    };
    EXPECT_THROW(ShareWork(4, pool.schedule(), 100, kDear, run),
                 std::bad_alloc);
    EXPECT_EQ(visits, 100);  // nobody was left behind
  }
}

// A task that was given out before may still be at work: nobody may leave then.
TEST(SharedWork, LackOfMemoryForATaskIsHelpThatDoesNotCome) {
  for (int given : {0, 1, 2}) {
    TaskThreads pool;
    const Schedule take = pool.schedule();
    int left = given;
    const Schedule limited = [&](std::function<void()> task) {
      if (left-- == 0) throw std::bad_alloc();
      take(std::move(task));
    };
    EXPECT_EQ(CountVisits(4, limited, 100, kDear), std::vector<int>(100, 1));
    EXPECT_EQ(pool.count(), static_cast<size_t>(given));
  }
}

TEST(SharedWork, NoOverflow) {
  int64_t seen = 0;
  const int64_t units = int64_t(1) << 62;
  std::mutex mutex;
  TaskThreads pool;
  ShareWork(3, pool.schedule(), units, int64_t(1) << 40,
            [&](int64_t first, int64_t last) {
              std::lock_guard<std::mutex> lock(mutex);
              seen += last - first;
            });
  EXPECT_EQ(seen, units);
}

}  // namespace
}  // namespace tf_roialign
