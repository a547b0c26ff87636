#include "cc/core/testing/counting_new.h"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

namespace tf_roialign {
namespace {

std::atomic<int64_t> live_blocks{0};
std::atomic<int64_t> live_bytes{0};
std::atomic<int64_t> peak_bytes{0};

constexpr int64_t kNever = -1;
// Allocations until one fails.
std::atomic<int64_t> left{kNever};
std::atomic<bool> keeps_failing{false};
std::atomic<bool> has_failed{false};

bool Fails() {
  if (has_failed && keeps_failing) return true;
  if (left < 0 || left-- != 0) return false;
  has_failed = true;
  return true;
}

// The size of a block stands before it, in as much as keeps the alignment.
size_t Before(size_t alignment) {
  return std::max(alignment, alignof(std::max_align_t));
}

void* Allocate(size_t size, size_t alignment) {
  void* block = nullptr;
  const size_t before = Before(alignment);
  if (Fails() || size > SIZE_MAX - before ||
      posix_memalign(&block, before, before + size) != 0) {
    throw std::bad_alloc();
  }
  *static_cast<size_t*>(block) = size;
  ++live_blocks;
  const int64_t bytes = live_bytes += static_cast<int64_t>(size);
  int64_t peak = peak_bytes;
  while (peak < bytes && !peak_bytes.compare_exchange_weak(peak, bytes)) {
  }
  return static_cast<char*>(block) + before;
}

void Free(void* data, size_t alignment) {
  if (data == nullptr) return;
  void* const block = static_cast<char*>(data) - Before(alignment);
  --live_blocks;
  live_bytes -= static_cast<int64_t>(*static_cast<size_t*>(block));
  std::free(block);
}

}  // namespace

int64_t LiveBlocks() { return live_blocks; }
int64_t LiveBytes() { return live_bytes; }

int64_t TakePeakBytes() { return peak_bytes.exchange(live_bytes); }

void FailAfter(int64_t allocations, Failing failing) {
  keeps_failing = failing == Failing::kAllFromThen;
  has_failed = false;
  left = allocations;
}

bool StopFailing() {
  left = kNever;
  return has_failed.exchange(false);
}

}  // namespace tf_roialign

void* operator new(size_t size) { return tf_roialign::Allocate(size, 1); }
void* operator new(size_t size, std::align_val_t alignment) {
  return tf_roialign::Allocate(size, static_cast<size_t>(alignment));
}
void operator delete(void* data) noexcept { tf_roialign::Free(data, 1); }
void operator delete(void* data, size_t) noexcept {
  tf_roialign::Free(data, 1);
}
void operator delete(void* data, std::align_val_t alignment) noexcept {
  tf_roialign::Free(data, static_cast<size_t>(alignment));
}
void operator delete(void* data, size_t, std::align_val_t alignment) noexcept {
  tf_roialign::Free(data, static_cast<size_t>(alignment));
}
