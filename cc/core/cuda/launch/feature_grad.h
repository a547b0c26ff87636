// Launches the gradient to the features.

#ifndef TF_ROIALIGN_CC_CORE_CUDA_LAUNCH_FEATURE_GRAD_H_
#define TF_ROIALIGN_CC_CORE_CUDA_LAUNCH_FEATURE_GRAD_H_

#include <cstddef>
#include <cstdint>

#include "cc/core/base/status.h"
#include "cc/core/cuda/kernels/box_order.h"
#include "cc/core/cuda/kernels/feature_grad.h"
#include "cc/core/cuda/kernels/upstream.h"
#include "cc/core/cuda/launch/choices.h"
#include "cc/core/cuda/launch/make_problem.h"
#include "cc/core/cuda/tuning.h"

namespace tf_roialign {
namespace cuda {

inline TileShape ShapeOfTile(int pixels) {
  TileShape shape = {0, 0};
  while ((1 << (shape.width_log2 + shape.height_log2)) < pixels) {
    (shape.width_log2 == shape.height_log2 ? shape.width_log2
                                           : shape.height_log2) += 1;
  }
  return shape;
}

inline int64_t TilesOf(const Problem& problem, const TileShape& shape) {
  int64_t tiles = 0;
  for (int i = 0; i < problem.map_count; ++i) {
    const TileGrid grid(problem.maps[i], shape);
    tiles += problem.batch * grid.down * grid.across;
  }
  return tiles;
}

// One block makes its lists once for several slices of the channels, but there
// have to be enough blocks.
inline int SliceGroups(int64_t tiles, int64_t slices) {
  return static_cast<int>(
      Min(slices, Max<int64_t>(1, CeilDiv(block_limits().enough, tiles))));
}

template <typename Kernel, typename Device>
Status LaunchTiles(Device& device, int per_slice, Kernel kernel) {
  const int64_t tiles = TilesOf(kernel.problem, kernel.shape);
  kernel.slice_groups =
      SliceGroups(tiles, CeilDiv(kernel.problem.channels, per_slice));
  kernel.first_unit = 0;
  return device.Launch(kernel, tiles * kernel.slice_groups,
                       Kernel::SharedBytes());
}

template <typename T, int V, typename Upstream, typename Device>
Status LaunchFeatureGradNhwc(Device& device, const Problem& problem,
                             const OrderedBoxes& boxes,
                             const Upstream& upstream) {
  using Kernel = FeatureGradNhwc<T, V, Upstream>;
  Kernel kernel;
  kernel.problem = problem;
  kernel.boxes = boxes;
  kernel.upstream = upstream;
  kernel.lanes = LanesFor(problem.channels, V, Kernel::kThreads);
  kernel.shape = ShapeOfTile(Kernel::kThreads / kernel.lanes * Kernel::kPixels);
  return LaunchTiles(device, kernel.lanes * V, kernel);
}

template <typename T, typename Upstream, typename Device>
Status LaunchFeatureGradNchw(Device& device, const Problem& problem,
                             const OrderedBoxes& boxes,
                             const Upstream& upstream) {
  using Kernel = FeatureGradNchw<T, Upstream>;
  Kernel kernel;
  kernel.problem = problem;
  kernel.boxes = boxes;
  kernel.upstream = upstream;
  kernel.shape = {kNchwTileWidthLog2, kNchwTileHeightLog2};
  return LaunchTiles(
      device, Kernel::kThreads / kernel.shape.pixels() * Kernel::kChannels,
      kernel);
}

inline Status NoScratch() {
  return Status::ResourceExhausted(
      "There is not enough GPU memory for the scratch space of RoIAlign's "
      "gradient");
}

// Finds the pixels of each box, and where there are several groups, brings the
// boxes into their order.
template <typename Device>
Status OrderBoxes(Device& device, const Problem& problem, int64_t groups,
                  OrderedBoxes* ordered) {
  if (problem.boxes == 0) return {};
  const size_t count = problem.boxes;
  const size_t groups_bytes = CeilDiv(count * sizeof(int), 16) * 16;
  const size_t pixels_bytes = count * sizeof(BoxPixels);
  const size_t ranges_bytes = groups * sizeof(BoxRange);
  char* scratch = static_cast<char*>(device.Allocate(
      groups > 1 ? 2 * (groups_bytes + pixels_bytes) + ranges_bytes
                 : groups_bytes + pixels_bytes));
  if (scratch == nullptr) return NoScratch();
  FindBoxPixels find;
  find.problem = problem;
  find.pixels = reinterpret_cast<BoxPixels*>(scratch);
  find.groups = reinterpret_cast<int*>(scratch + pixels_bytes);
  find.first_unit = 0;
  TF_ROIALIGN_RETURN_IF_ERROR(
      device.Launch(find, CeilDiv(problem.boxes, FindBoxPixels::kThreads), 0));
  ordered->pixels = find.pixels;
  if (groups == 1) return {};
  scratch += pixels_bytes + groups_bytes;
  GroupBoxes group;
  group.boxes = problem.boxes;
  group.groups = find.groups;
  group.pixels = find.pixels;
  group.ordered_pixels = reinterpret_cast<BoxPixels*>(scratch);
  group.ranges = reinterpret_cast<BoxRange*>(scratch + pixels_bytes);
  group.order = reinterpret_cast<int*>(scratch + pixels_bytes + ranges_bytes);
  group.first_unit = 0;
  TF_ROIALIGN_RETURN_IF_ERROR(
      device.Launch(group, groups, GroupBoxes::SharedBytes()));
  *ordered = {group.order, group.ordered_pixels, group.ranges};
  return {};
}

// Whether there is nothing to write.
template <typename T>
bool IsEmpty(const Sizes& sizes, const FeatureMaps<T>& grad_features) {
  int64_t pixels = 0;
  for (const FeatureMap<T>& map : grad_features) {
    pixels = Max(pixels, Min<int64_t>(map.height, map.width));
  }
  return sizes.batch == 0 || sizes.channels == 0 || pixels == 0;
}

// `problem`: its maps are the gradient's.
template <typename T, typename Upstream, typename Device>
Status LaunchFeatureGrad(Device& device, const Problem& problem,
                         const T* grad_output, const Upstream& upstream) {
  OrderedBoxes ordered = {nullptr, nullptr, nullptr};
  TF_ROIALIGN_RETURN_IF_ERROR(
      OrderBoxes(device, problem, problem.batch * problem.map_count, &ordered));
  if (problem.data_format == Layout::kNCHW) {
    return LaunchFeatureGradNchw<T>(device, problem, ordered, upstream);
  }
  return CanBeWide(problem, grad_output)
             ? LaunchFeatureGradNhwc<T, Upstream::kMostChannels>(
                   device, problem, ordered, upstream)
             : LaunchFeatureGradNhwc<T, 1>(device, problem, ordered, upstream);
}

template <typename T, typename B, typename Device>
Status FeatureGrad(Device& device, const Params& params, const Sizes& sizes,
                   const Boxes<B>& boxes, const T* grad_output,
                   const FeatureMaps<T>& grad_features) {
  if (IsEmpty(sizes, grad_features)) return {};
  TF_ROIALIGN_RETURN_IF_ERROR(Limits::Check(params, sizes, grad_features));
  return LaunchFeatureGrad<T>(device,
                              MakeProblem(params, sizes, boxes, grad_features),
                              grad_output, AvgUpstream<T>{grad_output});
}

}  // namespace cuda
}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CUDA_LAUNCH_FEATURE_GRAD_H_
