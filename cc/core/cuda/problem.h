// One call as kernels see it, and how they read its boxes.

#ifndef TF_ROIALIGN_CC_CORE_CUDA_PROBLEM_H_
#define TF_ROIALIGN_CC_CORE_CUDA_PROBLEM_H_

#include <cstdint>

#include "cc/core/call/boxes.h"
#include "cc/core/call/params.h"
#include "cc/core/cuda/portable.h"
#include "cc/core/geometry/axis.h"

namespace tf_roialign {
namespace gpu {

// Sizes along one axis fit 32 bits (the drivers check that); products of two
// or more are computed in 64.
struct Problem {
  int pooled_height;
  int pooled_width;
  double spatial_scale;
  int64_t sampling_ratio;
  bool aligned;
  int64_t batch;
  int height;
  int width;
  int channels;

  // Boxes. Kernels are compiled for both box dtypes at once and ask
  // `boxes_are_double`: the geometry is a small part of them.
  bool boxes_are_double;
  bool indices_are_64_bit;
  BoxForm form;
  int64_t boxes;
  int64_t stride;
  int64_t boxes_per_image;  // dense boxes only
  const void* rows;
  const void* box_indices;

  TF_ROIALIGN_DEVICE int64_t bins() const {
    return int64_t(pooled_height) * pooled_width;
  }
};

template <typename B>
TF_ROIALIGN_DEVICE const B* BoxRow(const Problem& problem, int64_t k) {
  return static_cast<const B*>(problem.rows) + k * problem.stride;
}

// The image of box k, or -1 where its index is not in [0, batch).
template <typename B>
TF_ROIALIGN_DEVICE int64_t BoxImage(const Problem& problem, int64_t k) {
  int64_t image;
  if (problem.form == BoxForm::kIndexed) {
    const B index = BoxRow<B>(problem, k)[0];
    if (!(index >= B(0) && index < B(problem.batch))) return -1;
    image = static_cast<int64_t>(index);
  } else if (problem.form == BoxForm::kDense) {
    image = k / problem.boxes_per_image;
  } else if (problem.indices_are_64_bit) {
    image = static_cast<const int64_t*>(problem.box_indices)[k];
  } else {
    image = static_cast<const int32_t*>(problem.box_indices)[k];
  }
  return image >= 0 && image < problem.batch ? image : -1;
}

template <typename B>
TF_ROIALIGN_DEVICE Axis<B> BoxAxisY(const Problem& problem, int64_t k) {
  const B* box = BoxRow<B>(problem, k) + (problem.stride - 4);
  return MakeAxis(box[1], box[3], static_cast<B>(problem.spatial_scale),
                  problem.pooled_height, problem.sampling_ratio,
                  problem.aligned);
}

template <typename B>
TF_ROIALIGN_DEVICE Axis<B> BoxAxisX(const Problem& problem, int64_t k) {
  const B* box = BoxRow<B>(problem, k) + (problem.stride - 4);
  return MakeAxis(box[0], box[2], static_cast<B>(problem.spatial_scale),
                  problem.pooled_width, problem.sampling_ratio,
                  problem.aligned);
}

// The image of box k, or -1 where the box has no meaning: its index is not in
// [0, batch), or a coordinate is not finite.
template <typename B>
TF_ROIALIGN_DEVICE int64_t MeaningfulImage(const Problem& problem, int64_t k) {
  const bool finite =
      BoxAxisY<B>(problem, k).finite && BoxAxisX<B>(problem, k).finite;
  return finite ? BoxImage<B>(problem, k) : -1;
}

}  // namespace gpu
}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CUDA_PROBLEM_H_
