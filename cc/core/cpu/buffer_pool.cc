#include "cc/core/cpu/buffer_pool.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <new>

#include "cc/core/cpu/huge_pages.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(data, bytes)
#define ASAN_UNPOISON_MEMORY_REGION(data, bytes)
#endif

namespace tf_roialign {
namespace {

constexpr size_t kHugePage = 2 << 20;

// Where a huge page may begin, if it is as large as one. Null if there is no
// memory.
void* MapPages(size_t bytes) {
  const size_t spare = bytes >= kHugePage ? kHugePage : 0;
  if (bytes > SIZE_MAX - spare) return nullptr;
  void* mapped = mmap(nullptr, bytes + spare, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) return nullptr;
  if (spare == 0) return mapped;
  char* const begin = static_cast<char*>(mapped);
  const size_t before = -reinterpret_cast<uintptr_t>(begin) % kHugePage;
  if (before > 0) munmap(begin, before);
  if (before < spare) munmap(begin + before + bytes, spare - before);
  AdviseHugePages(begin + before, bytes);
  return begin + before;
}

void UnmapPages(void* data, size_t bytes) {
  ASAN_UNPOISON_MEMORY_REGION(data, bytes);
  munmap(data, bytes);
}

// The number in a file of one; 0 if there is none.
double NumberIn(const char* path) {
  double number = 0;
  if (std::FILE* file = std::fopen(path, "r")) {
    if (std::fscanf(file, "%lf", &number) != 1) number = 0;
    std::fclose(file);
  }
  return number;
}

int64_t LimitOfInstance() {
  constexpr double kMost = int64_t{1} << 60;
  if (const char* text = std::getenv("TF_ROIALIGN_KEPT_MEMORY_MB")) {
    char* end;
    const double megabytes = std::strtod(text, &end);
    if (*text == '\0') return BufferPool::DefaultLimit();
    if (end != text && *end == '\0' && megabytes >= 0) {
      return static_cast<int64_t>(std::min(megabytes * double(1 << 20), kMost));
    }
    std::fprintf(stderr,
                 "tf_roialign: TF_ROIALIGN_KEPT_MEMORY_MB is \"%s\", which is "
                 "not a number of megabytes; using the default.\n",
                 text);
  }
  return BufferPool::DefaultLimit();
}

}  // namespace

BufferPool& BufferPool::Instance() {
  static BufferPool* const pool = [] {
    auto* made = new BufferPool(LimitOfInstance());
    made->is_instance_ = true;
    HandleForks();
    return made;
  }();
  return *pool;
}

int64_t BufferPool::DefaultLimit() {
  double memory =
      double(sysconf(_SC_PHYS_PAGES)) * double(sysconf(_SC_PAGESIZE));
  // What a container may have.
  for (const char* path : {"/sys/fs/cgroup/memory.max",
                           "/sys/fs/cgroup/memory/memory.limit_in_bytes"}) {
    const double most = NumberIn(path);
    if (most > 0) memory = std::min(memory, most);
  }
  return static_cast<int64_t>(
      std::clamp(memory / 16, 0.0, double(int64_t{1} << 30)));
}

BufferPool::~BufferPool() { Shrink(0); }

// Sizes in steps of an eighth at most, so that a request often finds a buffer
// of another that was nearly as large.
size_t BufferPool::SizeOf(size_t bytes) {
  size_t step = kAlignment;
  while (step < kHugePage && step * 16 <= bytes) step *= 2;
  if (bytes > SIZE_MAX - step) return bytes;
  return (bytes + step - 1) / step * step;
}

void* BufferPool::Allocate(size_t bytes) {
  const size_t size = SizeOf(std::max<size_t>(bytes, 1));
  std::unique_lock<std::mutex> lock(mutex_);
  if (void* data = TakeWaiting(size)) return data;
  lock.unlock();
  void* data = MapPages(size);
  lock.lock();
  if (data == nullptr) {
    // What waits may be what is missing.
    Shrink(0);
    data = MapPages(size);
    if (data == nullptr) return nullptr;
  }
  try {
    in_use_.emplace(data, size);
  } catch (const std::bad_alloc&) {
    UnmapPages(data, size);
    return nullptr;
  }
  in_use_bytes_ += int64_t(size);
  return data;
}

void BufferPool::Free(void* data) {
  if (data == nullptr) return;
  std::unique_lock<std::mutex> lock(mutex_);
  const auto found = in_use_.find(data);
  const size_t bytes = found->second;
  in_use_.erase(found);
  in_use_bytes_ -= int64_t(bytes);
  bool waits = int64_t(bytes) <= limit_;
  if (waits) {
    Shrink(limit_ - int64_t(bytes));
    try {
      waiting_.push_back({data, bytes, 0});
    } catch (const std::bad_alloc&) {
      waits = false;
    }
  }
  if (!waits) {
    lock.unlock();
    UnmapPages(data, bytes);
    return;
  }
  waiting_bytes_ += int64_t(bytes);
  ASAN_POISON_MEMORY_REGION(data, bytes);
  KeepTicking();
}

BufferPool::Usage BufferPool::usage() {
  std::lock_guard<std::mutex> lock(mutex_);
  return {in_use_bytes_, waiting_bytes_, limit_};
}

void BufferPool::SetLimit(int64_t limit) {
  std::lock_guard<std::mutex> lock(mutex_);
  limit_ = std::max<int64_t>(limit, 0);
  Shrink(limit_);
}

bool BufferPool::Tick() {
  std::lock_guard<std::mutex> lock(mutex_);
  int64_t kept = 0;
  for (Buffer& buffer : waiting_) {
    ++buffer.ticks;
    if (buffer.ticks < kTicksKept) kept += int64_t(buffer.bytes);
#if defined(MADV_FREE)
    if (buffer.ticks == kTicksFirm) {
      madvise(buffer.data, buffer.bytes, MADV_FREE);
    }
#endif
  }
  // Those that have waited longest are the first to go.
  Shrink(kept);
  is_ticking_ = is_ticking_ && !waiting_.empty();
  return !waiting_.empty();
}

// The smallest that is not much too large; of those, the one that was freed
// last may still be in cache.
void* BufferPool::TakeWaiting(size_t bytes) {
  const size_t most = bytes + bytes / 4;
  auto best = waiting_.end();
  for (auto it = waiting_.begin(); it != waiting_.end(); ++it) {
    if (it->bytes < bytes || it->bytes > most) continue;
    if (best == waiting_.end() || it->bytes <= best->bytes) best = it;
  }
  if (best == waiting_.end()) return nullptr;
  const Buffer buffer = *best;
  try {
    in_use_.emplace(buffer.data, buffer.bytes);
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
  waiting_.erase(best);
  waiting_bytes_ -= int64_t(buffer.bytes);
  in_use_bytes_ += int64_t(buffer.bytes);
  ASAN_UNPOISON_MEMORY_REGION(buffer.data, buffer.bytes);
  return buffer.data;
}

void BufferPool::Shrink(int64_t most) {
  auto it = waiting_.begin();
  for (; it != waiting_.end() && waiting_bytes_ > most; ++it) {
    UnmapPages(it->data, it->bytes);
    waiting_bytes_ -= int64_t(it->bytes);
  }
  waiting_.erase(waiting_.begin(), it);
}

// A thread that lives while anything waits. Without one, what waits is still
// bounded.
void BufferPool::KeepTicking() {
  if (!is_instance_ || is_ticking_) return;
  pthread_attr_t attributes;
  if (pthread_attr_init(&attributes) != 0) return;
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  // The host's signals are for its own threads.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_t thread;
  is_ticking_ =
      pthread_create(&thread, &attributes, TickInstance, nullptr) == 0;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  pthread_attr_destroy(&attributes);
}

void* BufferPool::TickInstance(void*) {
  do {
    sleep(1);
  } while (Instance().Tick());
  return nullptr;
}

void BufferPool::HandleForks() {
  pthread_atfork([] { Instance().mutex_.lock(); },
                 [] { Instance().mutex_.unlock(); },
                 [] {
                   // The thread that ticks has stayed with the parent.
                   BufferPool& pool = Instance();
                   pool.Shrink(0);
                   pool.is_ticking_ = false;
                   pool.mutex_.unlock();
                 });
}

}  // namespace tf_roialign
