// Launches the gradient to the boxes.

#ifndef TF_ROIALIGN_CC_CORE_CUDA_LAUNCH_BOX_GRAD_H_
#define TF_ROIALIGN_CC_CORE_CUDA_LAUNCH_BOX_GRAD_H_

#include <cstdint>

#include "cc/core/base/status.h"
#include "cc/core/cuda/kernels/box_grad.h"
#include "cc/core/cuda/launch/choices.h"
#include "cc/core/cuda/launch/make_problem.h"
#include "cc/core/cuda/launch/max_of_bins.h"
#include "cc/core/cuda/tuning.h"

namespace tf_roialign {
namespace cuda {

template <typename T, int V, typename Device>
Status LaunchBoxGradNhwc(Device& device, const Problem& problem,
                         const T* grad_output, BoxSums* parts) {
  using Kernel = BoxGradNhwc<T, V>;
  Kernel kernel;
  kernel.problem = problem;
  kernel.grad_output = grad_output;
  kernel.parts = parts;
  kernel.lanes = LanesFor(problem.channels, V, Kernel::kThreads);
  const ListSizes lists =
      ListSizesFor(problem, 1, kBinsInHand, kMaxListTaps / 2);
  kernel.y_capacity = lists.y;
  kernel.x_capacity = lists.x;
  kernel.first_unit = 0;
  return device.Launch(kernel, problem.boxes * problem.pooled_height(),
                       Kernel::SharedBytes(lists.y, lists.x));
}

template <typename T, typename Device>
Status LaunchBoxGradNchw(Device& device, const Problem& problem,
                         const T* grad_output, BoxSums* parts) {
  using Kernel = BoxGradNchw<T>;
  Kernel kernel;
  kernel.problem = problem;
  kernel.grad_output = grad_output;
  kernel.parts = parts;
  kernel.block_channels = kBoxGradBlockChannels;
  const ListSizes lists =
      ListSizesFor(problem, kBinsInHand, kBinsInHand, kMaxListTaps / 2);
  kernel.y_capacity = lists.y;
  kernel.x_capacity = lists.x;
  kernel.lists_fit = lists.fit;
  kernel.first_unit = 0;
  return device.Launch(
      kernel, problem.boxes * CeilDiv(problem.channels, kernel.block_channels),
      Kernel::SharedBytes(lists.y, lists.x));
}

template <typename T, typename B, typename Device>
Status BoxGrad(Device& device, const Params& params, const Sizes& sizes,
               const Boxes<B>& boxes, const FeatureMaps<const T>& features,
               const T* grad_output, B* grad_boxes) {
  if (boxes.count == 0) return {};
  TF_ROIALIGN_RETURN_IF_ERROR(Limits::Check(params, sizes, features));
  const Problem problem = MakeProblem(params, sizes, boxes, features);
  const bool max = params.mode == Mode::kMax;
  const bool nchw = params.data_format == Layout::kNCHW;
  FinishBoxGrad finish;
  finish.problem = problem;
  finish.parts = nullptr;
  finish.parts_per_box = sizes.channels == 0 ? 0
                         : nchw && !max
                             ? CeilDiv(sizes.channels, kBoxGradBlockChannels)
                             : params.pooled_height();
  finish.grad_boxes = grad_boxes;
  finish.first_unit = 0;
  if (finish.parts_per_box > 0) {
    BoxSums* parts = static_cast<BoxSums*>(
        device.Allocate(boxes.count * finish.parts_per_box * sizeof(BoxSums)));
    if (parts == nullptr) {
      return Status::ResourceExhausted(
          "There is not enough GPU memory for the scratch space of RoIAlign's "
          "gradient to the boxes");
    }
    finish.parts = parts;
    TF_ROIALIGN_RETURN_IF_ERROR(
        max    ? LaunchMax(device, problem, grad_output,
                           SumMaxBoxGrad<T>{grad_output, parts})
        : nchw ? LaunchBoxGradNchw(device, problem, grad_output, parts)
        : CanBeWide(problem, grad_output)
            ? LaunchBoxGradNhwc<T, kWidest<T>>(device, problem, grad_output,
                                               parts)
            : LaunchBoxGradNhwc<T, 1>(device, problem, grad_output, parts));
  }
  return device.Launch(finish, CeilDiv(boxes.count, FinishBoxGrad::kThreads),
                       0);
}

}  // namespace cuda
}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CUDA_LAUNCH_BOX_GRAD_H_
