// Boxes in the three forms that the operator reads in place.

#ifndef TF_ROIALIGN_CC_CORE_CALL_BOXES_H_
#define TF_ROIALIGN_CC_CORE_CALL_BOXES_H_

#include <cstdint>

#include "cc/core/geometry/axis.h"
#include "cc/core/call/params.h"

namespace tf_roialign {

enum class BoxForm {
  kIndexed,   // [K, 5]: image index, x1, y1, x2, y2
  kSeparate,  // [K, 4] and box_indices [K]
  kDense,     // [N, M, 4]: M boxes for each image
};

// Where boxes lie in memory. Rows hold `stride` numbers, coordinates last.
template <typename T>
struct BoxTable {
  const T* rows;
  int64_t stride;
  int64_t count;
  const int64_t* image;  // [count], each in [0, batch)

  const T* coordinates(int64_t k) const {
    return rows + k * stride + (stride - 4);
  }
};

template <typename T>
struct BoxAxes {
  Axis<T> y;
  Axis<T> x;

  bool finite() const { return y.finite && x.finite; }
};

template <typename T>
BoxAxes<T> MakeBoxAxes(const Params& params, const T* coordinates) {
  const T scale = static_cast<T>(params.spatial_scale);
  return {MakeAxis(coordinates[1], coordinates[3], scale, params.pooled_height,
                   params.sampling_ratio, params.aligned),
          MakeAxis(coordinates[0], coordinates[2], scale, params.pooled_width,
                   params.sampling_ratio, params.aligned)};
}

// What the sum of a bin's samples is to be divided by for their average.
template <typename W, typename T>
W SamplesPerBin(const BoxAxes<T>& axes) {
  const W samples = W(axes.y.grid) * W(axes.x.grid);
  return samples > 1 ? samples : 1;
}

// Fills `image` [count]. Returns -1, or the first row whose index is not in
// [0, batch); a NaN is not. Fractions are cut off, as torchvision does.
template <typename T, typename Index>
int64_t ResolveImages(BoxForm form, const T* rows, int64_t count,
                      const Index* box_indices, int64_t batch, int64_t* image) {
  switch (form) {
    case BoxForm::kIndexed:
      for (int64_t k = 0; k < count; ++k) {
        const T index = rows[k * 5];
        if (!(index >= T(0) && index < T(batch))) return k;
        image[k] = static_cast<int64_t>(index);
      }
      break;
    case BoxForm::kSeparate:
      for (int64_t k = 0; k < count; ++k) {
        if (box_indices[k] < 0 || box_indices[k] >= batch) return k;
        image[k] = box_indices[k];
      }
      break;
    case BoxForm::kDense: {
      const int64_t per_image = batch > 0 ? count / batch : 0;
      for (int64_t n = 0, k = 0; n < batch; ++n) {
        for (int64_t m = 0; m < per_image; ++m) image[k++] = n;
      }
      break;
    }
  }
  return -1;
}

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CALL_BOXES_H_
