// A row of bins of a box that a block has in hand, V channels of a bin for a
// thread at a time. The threads of a warp lie along the channels, or along the
// bins where those are neighbours in memory. V > 1: channels last.

#ifndef TF_ROIALIGN_CC_CORE_CUDA_KERNELS_BIN_ROW_H_
#define TF_ROIALIGN_CC_CORE_CUDA_KERNELS_BIN_ROW_H_

#include <cstdint>

#include "cc/core/cuda/kernels/problem.h"
#include "cc/core/cuda/platform/portable.h"

namespace tf_roialign {
namespace cuda {

// Bins [q, q + bins) of row p of box k.
struct BinRow {
  int64_t k;
  int p;
  int q;
  int bins;
};
// V channels from c on of bin q + i.
struct RowItem {
  int i;
  int c;
};

template <int V>
TF_ROIALIGN_DEVICE bool ChannelsLast(const Problem& problem) {
  return V > 1 || problem.data_format == Layout::kNHWC;
}
template <int V>
TF_ROIALIGN_DEVICE int64_t ItemsOfRow(const Problem& problem,
                                      const BinRow& row) {
  return int64_t(row.bins) * (problem.channels / V);
}
template <int V>
TF_ROIALIGN_DEVICE RowItem ItemOfRow(const Problem& problem, const BinRow& row,
                                     int64_t item) {
  const bool channels_last = ChannelsLast<V>(problem);
  const int inner = channels_last ? problem.channels / V : row.bins;
  const int outer = static_cast<int>(item / inner);
  const int rest = static_cast<int>(item - int64_t(outer) * inner);
  if (channels_last) return {outer, rest * V};
  return {rest, outer};
}
// Elements from the begin of an output or upstream gradient to the item.
template <int V>
TF_ROIALIGN_DEVICE int64_t PooledOffset(const Problem& problem,
                                        const BinRow& row,
                                        const RowItem& item) {
  const int64_t bin = int64_t(row.p) * problem.pooled_width() + row.q + item.i;
  return ChannelsLast<V>(problem)
             ? (row.k * problem.bins() + bin) * problem.channels + item.c
             : (row.k * problem.channels + item.c) * problem.bins() + bin;
}
// And from the begin of a map to pixel (0, 0) of channel c of an image.
template <int V>
TF_ROIALIGN_DEVICE int64_t ImageOffset(const Problem& problem,
                                       const DeviceMap& map, int64_t image,
                                       int c) {
  return ChannelsLast<V>(problem)
             ? image * map.pixels() * problem.channels + c
             : (image * problem.channels + c) * map.pixels();
}

}  // namespace cuda
}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CUDA_KERNELS_BIN_ROW_H_
