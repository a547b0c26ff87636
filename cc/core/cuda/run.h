// From a call to kernels: checks what only kernels limit, chooses among them,
// asks for scratch memory and launches. Device is what launches, so that tests
// run the same code on an emulated one:
//
//   void* Allocate(size_t bytes);           // null: out of memory
//   template <typename Kernel>              // empty, or what went wrong
//   std::string Launch(Kernel kernel, int64_t blocks, int shared_bytes);
//
// Launch sets kernel.first_unit where it needs several grids.

#ifndef TF_ROIALIGN_CC_CORE_CUDA_RUN_H_
#define TF_ROIALIGN_CC_CORE_CUDA_RUN_H_

#include <cstdint>
#include <string>

#include "cc/core/cuda/box_grad.h"
#include "cc/core/cuda/box_order.h"
#include "cc/core/cuda/feature_grad.h"
#include "cc/core/cuda/forward_nchw.h"
#include "cc/core/cuda/forward_nhwc.h"
#include "cc/core/cuda/problem.h"
#include "cc/core/cuda/roi_align_cuda.h"

namespace tf_roialign {
namespace gpu {

// Blocks that keep the largest devices busy for several rounds.
constexpr int64_t kEnoughBlocks = 2048;

inline std::string CheckLimits(const Params& params, const Sizes& sizes,
                               size_t element_bytes) {
  const int64_t limit = int64_t(1) << 31;
  const auto too_large = [&](const char* what, int64_t size) {
    return std::string("RoIAlign on a GPU takes less than 2^31 ") + what +
           ", got " + std::to_string(size);
  };
  if (sizes.height >= limit) return too_large("rows", sizes.height);
  if (sizes.width >= limit) return too_large("columns", sizes.width);
  if (sizes.batch >= limit) return too_large("images", sizes.batch);
  if (sizes.boxes >= limit) return too_large("boxes", sizes.boxes);
  const int64_t channel_limit = limit / int64_t(element_bytes) / 64;
  if (sizes.channels >= channel_limit) {
    return "RoIAlign on a GPU takes less than " +
           std::to_string(channel_limit) + " channels, got " +
           std::to_string(sizes.channels);
  }
  if (params.pooled_height >= limit / 64 || params.pooled_width >= limit / 64) {
    return "RoIAlign on a GPU takes an `output_size` below 2^25, got [" +
           std::to_string(params.pooled_height) + ", " +
           std::to_string(params.pooled_width) + "]";
  }
  return "";
}

template <typename B>
Problem MakeProblem(const Params& params, const Sizes& sizes,
                    const CudaBoxes<B>& boxes) {
  Problem problem;
  problem.pooled_height = static_cast<int>(params.pooled_height);
  problem.pooled_width = static_cast<int>(params.pooled_width);
  problem.spatial_scale = params.spatial_scale;
  problem.sampling_ratio = params.sampling_ratio;
  problem.aligned = params.aligned;
  problem.batch = sizes.batch;
  problem.height = static_cast<int>(sizes.height);
  problem.width = static_cast<int>(sizes.width);
  problem.channels = static_cast<int>(sizes.channels);
  problem.boxes_are_double = sizeof(B) == sizeof(double);
  problem.indices_are_64_bit = boxes.indices_are_64_bit;
  problem.form = boxes.form;
  problem.boxes = boxes.count;
  problem.stride = boxes.stride;
  problem.boxes_per_image = sizes.batch > 0 ? boxes.count / sizes.batch : 1;
  if (problem.boxes_per_image < 1) problem.boxes_per_image = 1;
  problem.rows = boxes.rows;
  problem.box_indices = boxes.box_indices;
  return problem;
}

// Whether 16-byte loads and stores of channels are aligned.
template <typename T>
bool CanBeWide(const Problem& problem, const void* a, const void* b) {
  return problem.channels % kWidest<T> == 0 &&
         (reinterpret_cast<uintptr_t>(a) | reinterpret_cast<uintptr_t>(b)) %
                 16 ==
             0;
}

// Threads along the channels: a power of two.
inline int LanesFor(int channels, int vector, int threads) {
  int lanes = 8;
  while (lanes < threads && lanes * vector < channels) lanes *= 2;
  return lanes;
}

inline int RoundUp(int64_t value, int multiple) {
  return static_cast<int>((value + multiple - 1) / multiple * multiple);
}

// Capacities of the tap lists for `rows` by `bins` bins at a time.
struct ListSizes {
  int y;
  int x;
  bool fit;  // no box needs more
};

inline ListSizes ListSizesFor(const Problem& problem, int rows, int bins,
                              int most) {
  const int64_t y = ListTapsBound(
      problem.sampling_ratio, Min(rows, problem.pooled_height), problem.height);
  const int64_t x = ListTapsBound(
      problem.sampling_ratio, Min(bins, problem.pooled_width), problem.width);
  return {RoundUp(Min<int64_t>(y, most), kTapGroup),
          RoundUp(Min<int64_t>(x, most), kTapGroup), y <= most && x <= most};
}

template <typename T, int V, bool kRatio2, typename Device>
std::string LaunchForwardNhwc(Device& device, const Problem& problem,
                              const T* features, T* output) {
  using Kernel = ForwardNhwc<T, V, kRatio2>;
  Kernel kernel;
  kernel.problem = problem;
  kernel.features = features;
  kernel.output = output;
  kernel.lanes = LanesFor(problem.channels, V, Kernel::kThreads);
  const ListSizes lists = ListSizesFor(problem, 1, kBinsInHand, kMaxListTaps);
  kernel.y_capacity = kRatio2 ? kTapGroup : lists.y;
  kernel.x_capacity =
      kRatio2 ? kTapGroup * Min(kBinsInHand, problem.pooled_width) : lists.x;
  kernel.first_unit = 0;
  return device.Launch(
      kernel, problem.boxes * problem.pooled_height,
      Kernel::SharedBytes(kernel.y_capacity, kernel.x_capacity));
}

template <typename T, int V, typename Device>
std::string ForwardNhwcOfWidth(Device& device, const Problem& problem,
                               const T* features, T* output) {
  return problem.sampling_ratio == 2
             ? LaunchForwardNhwc<T, V, true>(device, problem, features, output)
             : LaunchForwardNhwc<T, V, false>(device, problem, features,
                                              output);
}

template <typename T, typename Device>
std::string LaunchForwardNchw(Device& device, const Problem& problem,
                              const T* features, T* output) {
  using Kernel = ForwardNchw<T>;
  Kernel kernel;
  kernel.problem = problem;
  kernel.features = features;
  kernel.output = output;
  constexpr int kMost = 512;
  ListSizes lists = ListSizesFor(problem, kBinsInHand, kBinsInHand, kMost);
  // As many channels as leave room for the columns of one row of bins.
  kernel.block_channels = 32;
  while (kernel.block_channels > 8 &&
         kernel.block_channels * lists.x > Kernel::kMaxColumnSums / 2) {
    kernel.block_channels /= 2;
  }
  kernel.column_sums = Min<int64_t>(
      Kernel::kMaxColumnSums, int64_t(kernel.block_channels) * lists.x *
                                  Min(kBinsInHand, problem.pooled_height));
  kernel.y_capacity = lists.y;
  kernel.x_capacity = Min(lists.x, kernel.column_sums / kernel.block_channels /
                                       kTapGroup * kTapGroup);
  kernel.lists_fit = lists.fit && kernel.x_capacity == lists.x;
  kernel.first_unit = 0;
  const int64_t slices =
      (problem.channels + kernel.block_channels - 1) / kernel.block_channels;
  return device.Launch(
      kernel, problem.boxes * slices,
      Kernel::SharedBytes(kernel.column_sums, kernel.y_capacity,
                          kernel.x_capacity));
}

template <typename T, typename B, typename Device>
std::string Forward(Device& device, const Params& params, const Sizes& sizes,
                    const CudaBoxes<B>& boxes, const T* features, T* output) {
  if (boxes.count == 0 || sizes.channels == 0) return "";
  const std::string problem_text = CheckLimits(params, sizes, sizeof(T));
  if (!problem_text.empty()) return problem_text;
  const Problem problem = MakeProblem(params, sizes, boxes);
  if (params.layout == Layout::kNCHW) {
    return LaunchForwardNchw(device, problem, features, output);
  }
  return CanBeWide<T>(problem, features, output)
             ? ForwardNhwcOfWidth<T, kWidest<T>>(device, problem, features,
                                                 output)
             : ForwardNhwcOfWidth<T, 1>(device, problem, features, output);
}

inline TileShape ShapeOfTile(int pixels) {
  TileShape shape = {0, 0};
  while ((1 << (shape.width_log2 + shape.height_log2)) < pixels) {
    (shape.width_log2 == shape.height_log2 ? shape.width_log2
                                           : shape.height_log2) += 1;
  }
  return shape;
}

inline int64_t TilesOf(const Problem& problem, const TileShape& shape) {
  const int64_t width = int64_t(1) << shape.width_log2;
  const int64_t height = int64_t(1) << shape.height_log2;
  return problem.batch * ((problem.height + height - 1) / height) *
         ((problem.width + width - 1) / width);
}

// One block makes its lists once for several slices of the channels, but there
// have to be enough blocks.
inline int SliceGroups(int64_t tiles, int64_t slices) {
  return static_cast<int>(
      Min(slices, Max<int64_t>(1, (kEnoughBlocks + tiles - 1) / tiles)));
}

template <typename T, int V, typename Device>
std::string LaunchFeatureGradNhwc(Device& device, const Problem& problem,
                                  const OrderedBoxes& boxes,
                                  const T* grad_output, T* grad_features) {
  using Kernel = FeatureGradNhwc<T, V>;
  Kernel kernel;
  kernel.problem = problem;
  kernel.boxes = boxes;
  kernel.grad_output = grad_output;
  kernel.grad_features = grad_features;
  kernel.lanes = LanesFor(problem.channels, V, Kernel::kThreads);
  kernel.shape = ShapeOfTile(Kernel::kThreads / kernel.lanes * Kernel::kPixels);
  const int per_slice = kernel.lanes * V;
  const int64_t tiles = TilesOf(problem, kernel.shape);
  kernel.slice_groups =
      SliceGroups(tiles, (problem.channels + per_slice - 1) / per_slice);
  kernel.first_unit = 0;
  return device.Launch(kernel, tiles * kernel.slice_groups,
                       Kernel::SharedBytes());
}

template <typename T, typename Device>
std::string LaunchFeatureGradNchw(Device& device, const Problem& problem,
                                  const OrderedBoxes& boxes,
                                  const T* grad_output, T* grad_features) {
  using Kernel = FeatureGradNchw<T>;
  Kernel kernel;
  kernel.problem = problem;
  kernel.boxes = boxes;
  kernel.grad_output = grad_output;
  kernel.grad_features = grad_features;
  kernel.shape = {4, 1};  // a line of 16 pixels is 64 bytes of float
  const int per_slice = (Kernel::kThreads >> 5) * Kernel::kChannels;
  const int64_t tiles = TilesOf(problem, kernel.shape);
  kernel.slice_groups =
      SliceGroups(tiles, (problem.channels + per_slice - 1) / per_slice);
  kernel.first_unit = 0;
  return device.Launch(kernel, tiles * kernel.slice_groups,
                       Kernel::SharedBytes());
}

template <typename T, typename B, typename Device>
std::string FeatureGrad(Device& device, const Params& params,
                        const Sizes& sizes, const CudaBoxes<B>& boxes,
                        const T* grad_output, T* grad_features) {
  if (sizes.batch == 0 || sizes.height == 0 || sizes.width == 0 ||
      sizes.channels == 0) {
    return "";
  }
  std::string error = CheckLimits(params, sizes, sizeof(T));
  if (!error.empty()) return error;
  const Problem problem = MakeProblem(params, sizes, boxes);

  OrderedBoxes ordered = {nullptr, nullptr, nullptr};
  if (boxes.count > 0) {
    const bool group = sizes.batch > 1;
    const size_t count = boxes.count;
    const size_t images_bytes = (count * sizeof(int) + 15) / 16 * 16;
    const size_t spans_bytes = count * sizeof(BoxSpan);
    const size_t ranges_bytes = sizes.batch * sizeof(BoxRange);
    char* scratch = static_cast<char*>(
        device.Allocate(group ? 2 * (images_bytes + spans_bytes) + ranges_bytes
                              : images_bytes + spans_bytes));
    if (scratch == nullptr) {
      return "There is not enough GPU memory for the scratch space of "
             "RoIAlign's gradient";
    }
    FindBoxSpans find;
    find.problem = problem;
    find.spans = reinterpret_cast<BoxSpan*>(scratch);
    find.images = reinterpret_cast<int*>(scratch + spans_bytes);
    find.first_unit = 0;
    error = device.Launch(find,
                          (boxes.count + find.kThreads - 1) / find.kThreads, 0);
    if (!error.empty()) return error;
    ordered.spans = find.spans;
    if (group) {
      scratch += spans_bytes + images_bytes;
      GroupBoxes kernel;
      kernel.boxes = boxes.count;
      kernel.images = find.images;
      kernel.spans = find.spans;
      kernel.ordered_spans = reinterpret_cast<BoxSpan*>(scratch);
      kernel.ranges = reinterpret_cast<BoxRange*>(scratch + spans_bytes);
      kernel.order =
          reinterpret_cast<int*>(scratch + spans_bytes + ranges_bytes);
      kernel.first_unit = 0;
      error = device.Launch(kernel, sizes.batch, GroupBoxes::SharedBytes());
      if (!error.empty()) return error;
      ordered = {kernel.order, kernel.ordered_spans, kernel.ranges};
    }
  }
  if (params.layout == Layout::kNCHW) {
    return LaunchFeatureGradNchw(device, problem, ordered, grad_output,
                                 grad_features);
  }
  return CanBeWide<T>(problem, grad_output, grad_features)
             ? LaunchFeatureGradNhwc<T, kWidest<T>>(device, problem, ordered,
                                                    grad_output, grad_features)
             : LaunchFeatureGradNhwc<T, 1>(device, problem, ordered,
                                           grad_output, grad_features);
}

template <typename T, int V, typename Device>
std::string LaunchBoxGradNhwc(Device& device, const Problem& problem,
                              const T* features, const T* grad_output,
                              BoxSums* parts) {
  using Kernel = BoxGradNhwc<T, V>;
  Kernel kernel;
  kernel.problem = problem;
  kernel.features = features;
  kernel.grad_output = grad_output;
  kernel.parts = parts;
  kernel.lanes = LanesFor(problem.channels, V, Kernel::kThreads);
  const ListSizes lists =
      ListSizesFor(problem, 1, kBinsInHand, kMaxListTaps / 2);
  kernel.y_capacity = lists.y;
  kernel.x_capacity = lists.x;
  kernel.first_unit = 0;
  return device.Launch(
      kernel, problem.boxes * problem.pooled_height,
      Kernel::SharedBytes(kernel.y_capacity, kernel.x_capacity));
}

template <typename T, typename B, typename Device>
std::string BoxGrad(Device& device, const Params& params, const Sizes& sizes,
                    const CudaBoxes<B>& boxes, const T* features,
                    const T* grad_output, B* grad_boxes) {
  if (boxes.count == 0) return "";
  std::string error = CheckLimits(params, sizes, sizeof(T));
  if (!error.empty()) return error;
  const Problem problem = MakeProblem(params, sizes, boxes);
  constexpr int kBlockChannels = 32;
  const bool nchw = params.layout == Layout::kNCHW;
  FinishBoxGrad finish;
  finish.problem = problem;
  finish.parts = nullptr;
  finish.parts_per_box =
      sizes.channels == 0 ? 0
      : nchw ? (sizes.channels + kBlockChannels - 1) / kBlockChannels
             : params.pooled_height;
  finish.grad_boxes = grad_boxes;
  finish.first_unit = 0;
  if (finish.parts_per_box > 0) {
    BoxSums* parts = static_cast<BoxSums*>(
        device.Allocate(boxes.count * finish.parts_per_box * sizeof(BoxSums)));
    if (parts == nullptr) {
      return "There is not enough GPU memory for the scratch space of "
             "RoIAlign's gradient to the boxes";
    }
    finish.parts = parts;
    if (nchw) {
      BoxGradNchw<T> kernel;
      kernel.problem = problem;
      kernel.features = features;
      kernel.grad_output = grad_output;
      kernel.parts = parts;
      kernel.block_channels = kBlockChannels;
      const ListSizes lists =
          ListSizesFor(problem, kBinsInHand, kBinsInHand, kMaxListTaps / 2);
      kernel.y_capacity = lists.y;
      kernel.x_capacity = lists.x;
      kernel.first_unit = 0;
      error = device.Launch(kernel, problem.boxes * finish.parts_per_box,
                            BoxGradNchw<T>::SharedBytes(lists.y, lists.x));
    } else if (CanBeWide<T>(problem, features, grad_output)) {
      error = LaunchBoxGradNhwc<T, kWidest<T>>(device, problem, features,
                                               grad_output, parts);
    } else {
      error = LaunchBoxGradNhwc<T, 1>(device, problem, features, grad_output,
                                      parts);
    }
    if (!error.empty()) return error;
  }
  return device.Launch(
      finish, (boxes.count + finish.kThreads - 1) / finish.kThreads, 0);
}

}  // namespace gpu
}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CUDA_RUN_H_
