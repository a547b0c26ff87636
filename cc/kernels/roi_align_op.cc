// CPU OpKernels: check, allocate, call the core.

#include "cc/core/cpu/box_tangent.h"
#include "cc/core/cpu/roi_align_cpu.h"
#include "cc/core/call/signature.h"
#include "cc/kernels/op_inputs.h"
#include "cc/ops/attributes.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace tf_roialign {
namespace {

using tensorflow::OpKernelContext;
using tensorflow::Tensor;

template <typename T, typename B>
class RoiAlignOp : public RoiAlignOpBase {
 public:
  using RoiAlignOpBase::RoiAlignOpBase;

 protected:
  absl::Status Run(OpKernelContext* context) override {
    const Tensor& features = context->input(0);
    CheckedInputs<B> inputs;
    TF_RETURN_IF_ERROR(inputs.Init(params(), ToShape(features.shape()),
                                   context->input(1), context->input(2),
                                   /*grad_output=*/nullptr));
    Tensor* output = nullptr;
    TF_RETURN_IF_ERROR(
        AllocateOutput(context, inputs.signature().Output(params()), &output));
    RoiAlignForward({DeviceThreads(context)}, params(), inputs.sizes(),
                    inputs.boxes(), CoreData<T>(features),
                    MutableCoreData<T>(output));
    return absl::OkStatus();
  }
};

template <typename T, typename B>
class RoiAlignGradOp : public RoiAlignOpBase {
 public:
  using RoiAlignOpBase::RoiAlignOpBase;

 protected:
  absl::Status Run(OpKernelContext* context) override {
    const Tensor& grad_output = context->input(0);
    Shape features;
    TF_RETURN_IF_ERROR(ReadFeaturesShape(context->input(3), &features));
    CheckedInputs<B> inputs;
    TF_RETURN_IF_ERROR(inputs.Init(params(), features, context->input(1),
                                   context->input(2), &grad_output));
    Tensor* grad_features = nullptr;
    TF_RETURN_IF_ERROR(AllocateOutput(context, features, &grad_features));
    RoiAlignFeatureGrad({DeviceThreads(context)}, params(), inputs.sizes(),
                        inputs.boxes(), CoreData<T>(grad_output),
                        MutableCoreData<T>(grad_features));
    return absl::OkStatus();
  }
};

template <typename T, typename B>
class RoiAlignBoxesGradOp : public RoiAlignOpBase {
 public:
  using RoiAlignOpBase::RoiAlignOpBase;

 protected:
  absl::Status Run(OpKernelContext* context) override {
    const Tensor& grad_output = context->input(0);
    const Tensor& features = context->input(1);
    CheckedInputs<B> inputs;
    TF_RETURN_IF_ERROR(inputs.Init(params(), ToShape(features.shape()),
                                   context->input(2), context->input(3),
                                   &grad_output));
    Tensor* grad_boxes = nullptr;
    TF_RETURN_IF_ERROR(
        AllocateOutput(context, inputs.signature().Boxes(), &grad_boxes));
    RoiAlignBoxGrad({DeviceThreads(context)}, params(), inputs.sizes(),
                    inputs.boxes(), CoreData<T>(features),
                    CoreData<T>(grad_output), MutableCoreData<B>(grad_boxes));
    return absl::OkStatus();
  }
};

template <typename T, typename B>
class RoiAlignBoxesTangentOp : public RoiAlignOpBase {
 public:
  using RoiAlignOpBase::RoiAlignOpBase;

