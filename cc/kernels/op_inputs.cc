#include "cc/kernels/op_inputs.h"

#include <atomic>
#include <new>

#include "cc/core/cpu/huge_pages.h"
#include "cc/ops/attributes.h"
#include "tensorflow/core/framework/device_base.h"
#include "tensorflow/core/util/work_sharder.h"

namespace tf_roialign {

absl::Status CheckShapes(const Params& params, const Shape& features,
                         const tensorflow::Tensor& boxes,
                         const tensorflow::Tensor& box_indices,
                         const tensorflow::Tensor* grad_output,
                         Signature* signature) {
  TF_RETURN_IF_ERROR(
      InvalidUnlessEmpty(CheckInputs(params, features, ToShape(boxes.shape()),
                                     ToShape(box_indices.shape()), signature)));
  if (grad_output == nullptr) return absl::OkStatus();
  return InvalidUnlessEmpty(
      CheckGradOutput(params, ToShape(grad_output->shape()), signature));
}

template <typename B>
absl::Status CheckedInputs<B>::Init(const Params& params, const Shape& features,
                                    const tensorflow::Tensor& boxes,
                                    const tensorflow::Tensor& box_indices,
                                    const tensorflow::Tensor* grad_output) {
  TF_RETURN_IF_ERROR(CheckShapes(params, features, boxes, box_indices,
                                 grad_output, &signature_));
  const B* rows = CoreData<B>(boxes);
  return InvalidUnlessEmpty(
      box_indices.dtype() == tensorflow::DT_INT32
          ? boxes_.Init(signature_, rows, CoreData<int32_t>(box_indices))
          : boxes_.Init(signature_, rows, CoreData<int64_t>(box_indices)));
}

template class CheckedInputs<float>;
template class CheckedInputs<double>;

RoiAlignOpBase::RoiAlignOpBase(tensorflow::OpKernelConstruction* context)
    : OpKernel(context) {
  OP_REQUIRES_OK(context, ReadParams(context, &params_));
}

void RoiAlignOpBase::Compute(tensorflow::OpKernelContext* context) {
  try {
    OP_REQUIRES_OK(context, Run(context));
  } catch (const std::bad_alloc&) {
    OP_REQUIRES_OK(context, absl::ResourceExhaustedError(OutOfMemory(params_)));
  }
}

absl::Status AllocateDeviceOutput(tensorflow::OpKernelContext* context,
                                  const Shape& shape,
                                  tensorflow::Tensor** output) {
  tensorflow::TensorShape tensor_shape;
  TF_RETURN_IF_ERROR(tensorflow::TensorShape::BuildTensorShape(
      absl::MakeConstSpan(shape.dims, shape.rank), &tensor_shape));
  return context->allocate_output(0, tensor_shape, output);
}

absl::Status AllocateOutput(tensorflow::OpKernelContext* context,
                            const Shape& shape, tensorflow::Tensor** output) {
  TF_RETURN_IF_ERROR(AllocateDeviceOutput(context, shape, output));
  AdviseHugePages((*output)->data(), (*output)->TotalBytes());
  return absl::OkStatus();
}

ParallelFor DeviceThreads(tensorflow::OpKernelContext* context) {
  const auto* threads = context->device()->tensorflow_cpu_worker_threads();
  return [threads](int64_t units, int64_t unit_cost,
                   const std::function<void(int64_t, int64_t)>& run) {
    // An exception may not leave a thread of the pool.
    std::atomic<bool> out_of_memory{false};
    tensorflow::Shard(threads->num_threads, threads->workers, units, unit_cost,
                      [&](int64_t first, int64_t last) {
                        try {
                          run(first, last);
                        } catch (const std::bad_alloc&) {
                          out_of_memory = true;
                        }
                      });
    if (out_of_memory) throw std::bad_alloc();
  };
}

}  // namespace tf_roialign
