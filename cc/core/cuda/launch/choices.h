// What launchers choose: how wide loads are, how threads lie, how much shared
// memory lists get.

#ifndef TF_ROIALIGN_CC_CORE_CUDA_LAUNCH_CHOICES_H_
#define TF_ROIALIGN_CC_CORE_CUDA_LAUNCH_CHOICES_H_

#include <cstdint>

#include "cc/core/cuda/kernels/problem.h"
#include "cc/core/cuda/kernels/tap_lists.h"
#include "cc/core/cuda/kernels/vectors.h"
#include "cc/core/cuda/tuning.h"

namespace tf_roialign {
namespace cuda {

inline int64_t CeilDiv(int64_t value, int64_t divisor) {
  return (value + divisor - 1) / divisor;
}

inline int RoundUp(int64_t value, int multiple) {
  return static_cast<int>(CeilDiv(value, multiple) * multiple);
}

// Whether loads and stores of so many channels at once are aligned, in the maps
// and in what is pooled of them.
template <typename T>
bool CanBeWide(const Problem& problem, const T* pooled,
               int channels = kWidest<T>) {
  uintptr_t bits = reinterpret_cast<uintptr_t>(pooled);
  for (int i = 0; i < problem.map_count; ++i) {
    bits |= reinterpret_cast<uintptr_t>(problem.maps[i].data);
  }
  return problem.channels % channels == 0 && bits % (channels * sizeof(T)) == 0;
}

// Threads along the channels: a power of two.
inline int LanesFor(int channels, int vector, int threads) {
  int lanes = kMinLanes;
  while (lanes < threads && lanes * vector < channels) lanes *= 2;
  return lanes;
}

// Over all maps.
struct Longest {
  int height;
  int width;
};

inline Longest LongestMap(const Problem& problem) {
  Longest longest = {0, 0};
  for (int i = 0; i < problem.map_count; ++i) {
    longest.height = Max(longest.height, problem.maps[i].height);
    longest.width = Max(longest.width, problem.maps[i].width);
  }
  return longest;
}

// Capacities of the tap lists for `rows` by `bins` bins at a time.
struct ListSizes {
  int y;
  int x;
  bool fit;  // no box needs more
};

inline ListSizes ListSizesFor(const Problem& problem, int rows, int bins,
                              int most) {
  const Longest longest = LongestMap(problem);
  const int64_t y =
      ListTapsBound(problem.sampling_ratio, Min(rows, problem.pooled_height()),
                    longest.height);
  const int64_t x = ListTapsBound(
      problem.sampling_ratio, Min(bins, problem.pooled_width()), longest.width);
  return {RoundUp(Min<int64_t>(y, most), kTapGroup),
          RoundUp(Min<int64_t>(x, most), kTapGroup), y <= most && x <= most};
}

}  // namespace cuda
}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CUDA_LAUNCH_CHOICES_H_
