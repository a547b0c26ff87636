#include "cc/kernels/op_base.h"

#include "cc/ops/attributes.h"
#include "cc/ops/convert.h"
#include "tensorflow/core/framework/tensor_shape.h"

namespace tf_roialign {

using tensorflow::Tensor;

RoiAlignOpBase::RoiAlignOpBase(const OpInfo& info,
                               tensorflow::OpKernelConstruction* context)
    : OpKernel(context), info_(info) {
  OP_REQUIRES_OK(context, ReadParams(context, info_, &params_));
  OP_REQUIRES_OK(context, ReadMapCount(context, info_, &map_count_));
}

void RoiAlignOpBase::Compute(tensorflow::OpKernelContext* context) {
  Call call;
  OP_REQUIRES_OK(context, Read(context, &call));
  OP_REQUIRES_OK(context, Allocate(context, &call));
  OP_REQUIRES_OK(context, Run(call, context));
}

absl::Status RoiAlignOpBase::Read(tensorflow::OpKernelContext* context,
                                  Call* call) const {
  InputShapes shapes;
  shapes.set_map_count(map_count_);
  int place = 0;  // among the inputs, entries of lists counted
  for (int i = 0; i < info_.input_count; ++i) {
    const Input input = info_.inputs[i];
    const int count = info_.IsList(input) ? map_count_ : 1;
    for (int m = 0; m < count; ++m, ++place) {
      TF_RETURN_IF_ERROR(
          ReadInput(input, m, context->input(place), &shapes, &call->inputs));
    }
  }
  return ToAbsl(CheckShapes(info_, params_, shapes, &call->signature));
}

absl::Status RoiAlignOpBase::ReadInput(Input input, int map,
                                       const Tensor& tensor,
                                       InputShapes* shapes, InputData* inputs) {
  const Shape shape = ToShape(tensor.shape());
  if (map == 0) (*shapes)[input] = shape;
  // Not Tensor::flat: it aborts the process unless the buffer is aligned for
  // Eigen, and a tensor that shares another library's memory need not be.
  inputs->Set(input, tensor.data());
  const bool is_64_bit = tensor.dtype() == tensorflow::DT_INT64;
  switch (input) {
    case Input::kFeatures:
      shapes->features(map) = shape;
      inputs->SetFeatures(map, tensor.data());
      break;
    case Input::kFeaturesShape:
      return ReadFeaturesShape(tensor, &shapes->features(map));
    case Input::kBoxIndices:
      inputs->indices_are_64_bit = is_64_bit;
      break;
    case Input::kLevels:
      inputs->levels_are_64_bit = is_64_bit;
      inputs->levels = tensor.NumElements();
      break;
    default:
      break;
  }
  return absl::OkStatus();
}

absl::Status RoiAlignOpBase::Allocate(tensorflow::OpKernelContext* context,
                                      Call* call) const {
  const int count = info_.OutputIsList() ? map_count_ : 1;
  for (int m = 0; m < count; ++m) {
    const Shape shape = call->signature.OutputShape(info_, params_, m);
    tensorflow::TensorShape of_output;
    TF_RETURN_IF_ERROR(tensorflow::TensorShape::BuildTensorShape(
        absl::MakeConstSpan(shape.dims, shape.rank), &of_output));
    Tensor* output = nullptr;
    TF_RETURN_IF_ERROR(context->allocate_output(m, of_output, &output));
    Prepare(*output);
    call->outputs.data[m] = output->data();
  }
  return absl::OkStatus();
}

}  // namespace tf_roialign
