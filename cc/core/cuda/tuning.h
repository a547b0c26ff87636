// The numbers that the CUDA path was tuned with. None changes a result by more
// than its rounding, and none at all from run to run. Where no measurement
// stands beside one, it is unmeasured: chosen by what registers and shared
// memory allow. docs/notes/cuda-kernels.md tells how the measured ones were
// found.

#ifndef TF_ROIALIGN_CC_CORE_CUDA_TUNING_H_
#define TF_ROIALIGN_CC_CORE_CUDA_TUNING_H_

#include <cstdint>

namespace tf_roialign {
namespace cuda {

// ---- Blocks.

// Threads of a block, whole warps. Unmeasured.
constexpr int kBlockThreads = 128;
// Of the one that groups an image's boxes; 1024 would take a quarter of the
// rounds. Unmeasured.
constexpr int kGroupingThreads = 256;
// Blocks that a multiprocessor should hold, which bounds the registers of a
// thread; where none is named, as the compiler likes. Of the forward with 8
// channels a thread (16-bit features): 80 registers. Of that with 4 (float32)
// and a sampling_ratio of 2: 64, where the compiler takes 72 and spills as
// much. The time is unmeasured.
constexpr int kMinWideForwardBlocks = 6;
constexpr int kMinTwoSampleForwardBlocks = 8;
// Blocks that keep the largest devices busy for several rounds. Unmeasured.
constexpr int64_t kEnoughBlocks = 2048;
// Blocks of one launch: CUDA takes 2^31 - 1.
constexpr int64_t kMostBlocks = int64_t(1) << 30;
// The same for the host's code to read: tests lower them, to reach with few
// blocks what takes very many.
struct BlockLimits {
  int64_t enough = kEnoughBlocks;
  int64_t most = kMostBlocks;
};
inline BlockLimits& block_limits() {
  static BlockLimits limits;
  return limits;
}
// Threads along the channels, at least. Unmeasured.
constexpr int kMinLanes = 8;

// ---- Taps in shared memory.

// Bins of one axis that a block has in hand at a time. Unmeasured.
constexpr int kBinsInHand = 64;
// Lists are padded per bin with absent taps, so that loops take this many at a
// time and have as many loads under way. Unmeasured.
constexpr int kTapGroup = 4;
// Entries of a list, at most. A list of the box gradient, whose taps are twice
// as large, and one of the NCHW forward, which needs room for columns too, have
// half. Unmeasured.
constexpr int kMaxListTaps = 1024;

// ---- Channels first.

// Channels of a thread at a time: independent loads. Unmeasured.
constexpr int kNchwTogether = 4;
// Pixels of a row that a thread of the forward loads at once where they are
// aligned; at most 16 bytes.
constexpr int kNchwPixels = 4;
// Channels of a thread of the box gradient at a time. Unmeasured.
constexpr int kNchwBoxGradTogether = 8;
// Channels of a block of the box gradient, whatever the number of boxes, so
// that a box's sums do not depend on the others. Unmeasured.
constexpr int kBoxGradBlockChannels = 64;
// Channels of a block of the forward whose lists do not fit, at most.
// Unmeasured.
constexpr int kMostBlockChannels = 32;
// Channels of a block of the forward, at least: as many as leave kEnoughBlocks.
// Unmeasured.
constexpr int kLeastBlockChannels = 8;
// Groups of kNchwTogether channels that the forward rather has in hand than
// more rows of bins. With 8, instructions are 1 to 2 % less and bytes stored in
// sectors 2 to 3 % more. The time is unmeasured.
constexpr int kNchwLeastGroups = 4;
// Shared memory for the forward's sums of columns. Unmeasured.
constexpr int kColumnSumBytes = 24 * 1024;

// ---- Mode "max".

// Samples of x in hand, of all bins together; of y, which has one bin, an
// eighth. Unmeasured.
constexpr int kMaxListSamples = 256;
// Channels of a thread that keeps four numbers of each, at most. Unmeasured.
constexpr int kMaxKeptChannels = 4;

// ---- Codes.

// Channels of a thread, where channels are last: 4 bytes of int8. Unmeasured.
constexpr int kCodesTogether = 4;

// ---- Feature gradient.

// Pixels of a thread, one after the other, channels last. Eight at once in
// registers took 128 of them and spilled 280 bytes.
constexpr int kTilePixels = 8;
// Channels of a thread, channels first: half as many of double, and fewer in
// mode "max". With 16 a thread executes 18 % less instructions than with 8, and
// needs 128 registers. The time is unmeasured.
constexpr int kTilePlanes = 16;
constexpr int kMaxTilePlanes = 8;
constexpr int kMinTileBlocks = 4;
// Entries of a tile's lists, channels last and first. Unmeasured.
constexpr int kNhwcTileEntries = 768;
constexpr int kNchwTileEntries = 1024;
// A tile of channels first is a line of 16 pixels, 64 bytes of float, and the
// one below. Unmeasured.
constexpr int kNchwTileWidthLog2 = 4;
constexpr int kNchwTileHeightLog2 = 1;
// Loads under way a thread. Unmeasured.
constexpr int kEntriesTogether = 4;
// Rows and columns of boxes that a block has records of, boxes that it takes at
// a time, and weights that a record keeps; further ones are computed again.
// Unmeasured.
constexpr int kTileRecords = 192;
constexpr int kTileMaxBoxes = 32;
constexpr int kKeptWeights = 6;

}  // namespace cuda
}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CUDA_TUNING_H_
