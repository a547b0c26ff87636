#include "cc/kernels/op_base.h"

#include "cc/ops/attributes.h"
#include "cc/ops/convert.h"
#include "tensorflow/core/framework/tensor_shape.h"

namespace tf_roialign {

using tensorflow::Tensor;

RoiAlignOpBase::RoiAlignOpBase(Op op, tensorflow::OpKernelConstruction* context)
    : OpKernel(context), op_(op) {
  OP_REQUIRES_OK(context, ReadParams(context, &params_));
}

void RoiAlignOpBase::Compute(tensorflow::OpKernelContext* context) {
  Call call;
  OP_REQUIRES_OK(context, Prepare(context, &call));
  OP_REQUIRES_OK(context, Run(call, context));
}

absl::Status RoiAlignOpBase::Prepare(tensorflow::OpKernelContext* context,
                                     Call* call) const {
  const OpInfo info = InfoOf(op_);
  InputShapes shapes;
  for (int i = 0; i < info.input_count; ++i) {
    const Input input = info.inputs[i];
    const Tensor& tensor = context->input(i);
    shapes[input] = ToShape(tensor.shape());
    // Not Tensor::flat: it aborts the process unless the buffer is aligned for
    // Eigen, and a tensor that shares another library's memory need not be.
    call->inputs.Set(input, tensor.data());
    if (input == Input::kBoxIndices) {
      call->inputs.indices_are_64_bit = tensor.dtype() == tensorflow::DT_INT64;
    } else if (input == Input::kFeaturesShape) {
      TF_RETURN_IF_ERROR(ReadFeaturesShape(tensor, &shapes[Input::kFeatures]));
    }
  }
  TF_RETURN_IF_ERROR(
      ToAbsl(CheckShapes(op_, params_, shapes, &call->signature)));
  const Shape shape = call->signature.OutputShape(op_, params_);
  tensorflow::TensorShape output;
  TF_RETURN_IF_ERROR(tensorflow::TensorShape::BuildTensorShape(
      absl::MakeConstSpan(shape.dims, shape.rank), &output));
  return context->allocate_output(0, output, &call->output);
}

}  // namespace tf_roialign
