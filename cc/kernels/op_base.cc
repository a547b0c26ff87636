#include "cc/kernels/op_base.h"

#include "cc/ops/attributes.h"
#include "cc/ops/convert.h"
#include "tensorflow/core/framework/tensor.h"

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
  TF_RETURN_IF_ERROR(
      ForEachTensor(info_, map_count_, [&](Input input, int map, int place) {
        const Tensor& tensor = context->input(place);
        const Shape shape = ToShape(tensor.shape());
        if (input == Input::kFeaturesShape) {
          if (map == 0) shapes[input] = shape;
          return ReadFeaturesShape(tensor, &shapes.features(map));
        }
        // Not Tensor::flat: it aborts the process unless the buffer is aligned
        // for Eigen, and a tensor that shares another library's memory need not
        // be.
        ReadTensor(input, map, shape, tensor.data(),
                   tensor.dtype() == tensorflow::DT_INT64, &shapes,
                   &call->inputs);
        return absl::OkStatus();
      }));
  return ToAbsl(CheckShapes(info_, params_, shapes, &call->signature));
}

absl::Status RoiAlignOpBase::Allocate(tensorflow::OpKernelContext* context,
                                      Call* call) const {
  const int count = info_.OutputIsList() ? map_count_ : 1;
  for (int m = 0; m < count; ++m) {
    const Shape shape = call->signature.OutputShape(info_, params_, m);
    tensorflow::TensorShape of_output;
    TF_RETURN_IF_ERROR(tensorflow::TensorShape::BuildTensorShape(
        absl::MakeConstSpan(shape.dims, shape.rank), &of_output));
    TF_RETURN_IF_ERROR(
        AllocateOutput(context, m, of_output, &call->outputs.data[m]));
  }
  return absl::OkStatus();
}

}  // namespace tf_roialign
