// The numbers that the CPU path was tuned with. None changes a result. Where no
// measurement stands beside one, it is unmeasured: chosen once and found good
// enough. docs/notes/cpu-kernels.md tells how the measured ones were found.

#ifndef TF_ROIALIGN_CC_CORE_CPU_TUNING_H_
#define TF_ROIALIGN_CC_CORE_CPU_TUNING_H_

#include <cstddef>
#include <cstdint>

namespace tf_roialign {

// The fuzzer's build (cc/core/fuzz) has small ones in the places of some, so
// that small calls are cut, swept and streamed as well.
#if defined(TF_ROIALIGN_SMALL_TUNING)
#define TF_ROIALIGN_TUNED(usual, small) (small)
#else
#define TF_ROIALIGN_TUNED(usual, small) (usual)
#endif

// ---- Costs, in nanoseconds of one thread. They only balance the shares, and
// say when a second thread pays. Measured with //benchmarks:serial_parts as
// calls whose data stay in cache take them, S1 and S20: what waits for memory
// takes up to twice as long, and there is enough of it for any threads.

// Of a box's forward, whatever its size.
constexpr double kBoxCost = 500;
// Of a channel of a tap; a bin costs two. AVX-512; AVX2: 0.05.
constexpr double kTapCost = 0.04;
// A box of a gradient, in forwards: 1.1 with AVX-512, 1.4 with AVX2.
constexpr double kGradCost = 1.3;
// A box in NCHW, in forwards of NHWC, and a map's or window's element that is
// brought into the order of channels last.
constexpr double kNchwCost = 3;
constexpr double kTransposeCost = 0.5;
// An element of a gradient's map that is cleared and rounded.
constexpr double kClearCost = 0.3;
// The taps of a box by pixel. Unmeasured.
constexpr int64_t kPixelTapsCost = 2000;
// A number of a box's gradient that is added up, in NCHW. Unmeasured.
constexpr double kPartCost = 1;
// Of a box's entry in the schedule. It takes 36, but the threads that are woken
// for it are needed next.
constexpr double kEntryCost = 100;

// ---- How a call is cut up.

// Shares of the boxes, and how many there are at most: what 96 threads take in
// turns, and short enough that they end together.
constexpr double kShareCost = TF_ROIALIGN_TUNED(10000, 1000);
constexpr double kMostShares = 1024;
// If fewer boxes come to a thread, dear ones are first.
constexpr int64_t kBoxesPerThread = TF_ROIALIGN_TUNED(16, 4);
// Fewer boxes are sorted by comparing. Unmeasured.
constexpr size_t kRadixBoxes = TF_ROIALIGN_TUNED(64, 4);
// Where a gradient's tiles or NCHW's blocks are fewer than this for each
// thread, they are cut further. Predictions for 32 and 96 threads:
// cpu-kernels.md.
constexpr int64_t kUnitsPerThread = 4;
// Boxes whose middles are in one cell of so many pixels a side are neighbours.
// Unmeasured.
constexpr int64_t kNeighbourCell = 8;
// A tile of a gradient's map: it stays in the second cache. 128 and 512 KB:
// within 10 %.
constexpr int64_t kTileBytes = TF_ROIALIGN_TUNED(256 * 1024, 1024);
// Where there are fewer tiles than kUnitsPerThread asks for, they are halved,
// but not beyond this. W3's gradient on one thread, with tiles of 256, 64, 32
// KB: 39, 41, 51 ms; W1's: 24, 27, 29 ms.
constexpr int64_t kLeastTileBytes = TF_ROIALIGN_TUNED(32 * 1024, 256);
// Channels of an NCHW block, and the plane beyond which it has half as many:
// its map stays in the third cache. Unmeasured.
constexpr int64_t kBlockChannels = 64;
constexpr int64_t kSmallPlane = TF_ROIALIGN_TUNED(1 << 14, 100);
// Maps of blocks that threads make together: what malloc keeps from call to
// call (M_MMAP_THRESHOLD is at most 32 MB), for fresh pages take longer.
constexpr double kGroupBytes = TF_ROIALIGN_TUNED(30 << 20, 4096);
// NCHW takes each box's window by itself if all together are a smaller part of
// the maps than this. W2 has 0.53: its forward on AVX2 took 39 ms by maps and
// 27 by windows, its box gradient 38 and 29. W1 has 2.45: 54 and 77, 57 and 81.
constexpr double kWindowsPay = 0.75;

// ---- Sweeps (sweep.h): W4's forward, AVX2 / AVX-512, in ms.

// A window that does not stay in the second cache until the next box reads it
// again, and the taps of a bin along x that make it worth while to load and
// store its sums. 512 KB and 6: 30 / 26 instead of 28.5 / 24.5. With 4 for
// fixed sampling, too, W1 took 16 instead of 13.5.
constexpr int64_t kSweptWindowBytes = TF_ROIALIGN_TUNED(256 * 1024, 512);
constexpr int64_t kSweptTaps = 4;
// What the bins of a sweep's boxes take, which is how many boxes it has. 128
// KB: 40 / 36 instead of 32 / 28.
constexpr int64_t kSweepBytes = TF_ROIALIGN_TUNED(512 * 1024, 2048);
// Of an element of the map that a sweep reads, in nanoseconds.
constexpr double kSweptRowCost = 0.3;
// Channels at a time. 128: 31 / 28.6 instead of 28 / 24.3.
constexpr int64_t kSweepChannels = 64;

// What bounds a sweep's memory: of a map, so that its row is at most 1 MB, and
// of the taps of its boxes, at 28 bytes each, with what a box takes besides, in
// taps. Unmeasured.
constexpr int64_t kMostSweptColumns = TF_ROIALIGN_TUNED(4096, 18);
constexpr int64_t kSweptTapsHeld = TF_ROIALIGN_TUNED(1 << 18, 64);
constexpr int64_t kSweptBoxTaps = 16;

// ---- Memory.

// Taps that are kept for all owners of a gradient's tiles. A tap takes about 40
// bytes, and a pixel has one or two. Unmeasured.
constexpr double kTapTableBytes = TF_ROIALIGN_TUNED(64 << 20, 1 << 15);
constexpr double kPixelTapBytes = 80;
// What boxes add to a tile that waits for the next box to be known. It bounds
// memory. Unmeasured.
constexpr size_t kTilePartsHeld = TF_ROIALIGN_TUNED(256, 3);
// A tensor of at least this much is stored past the caches: W3's forward 18 to
// 9 ms. The bound itself is unmeasured.
constexpr int64_t kStreamBytes = TF_ROIALIGN_TUNED(8 << 20, 1024);

// ---- Threads that are only given tasks (shared_work.h).

// Work, in nanoseconds, that a second thread is woken for, and that each thread
// has at least if there are more: S20 is not to wake any. Else unmeasured.
constexpr double kSecondThreadCost = TF_ROIALIGN_TUNED(200000, 1000);
constexpr double kThreadCost = TF_ROIALIGN_TUNED(40000, 500);
// Work that is worth taking a block for: each makes its scratch anew.
// Unmeasured.
constexpr double kBlockCost = 10000;
// A block is this part of what a thread has still to do. Unmeasured.
constexpr int64_t kBlocksPerThread = 3;
// Threads that a thread wakes, if there are enough. Unmeasured.
constexpr int64_t kWakes = 4;

// ---- Inner loops (simd/).

// What is fetched into the second cache for the next box. W1's and W2's forward
// on AVX2: 14.2 and 6.7 ms without, 13.1 and 5.7 with 128 KB, 11.1 and 3.9 with
// this, 11.0 and 3.8 with 1 MB, which slows W3 on AVX-512 from 14 to 16 ms.
constexpr int64_t kAheadBytes = 512 * 1024;

// What is prefetched beyond half a first cache would be gone again: W4's
// forward 20 to 26 ms.
constexpr int64_t kPrefetchBytes = TF_ROIALIGN_TUNED(24 * 1024, 1024);
// Pixels that all blocks of channels go through before the next ones come.
// Unmeasured against others for the forward; the box gradient with 16 KB: W3 on
// AVX-512 33 to 39 ms.
constexpr int64_t kTapGroupBytes = TF_ROIALIGN_TUNED(16 * 1024, 512);
constexpr int64_t kBoxGradGroupBytes = TF_ROIALIGN_TUNED(64 * 1024, 512);
// Channels of the box gradient at a time. 512, or all: W3 on AVX-512 32 to 35
// ms.
constexpr int64_t kBoxGradChannels = 256;
// Channels whose sums wait in the first cache meanwhile. Unmeasured.
constexpr int64_t kMaxKeptChannels = 1024;
// Columns that the separable forward sums, so that a row of sums stays in the
// first cache. Unmeasured.
constexpr int64_t kMaxSummedColumns = 24;

#undef TF_ROIALIGN_TUNED

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CPU_TUNING_H_
