#include "cc/kernels/cuda_device.h"

#include <cstdint>

#include "absl/status/status.h"
#include "tensorflow/core/framework/device_base.h"
#include "tensorflow/core/framework/tensor_shape.h"
#include "xla/stream_executor/stream.h"

namespace tf_roialign {

absl::Status CudaDevice::AllocateOutput(tensorflow::OpKernelContext* context,
                                        int index,
                                        const tensorflow::TensorShape& shape,
                                        void** data) {
  tensorflow::Tensor* output = nullptr;
  TF_RETURN_IF_ERROR(context->allocate_output(index, shape, &output));
  *data = output->data();
  return absl::OkStatus();
}

CudaContext CudaDevice::core() {
  void* stream = context_->op_device_context()
                     ->stream()
                     ->platform_specific_handle()
                     .stream;
  return {stream, [this](size_t bytes) { return Allocate(bytes); }};
}

void* CudaDevice::Allocate(size_t bytes) {
  scratch_.emplace_back();
  const absl::Status status = context_->allocate_temp(
      tensorflow::DT_INT8,
      tensorflow::TensorShape({static_cast<int64_t>(bytes)}), &scratch_.back());
  return status.ok() ? scratch_.back().data() : nullptr;
}

}  // namespace tf_roialign
