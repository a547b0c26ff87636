// Blocks of channels, as many as registers hold.

#ifndef TF_ROIALIGN_CC_CORE_CPU_SIMD_BLOCKS_INL_H_
#define TF_ROIALIGN_CC_CORE_CPU_SIMD_BLOCKS_INL_H_

#include <cstdint>

#include "cc/core/cpu/simd/code_lanes-inl.h"
#include "cc/core/cpu/simd/float_lanes-inl.h"
#include "cc/core/cpu/simd/vectors-inl.h"
#include "cc/core/dtypes/float16.h"
#include "cc/core/dtypes/quantization.h"

namespace tf_roialign {
namespace TF_ROIALIGN_LEVEL {
namespace {

template <typename T, int kLanes, int kVectors>
struct Block {
  using L = Lanes<T, kLanes>;
  using V = typename L::V;
  static constexpr int lanes = kLanes;
  static constexpr int vectors = kVectors;
  static constexpr int bytes = kVectors * kLanes * sizeof(T);
};

template <typename T>
constexpr int kFullLanes = kRegisterBytes / int(sizeof(Accumulator<T>));

// Channels of the widest block.
template <typename T>
constexpr int64_t kWidestBlock = kBlockVectors * kFullLanes<T>;

// Calls visit(block, first channel) for blocks that cover all channels: the
// widest, of kMost vectors, first, single channels last.
template <typename T, int kMost = kBlockVectors, typename Visit>
TF_ROIALIGN_INLINE void ForEachBlock(int64_t channels, const Visit& visit) {
  constexpr int kFull = kFullLanes<T>;
  int64_t c = 0;
  for (; c + kFull * kMost <= channels; c += kFull * kMost) {
    visit(Block<T, kFull, kMost>(), c);
  }
  if constexpr (kMost > 4) {
    for (; c + kFull * 4 <= channels; c += kFull * 4) {
      visit(Block<T, kFull, 4>(), c);
    }
  }
  if constexpr (kMost > 2) {
    for (; c + kFull * 2 <= channels; c += kFull * 2) {
      visit(Block<T, kFull, 2>(), c);
    }
  }
  for (; c + kFull <= channels; c += kFull) visit(Block<T, kFull, 1>(), c);
  if constexpr (kFull > 4) {
    for (; c + 4 <= channels; c += 4) visit(Block<T, 4, 1>(), c);
  }
  for (; c < channels; ++c) visit(Block<T, 1, 1>(), c);
}

// The sums of a block: explicit variables once the loops are unrolled, so that
// they stay in registers.
template <typename B>
using BlockSums = typename B::V[B::vectors];

// sums = from
template <typename B, typename T>
TF_ROIALIGN_INLINE void LoadBlock(const T* from, BlockSums<B>& sums) {
  using L = Lanes<T, B::lanes>;
#pragma GCC unroll 16
  for (int v = 0; v < B::vectors; ++v) {
    sums[v] = L::Load(from + v * B::lanes);
  }
}

// sums += weight * from
template <typename B, typename W, typename T>
TF_ROIALIGN_INLINE void AddBlock(W weight, const T* from, BlockSums<B>& sums) {
  using L = Lanes<T, B::lanes>;
#pragma GCC unroll 16
  for (int v = 0; v < B::vectors; ++v) {
    sums[v] += weight * L::Load(from + v * B::lanes);
  }
}

// The same of sums that are kept as vectors.
template <typename B, typename W>
TF_ROIALIGN_INLINE void AddSums(W weight, const typename B::V* from,
                                BlockSums<B>& sums) {
#pragma GCC unroll 16
  for (int v = 0; v < B::vectors; ++v) sums[v] += weight * from[v];
}

template <typename B>
TF_ROIALIGN_INLINE void KeepSums(const BlockSums<B>& sums, typename B::V* to) {
#pragma GCC unroll 16
  for (int v = 0; v < B::vectors; ++v) to[v] = sums[v];
}

// The same in memory that is aligned to registers only as far as `to` is.
template <typename B, typename W>
TF_ROIALIGN_INLINE void LoadKept(const W* from, BlockSums<B>& sums) {
#pragma GCC unroll 16
  for (int v = 0; v < B::vectors; ++v) {
    sums[v] = LoadBits<typename B::V>(from + v * B::lanes);
  }
}
template <typename B, typename W>
TF_ROIALIGN_INLINE void StoreKept(const BlockSums<B>& sums, W* to) {
#pragma GCC unroll 16
  for (int v = 0; v < B::vectors; ++v) {
    StoreBits<false>(sums[v], to + v * B::lanes);
  }
}

template <typename B, typename W>
TF_ROIALIGN_INLINE void SubtractFromBlock(W value, BlockSums<B>& sums) {
#pragma GCC unroll 16
  for (int v = 0; v < B::vectors; ++v) sums[v] -= value;
}

// to = from, rounded to T.
template <typename B, bool kStream, typename T>
TF_ROIALIGN_INLINE void PackBlock(const Accumulator<T>* from, T* to) {
  using L = Lanes<Accumulator<T>, B::lanes>;
#pragma GCC unroll 16
  for (int v = 0; v < B::vectors; ++v) {
    Store<T, B::lanes, kStream>(L::Load(from + v * B::lanes),
                                to + v * B::lanes);
  }
}

// Rounds to T.
template <typename B, bool kStream, typename T>
TF_ROIALIGN_INLINE void StoreBlock(const BlockSums<B>& sums, T* to) {
#pragma GCC unroll 16
  for (int v = 0; v < B::vectors; ++v) {
    Store<T, B::lanes, kStream>(sums[v], to + v * B::lanes);
  }
}

template <typename B>
constexpr bool HasFours() {
  if constexpr (B::vectors % 4 == 0) {
    return B::L::kFours;
  } else {
    return false;
  }
}

// A bin's values, of codes its sums of code - zero.
template <typename B, bool kStream, typename T>
TF_ROIALIGN_INLINE void StoreBins(
    const BlockSums<B>& sums,
    [[maybe_unused]] const Requantization<Accumulator<T>>& to_codes, T* to) {
  [[maybe_unused]] constexpr int kLanes = B::lanes;
  if constexpr (!kIsCode<T>) {
    StoreBlock<B, kStream>(sums, to);
  } else if constexpr (HasFours<B>()) {
#pragma GCC unroll 4
    for (int v = 0; v < B::vectors; v += 4) {
      StoreBits<kStream>(B::L::FromFourSums(sums + v, to_codes),
                         to + v * kLanes);
    }
  } else {
#pragma GCC unroll 16
    for (int v = 0; v < B::vectors; ++v) {
      StoreBits<kStream>(B::L::FromSums(sums[v], to_codes), to + v * kLanes);
    }
  }
}

TF_ROIALIGN_INLINE void PrefetchBytes(const void* pixel, int64_t bytes) {
  for (int64_t b = 0; b < bytes; b += 64) {
    __builtin_prefetch(static_cast<const char*>(pixel) + b);
  }
}

template <typename B>
TF_ROIALIGN_INLINE void Prefetch(const void* pixel) {
#pragma GCC unroll 16
  for (int b = 0; b < B::bytes; b += 64) {
    __builtin_prefetch(static_cast<const char*>(pixel) + b);
  }
}

}  // namespace
}  // namespace TF_ROIALIGN_LEVEL
}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CPU_SIMD_BLOCKS_INL_H_
