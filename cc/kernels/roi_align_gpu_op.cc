// GPU OpKernels: check shapes, allocate, queue the core's kernels on
// TensorFlow's stream. Nothing here waits for the device, and values on it are
// not looked at.

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "cc/core/cuda/roi_align_cuda.h"
#include "cc/core/call/signature.h"
#include "cc/kernels/op_inputs.h"
#include "cc/ops/attributes.h"
#include "tensorflow/core/framework/device_base.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "xla/stream_executor/stream.h"

namespace tf_roialign {
namespace {

using tensorflow::OpKernelContext;
using tensorflow::Tensor;

// What the core says is wrong, as TensorFlow wants it.
absl::Status ToStatus(const std::string& problem) {
  if (problem.empty()) return absl::OkStatus();
  return IsLackOfGpuMemory(problem) ? absl::ResourceExhaustedError(problem)
                                    : absl::InternalError(problem);
}

// TensorFlow's stream and allocator. Scratch memory may be freed while kernels
// that use it are queued: TensorFlow's allocator gives it to later work on the
// same stream only.
class GpuContext {
 public:
  explicit GpuContext(OpKernelContext* context) : context_(context) {}

  CudaContext core() {
    void* stream = context_->op_device_context()
                       ->stream()
                       ->platform_specific_handle()
                       .stream;
    return {stream, [this](size_t bytes) { return Allocate(bytes); }};
  }

 private:
  void* Allocate(size_t bytes) {
    scratch_.emplace_back();
    const absl::Status status = context_->allocate_temp(
        tensorflow::DT_INT8,
        tensorflow::TensorShape({static_cast<int64_t>(bytes)}),
        &scratch_.back());
    return status.ok() ? scratch_.back().data() : nullptr;
  }

  OpKernelContext* context_;
  std::vector<Tensor> scratch_;
};

template <typename B>
CudaBoxes<B> DeviceBoxes(const Signature& signature, const Tensor& boxes,
                         const Tensor& box_indices) {
  return {signature.form,
          CoreData<B>(boxes),
          signature.columns,
          signature.sizes.boxes,
          signature.form == BoxForm::kSeparate ? box_indices.data() : nullptr,
          box_indices.dtype() == tensorflow::DT_INT64};
}

template <typename T, typename B>
class RoiAlignGpuOp : public RoiAlignOpBase {
 public:
  using RoiAlignOpBase::RoiAlignOpBase;

 protected:
  absl::Status Run(OpKernelContext* context) override {
    const Tensor& features = context->input(0);
    Signature signature;
    TF_RETURN_IF_ERROR(CheckShapes(params(), ToShape(features.shape()),
                                   context->input(1), context->input(2),
                                   /*grad_output=*/nullptr, &signature));
    Tensor* output = nullptr;
    TF_RETURN_IF_ERROR(
        AllocateDeviceOutput(context, signature.Output(params()), &output));
    GpuContext gpu(context);
    return ToStatus(RoiAlignForwardCuda(
        gpu.core(), params(), signature.sizes,
        DeviceBoxes<B>(signature, context->input(1), context->input(2)),
        CoreData<T>(features), MutableCoreData<T>(output)));
  }
};

template <typename T, typename B>
class RoiAlignGradGpuOp : public RoiAlignOpBase {
 public:
  using RoiAlignOpBase::RoiAlignOpBase;

 protected:
  absl::Status Run(OpKernelContext* context) override {
    const Tensor& grad_output = context->input(0);
    Shape features;
    TF_RETURN_IF_ERROR(ReadFeaturesShape(context->input(3), &features));
    Signature signature;
    TF_RETURN_IF_ERROR(CheckShapes(params(), features, context->input(1),
                                   context->input(2), &grad_output,
                                   &signature));
    Tensor* grad_features = nullptr;
    TF_RETURN_IF_ERROR(AllocateDeviceOutput(context, features, &grad_features));
    GpuContext gpu(context);
    return ToStatus(RoiAlignFeatureGradCuda(
        gpu.core(), params(), signature.sizes,
        DeviceBoxes<B>(signature, context->input(1), context->input(2)),
        CoreData<T>(grad_output), MutableCoreData<T>(grad_features)));
  }
};

template <typename T, typename B>
class RoiAlignBoxesGradGpuOp : public RoiAlignOpBase {
 public:
  using RoiAlignOpBase::RoiAlignOpBase;

 protected:
  absl::Status Run(OpKernelContext* context) override {
    const Tensor& grad_output = context->input(0);
    const Tensor& features = context->input(1);
    Signature signature;
    TF_RETURN_IF_ERROR(CheckShapes(params(), ToShape(features.shape()),
                                   context->input(2), context->input(3),
                                   &grad_output, &signature));
    Tensor* grad_boxes = nullptr;
    TF_RETURN_IF_ERROR(
        AllocateDeviceOutput(context, signature.Boxes(), &grad_boxes));
    GpuContext gpu(context);
    return ToStatus(RoiAlignBoxGradCuda(
        gpu.core(), params(), signature.sizes,
        DeviceBoxes<B>(signature, context->input(2), context->input(3)),
        CoreData<T>(features), CoreData<T>(grad_output),
        MutableCoreData<B>(grad_boxes)));
  }
};

#define TF_ROIALIGN_REGISTER(T, B)                             \
  REGISTER_KERNEL_BUILDER(Name("TfRoialign>RoiAlign")          \
                              .Device(tensorflow::DEVICE_GPU)  \
                              .TypeConstraint<T>("T")          \
                              .TypeConstraint<B>("Tboxes"),    \
                          RoiAlignGpuOp<T, B>);                \
  REGISTER_KERNEL_BUILDER(Name("TfRoialign>RoiAlignGrad")      \
                              .Device(tensorflow::DEVICE_GPU)  \
                              .HostMemory("features_shape")    \
                              .TypeConstraint<T>("T")          \
                              .TypeConstraint<B>("Tboxes"),    \
                          RoiAlignGradGpuOp<T, B>);            \
  REGISTER_KERNEL_BUILDER(Name("TfRoialign>RoiAlignBoxesGrad") \
                              .Device(tensorflow::DEVICE_GPU)  \
                              .TypeConstraint<T>("T")          \
                              .TypeConstraint<B>("Tboxes"),    \
                          RoiAlignBoxesGradGpuOp<T, B>);
#define TF_ROIALIGN_REGISTER_BOXES(T) \
  TF_ROIALIGN_REGISTER(T, float)      \
  TF_ROIALIGN_REGISTER(T, double)

TF_ROIALIGN_REGISTER_BOXES(Eigen::half)
TF_ROIALIGN_REGISTER_BOXES(tensorflow::bfloat16)
TF_ROIALIGN_REGISTER_BOXES(float)
TF_ROIALIGN_REGISTER_BOXES(double)

}  // namespace
}  // namespace tf_roialign
