// The numbers that the CPU path was tuned with. None changes a result. Where no
// measurement stands beside one, it is unmeasured: chosen once and found good
// enough. docs/notes/cpu-kernels.md tells how the measured ones were found.

#ifndef TF_ROIALIGN_CC_CORE_CPU_TUNING_H_
#define TF_ROIALIGN_CC_CORE_CPU_TUNING_H_

#include <cstdint>

namespace tf_roialign {

// ---- Costs, in nanoseconds of one thread. They only balance the shares, and
// say when a second thread pays.

// Of a box's forward, whatever its size. Unmeasured.
constexpr double kBoxCost = 500;
// Of a channel of a tap; a bin costs two. Unmeasured.
constexpr double kTapCost = 0.08;
// A box of a gradient, in forwards. Unmeasured.
constexpr double kGradCost = 1.5;
// A box in NCHW, in forwards of NHWC, and a map's or window's element that is
// brought into the order of channels last. Unmeasured.
constexpr double kNchwCost = 3;
constexpr double kTransposeCost = 0.25;
// An element of a gradient's map that is cleared and rounded. Unmeasured.
constexpr double kClearCost = 0.125;
// The taps of a box by pixel. Unmeasured.
constexpr int64_t kPixelTapsCost = 2000;

// ---- How a call is cut up.

// Shares of the boxes: enough that the last ones to be taken are short.
// Unmeasured.
constexpr int64_t kBoxShares = 64;
// Boxes whose middles are in one cell of so many pixels a side are neighbours.
// Unmeasured.
constexpr int64_t kNeighbourCell = 8;
// A tile of a gradient's map: it stays in the second cache. 128 and 512 KB:
// within 10 %.
constexpr int64_t kTileBytes = 256 * 1024;
// Channels of an NCHW block, and the plane beyond which it has half as many:
// its map stays in the third cache. Unmeasured.
constexpr int64_t kBlockChannels = 64;
constexpr int64_t kSmallPlane = 1 << 14;
// NCHW takes each box's window by itself if all together are a smaller part of
// the maps than this. Unmeasured.
constexpr double kWindowsPay = 0.5;

// ---- Memory.

// Taps that are kept for all owners of a gradient's tiles. A tap takes about 40
// bytes, and a pixel has one or two. Unmeasured.
constexpr double kTapTableBytes = 64 << 20;
constexpr double kPixelTapBytes = 80;
// A tensor of at least this much is stored past the caches: W3's forward 18 to
// 9 ms. The bound itself is unmeasured.
constexpr int64_t kStreamBytes = 8 << 20;

// ---- Threads that are only given tasks (shared_work.h).

// A block of units that is worth a thread's while, in nanoseconds. Unmeasured.
constexpr int64_t kBlockCost = 10000;
// More blocks than threads, so that all finish at about the same time.
// Unmeasured.
constexpr int64_t kBlocksPerThread = 4;

// ---- Inner loops (simd/).

// What is prefetched beyond half a first cache would be gone again: W4's
// forward 20 to 26 ms.
constexpr int64_t kPrefetchBytes = 24 * 1024;
// Pixels that all blocks of channels go through before the next ones.
constexpr int64_t kGroupBytes = 16 * 1024;
constexpr int64_t kBoxGradGroupBytes = 64 * 1024;
// Channels of the box gradient at a time.
constexpr int64_t kBoxGradChannels = 256;
// Channels whose sums wait in the first cache meanwhile.
constexpr int64_t kMaxKeptChannels = 1024;
// A window that does not stay in the second cache until the next box reads it
// again.
constexpr int64_t kSweptWindowBytes = 256 * 1024;
// Taps of a bin along x that make it worth while to load and store its sums.
constexpr int64_t kSweptTaps = 4;
// What the boxes of a sweep and the rows of the map in hand have of the second
// cache.
constexpr int64_t kSweepBytes = 512 * 1024;
// Channels of a sweep.
constexpr int64_t kSweepChannels = 64;
// Columns that the separable forward sums, so that a row of sums stays in the
// first cache. Unmeasured.
constexpr int64_t kMaxSummedColumns = 24;

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CPU_TUNING_H_
