// The OpKernel, one for all ops, devices and dtypes.

#ifndef TF_ROIALIGN_CC_KERNELS_ROI_ALIGN_OP_H_
#define TF_ROIALIGN_CC_KERNELS_ROI_ALIGN_OP_H_

#include "absl/status/status.h"
#include "cc/core/call/op.h"
#include "cc/core/dtypes/dtypes.h"
#include "cc/core/run_op.h"
#include "cc/kernels/op_base.h"
#include "cc/ops/convert.h"
#include "tensorflow/core/framework/kernel_def_builder.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/tensor_shape.h"

namespace tf_roialign {

// Device: CpuDevice or CudaDevice. One is made for each call, of its
// OpKernelContext, and `core()` is what the core runs with.
// T, B: the core's dtypes of features and boxes.
template <typename Device, Op kOp, Maps kMaps, typename T, typename B>
class RoiAlignOp : public RoiAlignOpBase {
 public:
  explicit RoiAlignOp(tensorflow::OpKernelConstruction* context)
      : RoiAlignOpBase(InfoOf(kOp, kMaps), context) {}

 protected:
  absl::Status AllocateOutput(tensorflow::OpKernelContext* context, int index,
                              const tensorflow::TensorShape& shape,
                              void** data) const override {
    return Device::AllocateOutput(context, index, shape, data);
  }
  absl::Status Run(const Call& call,
                   tensorflow::OpKernelContext* context) override {
    Device device(context);
    return ToAbsl(RunOp<kOp, T, B>(device.core(), params(), call.signature,
                                   call.inputs, call.outputs));
  }
};

// Registers the kernel. TensorflowT: T in TensorFlow's API. The value says
// nothing: it is there to be computed when the library is loaded.
template <typename Device, Op kOp, Maps kMaps, typename T, typename TensorflowT,
          typename B>
bool RegisterRoiAlignOp() {
  using tensorflow::OpKernel;
  using tensorflow::OpKernelConstruction;
  constexpr OpInfo kInfo = InfoOf(kOp, kMaps);
  tensorflow::KernelDefBuilder definition(kInfo.name);
  definition.Device(Device::Type())
      .template TypeConstraint<TensorflowT>("T")
      .template TypeConstraint<B>("Tboxes");
  for (int i = 0; i < kInfo.input_count; ++i) {
    const Input input = kInfo.inputs[i];
    if (IsReadByHost(input)) definition.HostMemory(NameOf(input));
  }
  tensorflow::kernel_factory::OpKernelRegistrar(
      definition.Build(), "RoiAlignOp",
      [](OpKernelConstruction* context) -> OpKernel* {
        return new RoiAlignOp<Device, kOp, kMaps, T, B>(context);
      });
  return true;
}

// For every dtype of boxes, on one map and on many.
template <typename Device, Op kOp, typename T, typename TensorflowT>
bool RegisterRoiAlignOps() {
#define TF_ROIALIGN_REGISTER(B)                                     \
  RegisterRoiAlignOp<Device, kOp, Maps::kOne, T, TensorflowT, B>(); \
  RegisterRoiAlignOp<Device, kOp, Maps::kMany, T, TensorflowT, B>();
  TF_ROIALIGN_FOR_EACH_BOX_TYPE(TF_ROIALIGN_REGISTER)
#undef TF_ROIALIGN_REGISTER
  return true;
}

template <typename Device, typename T, typename TensorflowT>
bool RegisterFloatOps() {
#define TF_ROIALIGN_REGISTER(op) \
  RegisterRoiAlignOps<Device, Op::op, T, TensorflowT>();
  TF_ROIALIGN_FOR_EACH_FLOAT_OP(TF_ROIALIGN_REGISTER)
#undef TF_ROIALIGN_REGISTER
  return true;
}

template <typename Device, typename T, typename TensorflowT>
bool RegisterCodeOps() {
#define TF_ROIALIGN_REGISTER(op) \
  RegisterRoiAlignOps<Device, Op::op, T, TensorflowT>();
  TF_ROIALIGN_FOR_EACH_CODE_OP(TF_ROIALIGN_REGISTER)
#undef TF_ROIALIGN_REGISTER
  return true;
}

// All ops and dtypes.
template <typename Device>
bool RegisterAllOps() {
#define TF_ROIALIGN_REGISTER(T, Tensorflow, Xla) \
  RegisterFloatOps<Device, T, Tensorflow>();
  TF_ROIALIGN_FOR_EACH_FLOAT(TF_ROIALIGN_REGISTER)
#undef TF_ROIALIGN_REGISTER
#define TF_ROIALIGN_REGISTER(T, Code, Quantized, Xla) \
  RegisterCodeOps<Device, T, Code>();                 \
  RegisterCodeOps<Device, T, Quantized>();
  TF_ROIALIGN_FOR_EACH_CODE(TF_ROIALIGN_REGISTER)
#undef TF_ROIALIGN_REGISTER
  return true;
}

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_KERNELS_ROI_ALIGN_OP_H_
