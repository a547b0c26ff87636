// How outputs change as their boxes move: a task of pool_row.h.

#ifndef TF_ROIALIGN_CC_CORE_CUDA_KERNELS_BOX_TANGENT_H_
#define TF_ROIALIGN_CC_CORE_CUDA_KERNELS_BOX_TANGENT_H_

#include <cmath>
#include <cstdint>

#include "cc/core/cuda/kernels/moved_weight.h"
#include "cc/core/cuda/kernels/problem.h"
#include "cc/core/cuda/kernels/vectors.h"
#include "cc/core/cuda/platform/portable.h"
#include "cc/core/cuda/tuning.h"
#include "cc/core/geometry/taps.h"

namespace tf_roialign {
namespace cuda {

template <typename T>
struct SumBoxTangent {
  using W = Accumulator<T>;
  // slope1 becomes how fast the weight changes.
  using AnyTap = SlopeTap<W>;
  static constexpr int kChannels = Min(kWidest<T>, kMaxKeptChannels);
  static constexpr int kListTaps = kMaxListTaps / 2;
  static constexpr bool kChangesTaps = true;

  // How the corners of the box move.
  struct OfBox {
    double y1;
    double y2;
    double x1;
    double x2;
  };

  TF_ROIALIGN_DEVICE OfBox Begin(const BoxOnMap& box, int64_t k) const {
    return box.problem().boxes_are_double ? MovesOf<double>(box, k)
                                          : MovesOf<float>(box, k);
  }
  TF_ROIALIGN_DEVICE void Change(const OfBox& moves, bool is_y,
                                 AnyTap* tap) const {
    tap->slope1 = is_y ? MovedWeightOf(*tap, moves.y1, moves.y2)
                       : MovedWeightOf(*tap, moves.x1, moves.x2);
  }

  // As on CPU the sum of two products, so that what is not finite is so in the
  // same places.
  template <int V>
  struct Sum {
    Sums<W, V> moved_y;
    Sums<W, V> moved_x;

    TF_ROIALIGN_DEVICE Sum() {
      moved_y.Clear();
      moved_x.Clear();
    }
    TF_ROIALIGN_DEVICE void Add(const AnyTap& y, const AnyTap& x,
                                const Packed<T, V>& pixel) {
      moved_y.Add(y.slope1 * x.weight, pixel);
      moved_x.Add(y.weight * x.slope1, pixel);
    }
    TF_ROIALIGN_DEVICE void StoreTo(const OfBox&, T* to) const {
      Sums<W, V> sum = moved_y;
      sum.Add(W(1), moved_x);
      sum.StoreTo(to);
    }
  };

  template <int V>
  TF_ROIALIGN_DEVICE Packed<T, V> NoMeaning() const {
    Packed<T, V> nan;
    TF_ROIALIGN_UNROLL
    for (int v = 0; v < V; ++v) Narrow(static_cast<W>(NAN), &nan.e[v]);
    return nan;
  }

 private:
  template <typename B>
  static TF_ROIALIGN_DEVICE OfBox MovesOf(const BoxOnMap& box, int64_t k) {
    const Problem& problem = box.problem();
    const B* move = CoordinatesOfRow(static_cast<const B*>(problem.direction),
                                     problem.columns, k);
    return {double(move[kY1]), double(move[kY2]), double(move[kX1]),
            double(move[kX2])};
  }
};

}  // namespace cuda
}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CUDA_KERNELS_BOX_TANGENT_H_
