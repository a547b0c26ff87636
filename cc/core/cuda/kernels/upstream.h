// What a bin gives to a pixel that it touches, in either mode.

#ifndef TF_ROIALIGN_CC_CORE_CUDA_KERNELS_UPSTREAM_H_
#define TF_ROIALIGN_CC_CORE_CUDA_KERNELS_UPSTREAM_H_

#include <cstdint>

#include "cc/core/cuda/kernels/moved_weight.h"
#include "cc/core/cuda/kernels/vectors.h"
#include "cc/core/cuda/kernels/winner.h"
#include "cc/core/cuda/platform/portable.h"
#include "cc/core/cuda/tuning.h"
#include "cc/core/dtypes/dtypes.h"

namespace tf_roialign {
namespace cuda {

// A pixel of the map.
struct Pixel {
  int y;
  int x;
};

// Mode "avg": the upstream gradient times the tap's weight. AxisWeight: what a
// tile keeps of a tap along one axis.
template <typename T, typename AxisWeight = Accumulator<T>>
struct AvgUpstream {
  using W = Accumulator<T>;
  using Weight = AxisWeight;
  static constexpr int kMostChannels = kWidest<T>;
  // Loads under way a thread, and planes of channels first that it has.
  static constexpr int kTogether = kEntriesTogether;
  static constexpr int kPlanes =
      kTilePlanes * static_cast<int>(sizeof(float)) / sizeof(W);

  const T* grad_output;

  template <int V>
  struct Part {
    Packed<T, V> in = {};
    W weight = W(0);

    TF_ROIALIGN_DEVICE void AddTo(const Pixel&, Sums<W, V>* sum) const {
      sum->Add(weight, in);
    }
  };

  // Of V channels from `at` on.
  template <int V>
  TF_ROIALIGN_DEVICE Part<V> Get(int64_t at, W weight) const {
    return {Load<V>(Settled(grad_output + at)), weight};
  }

  // That from element `at` on.
  TF_ROIALIGN_DEVICE AvgUpstream From(int64_t at) const {
    return {Settled(grad_output + at)};
  }
  // Of the channel that is kTimes `stride` elements further.
  template <int kTimes>
  TF_ROIALIGN_DEVICE Part<1> GetPlane(int stride, W weight) const {
    const int bytes = stride * static_cast<int>(sizeof(T));
    return {Load<1>(Advance<kTimes>(grad_output, bytes)), weight};
  }
};

// The same where boxes move: times how fast the weight changes.
template <typename T>
using MovedUpstream = AvgUpstream<T, MovedWeight<Accumulator<T>>>;

// Mode "max": the upstream gradient times the weight of the bin's largest
// sample there, if that touches the pixel.
template <typename T>
struct MaxUpstream {
  using W = Accumulator<T>;
  using Weight = W;
  static constexpr int kMostChannels = Min(kWidest<T>, kMaxKeptChannels);
  static constexpr int kTogether = 1;
  static constexpr int kPlanes = kMaxTilePlanes;

  const T* grad_output;
  const Winner<W>* winners;

  template <int V>
  struct Part {
    Packed<T, V> in = {};
    Winner<W> winner[V];

    TF_ROIALIGN_DEVICE void AddTo(const Pixel& pixel, Sums<W, V>* sum) const {
      TF_ROIALIGN_UNROLL
      for (int v = 0; v < V; ++v) {
        W weight;
        if (winner[v].Touches(pixel.y, pixel.x, &weight)) {
          sum->e[v] += weight * Widen(in.e[v]);
        }
      }
    }
  };

  template <int V>
  TF_ROIALIGN_DEVICE Part<V> Get(int64_t at, W) const {
    Part<V> part;
    part.in = Load<V>(grad_output + at);
    TF_ROIALIGN_UNROLL
    for (int v = 0; v < V; ++v) part.winner[v] = winners[at + v];
    return part;
  }

  TF_ROIALIGN_DEVICE MaxUpstream From(int64_t at) const {
    return {grad_output + at, winners + at};
  }
  template <int kTimes>
  TF_ROIALIGN_DEVICE Part<1> GetPlane(int stride, W) const {
    return Get<1>(int64_t(stride) * kTimes, W(0));
  }
};

}  // namespace cuda
}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CUDA_KERNELS_UPSTREAM_H_
