#include "cc/kernels/cpu_device.h"

#include <atomic>
#include <functional>
#include <new>

#include "cc/core/cpu/huge_pages.h"
#include "tensorflow/core/framework/device_base.h"
#include "tensorflow/core/util/work_sharder.h"

namespace tf_roialign {

void CpuDevice::Prepare(const tensorflow::Tensor& output) {
  AdviseHugePages(output.data(), output.TotalBytes());
}

CpuDevice::CpuDevice(tensorflow::OpKernelContext* context) {
  const auto* threads = context->device()->tensorflow_cpu_worker_threads();
  threads_ = [threads](int64_t units, int64_t unit_cost,
                       const std::function<void(int64_t, int64_t)>& run) {
    // An exception may not leave a thread of the pool.
    std::atomic<bool> out_of_memory{false};
    tensorflow::Shard(threads->num_threads, threads->workers, units, unit_cost,
                      [&](int64_t begin, int64_t end) {
                        try {
                          run(begin, end);
                        } catch (const std::bad_alloc&) {
                          out_of_memory = true;
                        }
                      });
    if (out_of_memory) throw std::bad_alloc();
  };
}

}  // namespace tf_roialign
