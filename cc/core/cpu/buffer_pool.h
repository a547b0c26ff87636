// Memory of large outputs, kept for the next call. A C library gives a large
// buffer back to the system when it is freed, and the next one is then paid for
// page by page: up to half the time of an op that fills 100 MB.

#ifndef TF_ROIALIGN_CC_CORE_CPU_BUFFER_POOL_H_
#define TF_ROIALIGN_CC_CORE_CPU_BUFFER_POOL_H_

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "cc/core/base/visibility.h"

namespace tf_roialign {

// Buffers come from the system, and one that is freed waits for a request of
// its size. What waits is bounded, and goes back to the system when it has
// waited for kTicksKept ticks; after kTicksFirm the system may take its pages
// whenever it runs short. Safe from all threads. Nothing throws.
class TF_ROIALIGN_API BufferPool {
 public:
  struct Usage {
    int64_t in_use;   // bytes of buffers that are given out
    int64_t waiting;  // bytes of buffers that wait for a request
    int64_t limit;    // the most that may wait; 0: none does
  };

  // Smaller buffers are better off with the C library, which keeps those.
  static constexpr size_t kLeastBytes = 256 << 10;
  // Of every buffer.
  static constexpr size_t kAlignment = 4096;
  static constexpr int kTicksFirm = 1;
  static constexpr int kTicksKept = 10;

  // The process's, which ticks once a second by itself while anything waits. A
  // forked child begins with nothing that waits. Never destroyed: tensors may
  // outlive all static objects. The environment variable
  // TF_ROIALIGN_KEPT_MEMORY_MB sets its limit.
  static BufferPool& Instance();

  // A sixteenth of the memory that this process may have, at most 1 GiB.
  static int64_t DefaultLimit();

  explicit BufferPool(int64_t limit) : limit_(limit) {}
  BufferPool(const BufferPool&) = delete;
  BufferPool& operator=(const BufferPool&) = delete;
  ~BufferPool();

  // Null if there is no memory.
  void* Allocate(size_t bytes);
  // `buffer`: what Allocate() returned.
  void Free(void* buffer);

  Usage usage();
  // Returns at once what waits beyond it to the system.
  void SetLimit(int64_t limit);
  // Returns whether anything still waits.
  bool Tick();

 private:
  struct Buffer {
    void* data;
    size_t bytes;
    int ticks;
  };

  static size_t SizeOf(size_t bytes);

  // The lock is held in these.
  void* TakeWaiting(size_t bytes);
  void Shrink(int64_t most);
  void KeepTicking();

  static void* TickInstance(void*);
  static void HandleForks();

  std::mutex mutex_;
  int64_t limit_;
  int64_t in_use_bytes_ = 0;
  int64_t waiting_bytes_ = 0;
  std::unordered_map<void*, size_t> in_use_;
  std::vector<Buffer> waiting_;  // the longest waiting first
  bool is_instance_ = false;
  bool is_ticking_ = false;
};

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CPU_BUFFER_POOL_H_