 protected:
  absl::Status Run(OpKernelContext* context) override {
    const Tensor& features = context->input(0);
    const Tensor& direction = context->input(3);
    CheckedInputs<B> inputs;
    TF_RETURN_IF_ERROR(inputs.Init(params(), ToShape(features.shape()),
                                   context->input(1), context->input(2),
                                   /*grad_output=*/nullptr));
    TF_RETURN_IF_ERROR(InvalidUnlessEmpty(CheckDirection(
        ToShape(context->input(1).shape()), ToShape(direction.shape()))));
    Tensor* output = nullptr;
    TF_RETURN_IF_ERROR(
        AllocateOutput(context, inputs.signature().Output(params()), &output));
    RoiAlignBoxTangent({DeviceThreads(context)}, params(), inputs.sizes(),
                       inputs.boxes(), CoreData<B>(direction),
                       CoreData<T>(features), MutableCoreData<T>(output));
    return absl::OkStatus();
  }
};

template <typename T, typename B>
class RoiAlignBoxesTangentGradOp : public RoiAlignOpBase {
 public:
  using RoiAlignOpBase::RoiAlignOpBase;

 protected:
  absl::Status Run(OpKernelContext* context) override {
    const Tensor& grad_output = context->input(0);
    const Tensor& direction = context->input(4);
    Shape features;
    TF_RETURN_IF_ERROR(ReadFeaturesShape(context->input(3), &features));
    CheckedInputs<B> inputs;
    TF_RETURN_IF_ERROR(inputs.Init(params(), features, context->input(1),
                                   context->input(2), &grad_output));
    TF_RETURN_IF_ERROR(InvalidUnlessEmpty(CheckDirection(
        ToShape(context->input(1).shape()), ToShape(direction.shape()))));
    Tensor* grad_features = nullptr;
    TF_RETURN_IF_ERROR(AllocateOutput(context, features, &grad_features));
    RoiAlignBoxTangentGrad({DeviceThreads(context)}, params(), inputs.sizes(),
                           inputs.boxes(), CoreData<B>(direction),
                           CoreData<T>(grad_output),
                           MutableCoreData<T>(grad_features));
    return absl::OkStatus();
  }
};

#define TF_ROIALIGN_REGISTER(T, B)                                    \
  REGISTER_KERNEL_BUILDER(Name("TfRoialign>RoiAlign")                 \
                              .Device(tensorflow::DEVICE_CPU)         \
                              .TypeConstraint<T>("T")                 \
                              .TypeConstraint<B>("Tboxes"),           \
                          RoiAlignOp<T, B>);                          \
  REGISTER_KERNEL_BUILDER(Name("TfRoialign>RoiAlignGrad")             \
                              .Device(tensorflow::DEVICE_CPU)         \
                              .TypeConstraint<T>("T")                 \
                              .TypeConstraint<B>("Tboxes"),           \
                          RoiAlignGradOp<T, B>);                      \
  REGISTER_KERNEL_BUILDER(Name("TfRoialign>RoiAlignBoxesGrad")        \
                              .Device(tensorflow::DEVICE_CPU)         \
                              .TypeConstraint<T>("T")                 \
                              .TypeConstraint<B>("Tboxes"),           \
                          RoiAlignBoxesGradOp<T, B>);                 \
  REGISTER_KERNEL_BUILDER(Name("TfRoialign>RoiAlignBoxesTangent")     \
                              .Device(tensorflow::DEVICE_CPU)         \
                              .TypeConstraint<T>("T")                 \
                              .TypeConstraint<B>("Tboxes"),           \
                          RoiAlignBoxesTangentOp<T, B>);              \
  REGISTER_KERNEL_BUILDER(Name("TfRoialign>RoiAlignBoxesTangentGrad") \
                              .Device(tensorflow::DEVICE_CPU)         \
                              .TypeConstraint<T>("T")                 \
                              .TypeConstraint<B>("Tboxes"),           \
                          RoiAlignBoxesTangentGradOp<T, B>);
#define TF_ROIALIGN_REGISTER_BOXES(T) \
  TF_ROIALIGN_REGISTER(T, float)      \
  TF_ROIALIGN_REGISTER(T, double)

TF_ROIALIGN_REGISTER_BOXES(Eigen::half)
TF_ROIALIGN_REGISTER_BOXES(tensorflow::bfloat16)
TF_ROIALIGN_REGISTER_BOXES(float)
TF_ROIALIGN_REGISTER_BOXES(double)

}  // namespace
}  // namespace tf_roialign
