// Launches the kernel of pool_row.h.

#ifndef TF_ROIALIGN_CC_CORE_CUDA_LAUNCH_POOL_ROW_H_
#define TF_ROIALIGN_CC_CORE_CUDA_LAUNCH_POOL_ROW_H_

#include <cstdint>

#include "cc/core/base/status.h"
#include "cc/core/cuda/kernels/pool_row.h"
#include "cc/core/cuda/launch/choices.h"
#include "cc/core/cuda/launch/make_problem.h"
#include "cc/core/cuda/tuning.h"

namespace tf_roialign {
namespace cuda {

template <int V, typename T, typename Task, typename Device>
Status LaunchPoolRowOfWidth(Device& device, const Problem& problem,
                            const Task& task, T* output) {
  using Kernel = PoolRow<T, V, Task>;
  Kernel kernel;
  kernel.problem = problem;
  kernel.task = task;
  kernel.output = output;
  const ListSizes lists =
      ListSizesFor(problem, 1, kBinsInHand, Task::kListTaps);
  kernel.y_capacity = lists.y;
  kernel.x_capacity = lists.x;
  kernel.first_unit = 0;
  return device.Launch(kernel, problem.boxes * problem.pooled_height(),
                       Kernel::SharedBytes(lists.y, lists.x));
}

template <typename T, typename Task, typename Device>
Status LaunchPoolRow(Device& device, const Problem& problem, const Task& task,
                     T* output) {
  constexpr int kWide = Task::kChannels;
  return problem.data_format == Layout::kNHWC &&
                 CanBeWide(problem, output, kWide)
             ? LaunchPoolRowOfWidth<kWide>(device, problem, task, output)
             : LaunchPoolRowOfWidth<1>(device, problem, task, output);
}

}  // namespace cuda
}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CUDA_LAUNCH_POOL_ROW_H_
