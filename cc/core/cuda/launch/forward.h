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
  const ListSizes lists = ListSizesFor(problem, 1, kBinsInHand, kMaxListTaps);
  kernel.y_capacity = kRatio2 ? kTapGroup : lists.y;
  kernel.x_capacity =
      kRatio2 ? kTapGroup * Min(kBinsInHand, problem.pooled_width()) : lists.x;
  kernel.first_unit = 0;
  return device.Launch(
      kernel, problem.boxes * problem.pooled_height(),
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
  // As many channels as leave room for the columns of one row of bins.
  kernel.block_channels = kMostBlockChannels;
  while (kernel.block_channels > kLeastBlockChannels &&
         kernel.block_channels * lists.x > Kernel::kMaxColumnSums / 2) {
    kernel.block_channels /= 2;
  }
  kernel.column_sums = Min<int64_t>(
      Kernel::kMaxColumnSums, int64_t(kernel.block_channels) * lists.x *
                                  Min(kBinsInHand, problem.pooled_height()));
  kernel.y_capacity = lists.y;
  kernel.x_capacity = Min(lists.x, kernel.column_sums / kernel.block_channels /
                                       kTapGroup * kTapGroup);
  kernel.lists_fit = lists.fit && kernel.x_capacity == lists.x;
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
