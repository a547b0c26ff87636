// From a call to the Problem that kernels see.
//
// Everything in this folder is for any Device, so that tests run the same code
// on an emulated one:
//
//   void* Allocate(size_t bytes);           // null: out of memory
//   template <typename Kernel>
//   Status Launch(Kernel kernel, int64_t blocks, int shared_bytes);
//
// Launch sets kernel.first_unit where it needs several grids.

#ifndef TF_ROIALIGN_CC_CORE_CUDA_LAUNCH_MAKE_PROBLEM_H_
#define TF_ROIALIGN_CC_CORE_CUDA_LAUNCH_MAKE_PROBLEM_H_

#include <cstdint>
#include <string>

#include "cc/core/base/status.h"
#include "cc/core/call/boxes.h"
#include "cc/core/call/feature_maps.h"
#include "cc/core/call/params.h"
#include "cc/core/cuda/kernels/problem.h"

namespace tf_roialign {
namespace cuda {

// What only the kernels limit.
class Limits {
 public:
  template <typename T>
  static Status Check(const Params& params, const Sizes& sizes,
                      const FeatureMaps<T>& maps) {
    if (maps.count() > kMaxMaps) {
      return TooMany("feature maps", kMaxMaps + 1, maps.count());
    }
    for (const FeatureMap<T>& map : maps) {
      if (map.height >= kEnd) return TooMany("rows", kEnd, map.height);
      // A row's bytes are counted in 32 bits.
      if (map.width >= kSmallEnd) {
        return TooMany("columns", kSmallEnd, map.width);
      }
    }
    const int64_t images = kEnd / Max(maps.count(), 1);
    if (sizes.batch >= images) return TooMany("images", images, sizes.batch);
    if (sizes.boxes >= kEnd) return TooMany("boxes", kEnd, sizes.boxes);
    const int64_t channels = kEnd / int64_t(sizeof(T)) / 64;
    if (sizes.channels >= channels) {
      return TooMany("channels", channels, sizes.channels);
    }
    if (params.pooled_height() >= kBinsEnd ||
        params.pooled_width() >= kBinsEnd) {
      return Status::InvalidArgument(
          "RoIAlign on a GPU takes an `output_size` below 2^25, got [" +
          std::to_string(params.pooled_height()) + ", " +
          std::to_string(params.pooled_width()) + "]");
    }
    // A channel's bytes too.
    const int64_t bins = params.pooled_height() * params.pooled_width();
    if (bins >= kSmallEnd) return TooMany("bins", kSmallEnd, bins);
    return {};
  }

 private:
  static constexpr int64_t kEnd = int64_t(1) << 31;
  static constexpr int64_t kSmallEnd = kEnd / int64_t(sizeof(double));
  static constexpr int64_t kBinsEnd = int64_t(1) << 25;

  static Status TooMany(const char* what, int64_t end, int64_t got) {
    return Status::InvalidArgument(
        "RoIAlign on a GPU takes less than " +
        (end == kEnd ? "2^31" : std::to_string(end)) + " " + what + ", got " +
        std::to_string(got));
  }
};

// Once the limits are checked.
template <typename T, typename B>
Problem MakeProblem(const Params& params, const Sizes& sizes,
                    const Boxes<B>& boxes, const FeatureMaps<T>& maps) {
  Problem problem = {};
  static_cast<Params&>(problem) = params;
  problem.batch = sizes.batch;
  problem.channels = static_cast<int>(sizes.channels);
  problem.map_count = maps.count();
  for (int i = 0; i < maps.count(); ++i) {
    const FeatureMap<T>& map = maps[i];
    problem.maps[i] = {const_cast<void*>(static_cast<const void*>(map.data)),
                       static_cast<int>(map.height),
                       static_cast<int>(map.width), map.scale_y, map.scale_x};
  }
  problem.boxes_are_double = sizeof(B) == sizeof(double);
  problem.indices_are_64_bit = boxes.indices_are_64_bit;
  problem.form = boxes.form;
  problem.boxes = boxes.count;
  problem.columns = boxes.columns;
  problem.rows = boxes.rows;
  problem.box_indices = boxes.box_indices;
  problem.map_indices = boxes.map_indices;
  problem.map_indices_are_64_bit = boxes.map_indices_are_64_bit;
  problem.has_level_rule = boxes.level_rule != nullptr;
  if (problem.has_level_rule) problem.level_rule = *boxes.level_rule;
  problem.box_count = boxes.count_on_device;
  return problem;
}

}  // namespace cuda
}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CUDA_LAUNCH_MAKE_PROBLEM_H_
