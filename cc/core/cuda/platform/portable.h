// What device code asks of the hardware, in a form that compiles for the host
// too: there the functions are declared only, and the tests define them with an
// emulation of blocks and threads (cc/core/cuda/testing/block_emulator.h). The
// same kernels thus run under AddressSanitizer on machines without a GPU.
//
// A kernel is a class: its members are the arguments, operator() is what one
// thread does, kThreads is a block's size, and kMinBlocks is how many blocks a
// multiprocessor should hold (0: as the compiler likes). Blocks are
// one-dimensional and made of whole warps.

#ifndef TF_ROIALIGN_CC_CORE_CUDA_PLATFORM_PORTABLE_H_
#define TF_ROIALIGN_CC_CORE_CUDA_PLATFORM_PORTABLE_H_

#include <cstdint>
#include <type_traits>
#include <utility>

#include "cc/core/base/host_device.h"

#if defined(__CUDACC__)
#define TF_ROIALIGN_DEVICE __device__ __forceinline__
// A call of its own, with its own registers: for what runs seldom.
#define TF_ROIALIGN_DEVICE_CALL static __device__ __noinline__
#define TF_ROIALIGN_UNROLL _Pragma("unroll")
#define TF_ROIALIGN_NO_UNROLL _Pragma("unroll 1")
#else
#define TF_ROIALIGN_DEVICE inline
#define TF_ROIALIGN_DEVICE_CALL static inline
#define TF_ROIALIGN_UNROLL
#define TF_ROIALIGN_NO_UNROLL
#endif

namespace tf_roialign {
namespace cuda {

constexpr int kWarp = 32;

#if defined(__CUDACC__)

TF_ROIALIGN_DEVICE int ThreadIndex() { return static_cast<int>(threadIdx.x); }
TF_ROIALIGN_DEVICE int64_t BlockIndex() { return blockIdx.x; }

TF_ROIALIGN_DEVICE void SyncThreads() { __syncthreads(); }

// Whether `value` is true for any thread of the block; a barrier too.
TF_ROIALIGN_DEVICE bool SyncThreadsOr(bool value) {
  return __syncthreads_or(value) != 0;
}

// Bit i: `value` of lane i. All lanes of the warp have to call it.
TF_ROIALIGN_DEVICE uint32_t Ballot(bool value) {
  return __ballot_sync(0xffffffffu, value);
}

TF_ROIALIGN_DEVICE int CountBits(uint32_t bits) { return __popc(bits); }

// The upper half of the product.
TF_ROIALIGN_DEVICE uint32_t MultiplyHigh(uint32_t a, uint32_t b) {
  return __umulhi(a, b);
}

// a * b bytes further, in one instruction: the compiler takes several, having
// moved what does not change out of a loop.
template <typename T>
TF_ROIALIGN_DEVICE T* Advance(T* from, int a, int b) {
  T* to;
  asm("mad.wide.s32 %0, %1, %2, %3;" : "=l"(to) : "r"(a), "r"(b), "l"(from));
  return to;
}
// The same for a constant.
template <int kTimes, typename T>
TF_ROIALIGN_DEVICE T* Advance(T* from, int b) {
  if constexpr (kTimes == 0) return from;
  T* to;
  asm("mad.wide.s32 %0, %1, %2, %3;"
      : "=l"(to)
      : "r"(b), "n"(kTimes), "l"(from));
  return to;
}

// A pointer whose parts the compiler is not to add again elsewhere.
template <typename T>
TF_ROIALIGN_DEVICE T* Settled(T* pointer) {
  asm("" : "+l"(pointer));
  return pointer;
}

// The block's shared memory, of the size given at launch, aligned to 16 bytes.
TF_ROIALIGN_DEVICE unsigned char* SharedMemory() {
  extern __shared__ __align__(16) unsigned char tf_roialign_shared[];
  return tf_roialign_shared;
}

#else

int ThreadIndex();
int64_t BlockIndex();
void SyncThreads();
bool SyncThreadsOr(bool value);
uint32_t Ballot(bool value);
unsigned char* SharedMemory();
inline int CountBits(uint32_t bits) { return __builtin_popcount(bits); }
inline uint32_t MultiplyHigh(uint32_t a, uint32_t b) {
  return static_cast<uint32_t>((uint64_t(a) * b) >> 32);
}
template <typename T>
T* Advance(T* from, int a, int b) {
  return reinterpret_cast<T*>(reinterpret_cast<uintptr_t>(from) +
                              uintptr_t(int64_t(a) * b));
}
template <int kTimes, typename T>
T* Advance(T* from, int b) {
  return Advance(from, kTimes, b);
}
template <typename T>
T* Settled(T* pointer) {
  return pointer;
}

#endif

// Calls visit(std::integral_constant<int, i>()) for i below kCount.
template <typename Visit, int... i>
TF_ROIALIGN_DEVICE void ForEachOf(std::integer_sequence<int, i...>,
                                  const Visit& visit) {
  (visit(std::integral_constant<int, i>()), ...);
}
template <int kCount, typename Visit>
TF_ROIALIGN_DEVICE void ForEachBelow(const Visit& visit) {
  ForEachOf(std::make_integer_sequence<int, kCount>(), visit);
}

// Hands out the block's shared memory piece by piece; bytes and kernel agree
// because both ask for the same pieces (see the `SharedBytes` of the kernels).
class SharedPieces {
 public:
  TF_ROIALIGN_DEVICE SharedPieces() : next_(SharedMemory()) {}

  template <typename A>
  TF_ROIALIGN_DEVICE A* Take(int count) {
    A* piece = reinterpret_cast<A*>(next_);
    next_ += Bytes<A>(count);
    return piece;
  }

  template <typename A>
  static TF_ROIALIGN_HOST_DEVICE_INLINE constexpr int Bytes(int count) {
    return (static_cast<int>(sizeof(A)) * count + 15) / 16 * 16;
  }

 private:
  unsigned char* next_;
};

}  // namespace cuda
}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CUDA_PLATFORM_PORTABLE_H_
