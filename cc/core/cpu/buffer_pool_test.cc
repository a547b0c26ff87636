#include "cc/core/cpu/buffer_pool.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <random>
#include <thread>
#include <utility>
#include <vector>

namespace tf_roialign {
namespace {

constexpr int64_t kMegabyte = 1 << 20;

TEST(BufferPoolTest, GivesOutAgainWhatWasFreed) {
  BufferPool pool(64 * kMegabyte);
  void* first = pool.Allocate(10 * kMegabyte);
  ASSERT_NE(first, nullptr);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(first) % BufferPool::kAlignment, 0u);
  std::memset(first, 1, 10 * kMegabyte);
  EXPECT_EQ(pool.usage().in_use, 10 * kMegabyte);
  EXPECT_EQ(pool.usage().waiting, 0);
  pool.Free(first);
  EXPECT_EQ(pool.usage().in_use, 0);
  EXPECT_EQ(pool.usage().waiting, 10 * kMegabyte);

  // Nearly as large is large enough; much too large is too large.
  void* smaller = pool.Allocate(9 * kMegabyte);
  EXPECT_EQ(smaller, first);
  pool.Free(smaller);
  void* small = pool.Allocate(5 * kMegabyte);
  EXPECT_NE(small, first);
  void* larger = pool.Allocate(11 * kMegabyte);
  EXPECT_NE(larger, first);
  pool.Free(small);
  pool.Free(larger);
  pool.Free(nullptr);
}

TEST(BufferPoolTest, TheSmallestThatServes) {
  BufferPool pool(64 * kMegabyte);
  void* large = pool.Allocate(12 * kMegabyte);
  void* fitting = pool.Allocate(10 * kMegabyte);
  pool.Free(fitting);
  pool.Free(large);
  EXPECT_EQ(pool.Allocate(10 * kMegabyte), fitting);
  EXPECT_EQ(pool.Allocate(10 * kMegabyte), large);
  pool.Free(fitting);
  pool.Free(large);
}

TEST(BufferPoolTest, KeepsNoMoreThanItsLimit) {
  BufferPool pool(20 * kMegabyte);
  std::vector<void*> buffers;
  for (int i = 0; i < 5; ++i) buffers.push_back(pool.Allocate(8 * kMegabyte));
  EXPECT_EQ(pool.usage().in_use, 40 * kMegabyte);
  for (void* buffer : buffers) {
    pool.Free(buffer);
    EXPECT_LE(pool.usage().waiting, 20 * kMegabyte);
  }
  EXPECT_EQ(pool.usage().waiting, 16 * kMegabyte);
  // Those freed last are still there.
  EXPECT_EQ(pool.Allocate(8 * kMegabyte), buffers[4]);
  EXPECT_EQ(pool.Allocate(8 * kMegabyte), buffers[3]);
  pool.Free(buffers[3]);
  pool.Free(buffers[4]);

  pool.Free(pool.Allocate(30 * kMegabyte));  // larger than all that may wait
  EXPECT_EQ(pool.usage().waiting, 16 * kMegabyte);

  pool.SetLimit(10 * kMegabyte);
  EXPECT_EQ(pool.usage().waiting, 8 * kMegabyte);
  pool.SetLimit(0);
  EXPECT_EQ(pool.usage().waiting, 0);
  pool.Free(pool.Allocate(kMegabyte));
  EXPECT_EQ(pool.usage().waiting, 0);
  pool.SetLimit(-1);
  EXPECT_EQ(pool.usage().limit, 0);
}

TEST(BufferPoolTest, ReturnsWhatNobodyAskedFor) {
  BufferPool pool(64 * kMegabyte);
  void* early = pool.Allocate(8 * kMegabyte);
  void* late = pool.Allocate(4 * kMegabyte);
  std::memset(late, 1, 4 * kMegabyte);
  pool.Free(early);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(pool.Tick());
  pool.Free(late);
  for (int i = 3; i < BufferPool::kTicksKept - 1; ++i) {
    EXPECT_TRUE(pool.Tick());
    EXPECT_EQ(pool.usage().waiting, 12 * kMegabyte);
  }
  EXPECT_TRUE(pool.Tick());
  EXPECT_EQ(pool.usage().waiting, 4 * kMegabyte);

  // The system may have taken its pages; it is as good as new all the same.
  void* again = pool.Allocate(4 * kMegabyte);
  EXPECT_EQ(again, late);
  std::memset(again, 2, 4 * kMegabyte);
  EXPECT_FALSE(pool.Tick());
  pool.Free(again);
  for (int i = 0; i < BufferPool::kTicksKept - 1; ++i) EXPECT_TRUE(pool.Tick());
  EXPECT_FALSE(pool.Tick());
  EXPECT_EQ(pool.usage().waiting, 0);
}

TEST(BufferPoolTest, SizesAreRoundedByAnEighthAtMost) {
  BufferPool pool(0);
  for (size_t bytes = 1; bytes < (size_t{1} << 33); bytes = bytes * 9 / 8 + 1) {
    void* buffer = pool.Allocate(bytes);
    const int64_t got = pool.usage().in_use;
    EXPECT_GE(got, int64_t(bytes));
    EXPECT_LE(got, int64_t(bytes + bytes / 8 + BufferPool::kAlignment));
    pool.Free(buffer);
  }
}

TEST(BufferPoolTest, HasNoMemoryForTheImpossible) {
  BufferPool pool(64 * kMegabyte);
  EXPECT_EQ(pool.Allocate(SIZE_MAX), nullptr);
  EXPECT_EQ(pool.Allocate(SIZE_MAX / 2), nullptr);
  EXPECT_EQ(pool.usage().in_use, 0);
}

// Runs it in a child process; returns its exit status.
template <typename Run>
int InAChild(const Run& run) {
  const pid_t child = fork();
  if (child == 0) _exit(run());
  int status = -1;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(BufferPoolTest, WhatWaitsIsReturnedWhereMemoryRunsOut) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "AddressSanitizer needs all addresses";
#endif
  EXPECT_EQ(InAChild([] {
              BufferPool pool(2048 * kMegabyte);
              pool.Free(pool.Allocate(1024 * kMegabyte));
              // Room for another half, and not while the first one waits.
              rlimit limit = {};
              long pages = 0;
              if (std::FILE* file = std::fopen("/proc/self/statm", "r")) {
                if (std::fscanf(file, "%ld", &pages) != 1) return 1;
                std::fclose(file);
              }
              limit.rlim_cur = limit.rlim_max =
                  rlim_t(pages) * rlim_t(sysconf(_SC_PAGESIZE)) +
                  512 * kMegabyte;
              if (setrlimit(RLIMIT_AS, &limit) != 0) return 2;
              if (pool.Allocate(700 * kMegabyte) == nullptr) return 3;
              return pool.usage().waiting == 0 ? 0 : 4;
            }),
            0);
}

TEST(BufferPoolTest, AChildBeginsWithNothingThatWaits) {
  BufferPool& pool = BufferPool::Instance();
  pool.SetLimit(64 * kMegabyte);
  void* used = pool.Allocate(4 * kMegabyte);
  std::memset(used, 7, 4 * kMegabyte);
  pool.Free(pool.Allocate(8 * kMegabyte));
  EXPECT_EQ(pool.usage().waiting, 8 * kMegabyte);
  EXPECT_EQ(InAChild([&] {
              if (pool.usage().waiting != 0) return 1;
              if (static_cast<char*>(used)[kMegabyte] != 7) return 2;
              void* own = pool.Allocate(8 * kMegabyte);
              if (own == nullptr) return 3;
              std::memset(own, 1, 8 * kMegabyte);
              pool.Free(own);
              pool.Free(used);
              return pool.usage().in_use == 0 ? 0 : 4;
            }),
            0);
  EXPECT_EQ(pool.usage().waiting, 8 * kMegabyte);
  pool.Free(used);
  pool.SetLimit(0);
}

TEST(BufferPoolTest, ThreadsShareIt) {
  BufferPool pool(32 * kMegabyte);
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&pool, t] {
      std::minstd_rand random(t + 1);
      std::vector<std::pair<char*, size_t>> mine;
      for (int i = 0; i < 500; ++i) {
        const size_t bytes = BufferPool::kLeastBytes + random() % kMegabyte;
        auto* buffer = static_cast<char*>(pool.Allocate(bytes));
        buffer[0] = buffer[bytes - 1] = static_cast<char>(t);
        mine.push_back({buffer, bytes});
        if (mine.size() < 4) continue;
        const auto [oldest, size] = mine.front();
        EXPECT_EQ(oldest[0], t);
        EXPECT_EQ(oldest[size - 1], t);
        pool.Free(oldest);
        mine.erase(mine.begin());
        if (i % 50 == 0) pool.Tick();
      }
      for (const auto& [buffer, bytes] : mine) pool.Free(buffer);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(pool.usage().in_use, 0);
  EXPECT_LE(pool.usage().waiting, 32 * kMegabyte);
}

TEST(BufferPoolTest, DefaultLimitIsBounded) {
  EXPECT_GT(BufferPool::DefaultLimit(), 0);
  EXPECT_LE(BufferPool::DefaultLimit(), 1024 * kMegabyte);
}

}  // namespace
}  // namespace tf_roialign
