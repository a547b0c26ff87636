// CPU OpKernels: check, allocate, call the core.

#include "cc/core/roi_align_cpu.h"
#include "cc/core/signature.h"
#include "cc/kernels/op_inputs.h"
#include "cc/ops/attributes.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/register_types.h"

namespace tf_roialign {
namespace {

using tensorflow::OpKernelConstruction;
using tensorflow::OpKernelContext;
using tensorflow::Tensor;
using tensorflow::TensorShape;

absl::Status ToTensorShape(const Shape& shape, TensorShape* result) {
  return TensorShape::BuildTensorShape(
      absl::MakeConstSpan(shape.dims, shape.rank), result);
}

template <typename T, typename B>
class RoiAlignOp : public RoiAlignOpBase {
 public:
  using RoiAlignOpBase::RoiAlignOpBase;

  void Compute(OpKernelContext* context) override {
    const Tensor& features = context->input(0);
    const Tensor& boxes = context->input(1);
    const Tensor& box_indices = context->input(2);
    Signature signature;
    OP_REQUIRES_OK(context, InvalidUnlessEmpty(CheckInputs(
                                params(), ToShape(features.shape()),
                                ToShape(boxes.shape()),
                                ToShape(box_indices.shape()), &signature)));
    CheckedBoxes<B> checked;
    OP_REQUIRES_OK(context, checked.Init(signature, boxes, box_indices));

    TensorShape shape;
    OP_REQUIRES_OK(context, ToTensorShape(signature.Output(params()), &shape));
    Tensor* output = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, shape, &output));
    RoiAlignForward({DeviceThreads(context)}, params(), signature.sizes,
                    checked.table(), CoreData<T>(features),
                    MutableCoreData<T>(output));
  }
};

template <typename T, typename B>
class RoiAlignGradOp : public RoiAlignOpBase {
 public:
  using RoiAlignOpBase::RoiAlignOpBase;

  void Compute(OpKernelContext* context) override {
    const Tensor& grad_output = context->input(0);
    const Tensor& boxes = context->input(1);
    const Tensor& box_indices = context->input(2);
    Shape features;
    Signature signature;
    OP_REQUIRES_OK(context, ReadFeaturesShape(context->input(3), &features));
    OP_REQUIRES_OK(context, InvalidUnlessEmpty(CheckInputs(
                                params(), features, ToShape(boxes.shape()),
                                ToShape(box_indices.shape()), &signature)));
    OP_REQUIRES_OK(context,
                   InvalidUnlessEmpty(CheckGradOutput(
                       params(), ToShape(grad_output.shape()), &signature)));
    CheckedBoxes<B> checked;
    OP_REQUIRES_OK(context, checked.Init(signature, boxes, box_indices));

    TensorShape shape;
    OP_REQUIRES_OK(context, ToTensorShape(features, &shape));
    Tensor* grad_features = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, shape, &grad_features));
    RoiAlignFeatureGrad({DeviceThreads(context)}, params(), signature.sizes,
                        checked.table(), CoreData<T>(grad_output),
                        MutableCoreData<T>(grad_features));
  }
};

template <typename T, typename B>
class RoiAlignBoxesGradOp : public RoiAlignOpBase {
 public:
  using RoiAlignOpBase::RoiAlignOpBase;

  void Compute(OpKernelContext* context) override {
    const Tensor& grad_output = context->input(0);
    const Tensor& features = context->input(1);
    const Tensor& boxes = context->input(2);
    const Tensor& box_indices = context->input(3);
    Signature signature;
    OP_REQUIRES_OK(context, InvalidUnlessEmpty(CheckInputs(
                                params(), ToShape(features.shape()),
                                ToShape(boxes.shape()),
                                ToShape(box_indices.shape()), &signature)));
    OP_REQUIRES_OK(context,
                   InvalidUnlessEmpty(CheckGradOutput(
                       params(), ToShape(grad_output.shape()), &signature)));
    CheckedBoxes<B> checked;
    OP_REQUIRES_OK(context, checked.Init(signature, boxes, box_indices));

    Tensor* grad_boxes = nullptr;
    OP_REQUIRES_OK(context,
                   context->allocate_output(0, boxes.shape(), &grad_boxes));
    RoiAlignBoxGrad({DeviceThreads(context)}, params(), signature.sizes,
                    checked.table(), CoreData<T>(features),
                    CoreData<T>(grad_output), grad_boxes->flat<B>().data());
  }
};

#define TF_ROIALIGN_REGISTER(T, B)                             \
  REGISTER_KERNEL_BUILDER(Name("TfRoialign>RoiAlign")          \
                              .Device(tensorflow::DEVICE_CPU)  \
                              .TypeConstraint<T>("T")          \
                              .TypeConstraint<B>("Tboxes"),    \
                          RoiAlignOp<T, B>);                   \
  REGISTER_KERNEL_BUILDER(Name("TfRoialign>RoiAlignGrad")      \
                              .Device(tensorflow::DEVICE_CPU)  \
                              .TypeConstraint<T>("T")          \
                              .TypeConstraint<B>("Tboxes"),    \
                          RoiAlignGradOp<T, B>);               \
  REGISTER_KERNEL_BUILDER(Name("TfRoialign>RoiAlignBoxesGrad") \
                              .Device(tensorflow::DEVICE_CPU)  \
                              .TypeConstraint<T>("T")          \
                              .TypeConstraint<B>("Tboxes"),    \
                          RoiAlignBoxesGradOp<T, B>);
#define TF_ROIALIGN_REGISTER_BOXES(T) \
  TF_ROIALIGN_REGISTER(T, float)      \
  TF_ROIALIGN_REGISTER(T, double)

TF_ROIALIGN_REGISTER_BOXES(Eigen::half)
TF_ROIALIGN_REGISTER_BOXES(tensorflow::bfloat16)
TF_ROIALIGN_REGISTER_BOXES(float)
TF_ROIALIGN_REGISTER_BOXES(double)

}  // namespace
}  // namespace tf_roialign
