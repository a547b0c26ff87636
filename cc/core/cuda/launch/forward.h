// Launches the forward.

#ifndef TF_ROIALIGN_CC_CORE_CUDA_LAUNCH_FORWARD_H_
#define TF_ROIALIGN_CC_CORE_CUDA_LAUNCH_FORWARD_H_

#include <cstdint>

#include "cc/core/base/status.h"
#include "cc/core/cuda/kernels/forward_nchw.h"
#include "cc/core/cuda/kernels/forward_nhwc.h"
#include "cc/core/cuda/launch/choices.h"
#include "cc/core/cuda/launch/make_problem.h"
#include "cc/core/cuda/launch/max_of_bins.h"
#include "cc/core/cuda/tuning.h"

namespace tf_roialign {
namespace cuda {

template <typename T, int V, bool kRatio2, typename Device>
Status LaunchForwardNhwc(Device& device, const Problem& problem, T* output) {
  using Kernel = ForwardNhwc<T, V, kRatio2>;
  Kernel kernel;
  kernel.problem = problem;
  kernel.output = output;
  kernel.lanes = LanesFor(problem.channels, V, Kernel::kThreads);
  // As many rows as leave kEnoughBlocks, but bins for all groups of threads.
  const int64_t parts = CeilDiv(block_limits().enough, problem.boxes);
  const int64_t rows =
      Max(CeilDiv(problem.pooled_height(), parts),
          CeilDiv(Kernel::kThreads / kernel.lanes, problem.pooled_width()));
  kernel.block_rows = static_cast<int>(
      Min<int64_t>(rows, Min(kBinsInHand, problem.pooled_height())));
  const ListSizes lists =
      ListSizesFor(problem, kernel.block_rows, kBinsInHand, kMaxListTaps);
  kernel.y_capacity = kRatio2 ? kTapGroup * kernel.block_rows : lists.y;
  kernel.x_capacity =
      kRatio2 ? kTapGroup * Min(kBinsInHand, problem.pooled_width()) : lists.x;
  kernel.first_unit = 0;
  return device.Launch(
      kernel,
      problem.boxes * CeilDiv(problem.pooled_height(), kernel.block_rows),
      Kernel::SharedBytes(kernel.y_capacity, kernel.x_capacity));
}

template <typename T, int V, typename Device>
Status ForwardNhwcOfWidth(Device& device, const Problem& problem, T* output) {
  return problem.sampling_ratio == 2
             ? LaunchForwardNhwc<T, V, true>(device, problem, output)
             : LaunchForwardNhwc<T, V, false>(device, problem, output);
}

template <typename T, typename Device>
Status LaunchForwardNchw(Device& device, const Problem& problem, T* output) {
  using Kernel = ForwardNchw<T>;
  Kernel kernel;
  kernel.problem = problem;
  kernel.output = output;
  const ListSizes lists =
      ListSizesFor(problem, kBinsInHand, kBinsInHand, kMaxListTaps / 2);
  const int64_t slices = Min(CeilDiv(problem.channels, kLeastBlockChannels),
                             CeilDiv(block_limits().enough, problem.boxes));
  kernel.block_channels =
      RoundUp(CeilDiv(problem.channels, slices), Kernel::kTogether);
  kernel.column_sums = Kernel::kMaxColumnSums;
  kernel.lists_fit =
      lists.fit && lists.x * Kernel::kTogether <= kernel.column_sums;
  kernel.y_capacity = lists.y;
  kernel.x_capacity = lists.x;
  if (!kernel.lists_fit) {
    kernel.block_channels = Min(kernel.block_channels, kMostBlockChannels);
    const int stride = Kernel::ColumnStride(kernel.block_channels);
    kernel.x_capacity =
        Min(lists.x, kernel.column_sums / stride / kTapGroup * kTapGroup);
  }
  kernel.first_unit = 0;
  return device.Launch(
      kernel, problem.boxes * CeilDiv(problem.channels, kernel.block_channels),
      Kernel::SharedBytes(kernel.column_sums, kernel.y_capacity,
                          kernel.x_capacity));
}

template <typename T, typename B, typename Device>
Status Forward(Device& device, const Params& params, const Sizes& sizes,
               const Boxes<B>& boxes, const FeatureMaps<const T>& features,
               T* output) {
  if (boxes.count == 0 || sizes.channels == 0) return {};
  TF_ROIALIGN_RETURN_IF_ERROR(Limits::Check(params, sizes, features));
  const Problem problem = MakeProblem(params, sizes, boxes, features);
  if (params.mode == Mode::kMax) {
    return LaunchMax(device, problem, output, StoreMax<T>{output});
  }
  if (params.data_format == Layout::kNCHW) {
    return LaunchForwardNchw(device, problem, output);
  }
  return CanBeWide(problem, output)
             ? ForwardNhwcOfWidth<T, kWidest<T>>(device, problem, output)
             : ForwardNhwcOfWidth<T, 1>(device, problem, output);
}

}  // namespace cuda
}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CUDA_LAUNCH_FORWARD_H_
