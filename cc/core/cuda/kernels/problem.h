// One call as kernels see it, and how they read its boxes.

#ifndef TF_ROIALIGN_CC_CORE_CUDA_KERNELS_PROBLEM_H_
#define TF_ROIALIGN_CC_CORE_CUDA_KERNELS_PROBLEM_H_

#include <cstdint>

#include "cc/core/call/boxes.h"
#include "cc/core/call/params.h"
#include "cc/core/cuda/platform/portable.h"
#include "cc/core/geometry/box_axes.h"
#include "cc/core/geometry/taps.h"

namespace tf_roialign {
namespace cuda {

// A FeatureMap of any dtype.
struct DeviceMap {
  void* data;
  int height;
  int width;
  double scale_y;
  double scale_x;

  TF_ROIALIGN_HOST_DEVICE_INLINE int64_t pixels() const {
    return int64_t(height) * width;
  }
  template <typename T>
  TF_ROIALIGN_HOST_DEVICE_INLINE T* As() const {
    return static_cast<T*>(data);
  }
};

// Sizes along one axis fit 32 bits (the drivers check that); products of two
// or more are computed in 64.
struct Problem : Params {
  int64_t batch;
  int channels;
  int map_count;
  DeviceMap maps[kMaxMaps];

  // Boxes<B>. Kernels are compiled for both dtypes at once and ask
  // `boxes_are_double`: the geometry is a small part of them.
  bool boxes_are_double;
  bool indices_are_64_bit;
  BoxForm form;
  int64_t boxes;
  int64_t columns;
  const void* rows;
  const void* box_indices;
  const void* map_indices;
  bool map_indices_are_64_bit;
  bool has_level_rule;
  LevelRule level_rule;
  // How many of the boxes there are; null: all. The others, whose rows are
  // rubbish, have no meaning.
  const int32_t* box_count;
  // Rows like those of the boxes: how they move. Null where no kernel asks.
  const void* direction;

  TF_ROIALIGN_HOST_DEVICE_INLINE int pooled_height() const {
    return static_cast<int>(output_size.height);
  }
  TF_ROIALIGN_HOST_DEVICE_INLINE int pooled_width() const {
    return static_cast<int>(output_size.width);
  }
  TF_ROIALIGN_HOST_DEVICE_INLINE int64_t bins() const {
    return int64_t(pooled_height()) * pooled_width();
  }
  template <typename B>
  TF_ROIALIGN_HOST_DEVICE_INLINE Boxes<B> BoxesAs() const {
    return {form,        static_cast<const B*>(rows),
            columns,     boxes,
            box_indices, indices_are_64_bit,
            map_indices, map_indices_are_64_bit};
  }
};

// A box and the map that it reads, which is looked up once.
class BoxOnMap {
 public:
  TF_ROIALIGN_DEVICE BoxOnMap(const Problem& problem, int64_t k)
      : problem_(problem),
        k_(k),
        map_index_(problem.boxes_are_double ? MapAs<double>(problem, k)
                                            : MapAs<float>(problem, k)) {}

  TF_ROIALIGN_DEVICE const Problem& problem() const { return problem_; }
  // Any, if the box has no meaning.
  TF_ROIALIGN_DEVICE const DeviceMap& map() const {
    return problem_.maps[Max(0, map_index_)];
  }
  TF_ROIALIGN_DEVICE int map_index() const { return map_index_; }

  template <typename B>
  TF_ROIALIGN_DEVICE AxisOnMap<B, int> AxisY() const {
    return {BoxAxisY(problem_, map(), coordinates<B>()),
            problem_.pooled_height(), map().height,
            static_cast<B>(map().scale_y)};
  }
  template <typename B>
  TF_ROIALIGN_DEVICE AxisOnMap<B, int> AxisX() const {
    return {BoxAxisX(problem_, map(), coordinates<B>()),
            problem_.pooled_width(), map().width,
            static_cast<B>(map().scale_x)};
  }

  // The box's image, or -1 where the box has no meaning.
  template <typename B>
  TF_ROIALIGN_DEVICE int64_t MeaningfulImageAs() const {
    if (map_index_ < 0 || map().height == 0 || map().width == 0) return -1;
    if (problem_.box_count != nullptr && k_ >= *problem_.box_count) return -1;
    const bool finite = MakeBoxAxes(problem_, map(), coordinates<B>()).finite();
    return finite ? ImageOfBox(problem_.BoxesAs<B>(), k_, problem_.batch) : -1;
  }
  TF_ROIALIGN_DEVICE int64_t MeaningfulImage() const {
    return problem_.boxes_are_double ? MeaningfulImageAs<double>()
                                     : MeaningfulImageAs<float>();
  }

 private:
  template <typename B>
  static TF_ROIALIGN_DEVICE int MapAs(const Problem& problem, int64_t k) {
    return MapOfBox(problem.BoxesAs<B>(),
                    problem.has_level_rule ? &problem.level_rule : nullptr, k,
                    problem.map_count);
  }
  template <typename B>
  TF_ROIALIGN_DEVICE const B* coordinates() const {
    return problem_.BoxesAs<B>().coordinates(k_);
  }

  const Problem& problem_;
  int64_t k_;
  int map_index_;
};

}  // namespace cuda
}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CUDA_KERNELS_PROBLEM_H_
