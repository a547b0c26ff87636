// Launches what mode "max" asks of each bin's largest sample.

#ifndef TF_ROIALIGN_CC_CORE_CUDA_LAUNCH_MAX_OF_BINS_H_
#define TF_ROIALIGN_CC_CORE_CUDA_LAUNCH_MAX_OF_BINS_H_

#include <cstdint>

#include "cc/core/base/status.h"
#include "cc/core/cuda/kernels/max_of_bins.h"
#include "cc/core/cuda/kernels/sample_list.h"
#include "cc/core/cuda/launch/choices.h"
#include "cc/core/cuda/launch/make_problem.h"
#include "cc/core/cuda/tuning.h"

namespace tf_roialign {
namespace cuda {

template <typename T, int V, typename Task, typename Device>
Status LaunchMaxOfWidth(Device& device, const Problem& problem,
                        const Task& task) {
  using Kernel = MaxOfBins<T, V, Task>;
  Kernel kernel;
  kernel.problem = problem;
  kernel.task = task;
  const int bins = Min(kBinsInHand, problem.pooled_width());
  const Longest longest = LongestMap(problem);
  kernel.y_capacity = static_cast<int>(
      Min<int64_t>(MaxSamplesBound(problem.sampling_ratio, longest.height),
                   kMaxListSamples / 8));
  kernel.x_capacity = static_cast<int>(
      Min<int64_t>(MaxSamplesBound(problem.sampling_ratio, longest.width),
                   kMaxListSamples / bins));
  kernel.first_unit = 0;
  return device.Launch(
      kernel, problem.boxes * problem.pooled_height(),
      Kernel::SharedBytes(bins, kernel.y_capacity, kernel.x_capacity));
}

// `pooled`: what the task stores or reads, for its alignment.
template <typename T, typename Task, typename Device>
Status LaunchMax(Device& device, const Problem& problem, const T* pooled,
                 const Task& task) {
  return problem.data_format == Layout::kNHWC && CanBeWide(problem, pooled)
             ? LaunchMaxOfWidth<T, Task::kChannels>(device, problem, task)
             : LaunchMaxOfWidth<T, 1>(device, problem, task);
}

}  // namespace cuda
}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CUDA_LAUNCH_MAX_OF_BINS_H_
