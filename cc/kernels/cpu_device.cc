#include "cc/kernels/cpu_device.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>

#include "cc/core/cpu/buffer_pool.h"
#include "cc/core/cpu/huge_pages.h"
#include "cc/core/cpu/shared_work.h"
#include "tensorflow/core/framework/allocator.h"
#include "tensorflow/core/framework/device_base.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/framework/types.h"
#include "tensorflow/core/util/work_sharder.h"

namespace tf_roialign {

namespace {

// The core's pool for TensorFlow's tensors.
class PoolAllocator : public tensorflow::Allocator {
 public:
  // Never destroyed, as the pool.
  static PoolAllocator* Instance() {
    static auto* const allocator = new PoolAllocator;
    return allocator;
  }

  std::string Name() override { return "tf_roialign"; }
  void* AllocateRaw(size_t, size_t bytes) override {
    static_assert(BufferPool::kAlignment >= kAllocatorAlignment, "");
    return pool_.Allocate(bytes);
  }
  void DeallocateRaw(void* data) override { pool_.Free(data); }
  tensorflow::AllocatorMemoryType GetMemoryType() const override {
    return tensorflow::AllocatorMemoryType::kHostPageable;
  }

 private:
  BufferPool& pool_ = BufferPool::Instance();
};

// Not pinned memory, and not an allocator that keeps buffers itself, such as
// that of TF_CPU_ALLOCATOR_USE_BFC=1.
bool IsOfTheCLibrary(tensorflow::Allocator* allocator) {
  return allocator->Name() == "cpu";
}

}  // namespace

absl::Status CpuDevice::AllocateOutput(tensorflow::OpKernelContext* context,
                                       int index,
                                       const tensorflow::TensorShape& shape,
                                       void** data) {
  const tensorflow::DataType dtype = context->expected_output_dtype(index);
  const double bytes =
      double(shape.num_elements()) * tensorflow::DataTypeSize(dtype);
  if (bytes >= double(BufferPool::kLeastBytes) &&
      IsOfTheCLibrary(
          context->get_allocator(context->output_alloc_attr(index)))) {
    const tensorflow::Tensor output(PoolAllocator::Instance(), dtype, shape);
    if (output.IsInitialized()) {
      context->set_output(index, output);
      *data = output.data();
      return absl::OkStatus();
    }
    // TensorFlow's own allocator has the words for the error.
  }
  tensorflow::Tensor* output = nullptr;
  TF_RETURN_IF_ERROR(context->allocate_output(index, shape, &output));
  AdviseHugePages(output->data(), output->TotalBytes());
  *data = output->data();
  return absl::OkStatus();
}

// ShareWork, as with XLA, and not TensorFlow's Shard: the calling thread works
// itself whatever the number of blocks, and threads take smaller blocks towards
// the end.
CpuDevice::CpuDevice(tensorflow::OpKernelContext* context) {
  const auto* workers = context->device()->tensorflow_cpu_worker_threads();
  count_ =
      std::min(workers->num_threads, tensorflow::GetPerThreadMaxParallelism());
  threads_ = [pool = workers->workers, count = count_](
                 int64_t units, int64_t unit_cost,
                 const std::function<void(int64_t, int64_t)>& run) {
    ShareWork(
        count,
        [pool](std::function<void()> task) { pool->Schedule(std::move(task)); },
        units, unit_cost, run);
  };
}

}  // namespace tf_roialign
