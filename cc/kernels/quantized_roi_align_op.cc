// The CPU OpKernel for quantized features.

#include <limits>

#include "cc/core/cpu/roi_align_cpu.h"
#include "cc/core/call/signature.h"
#include "cc/kernels/op_inputs.h"
#include "cc/ops/attributes.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace tf_roialign {
namespace {

using tensorflow::OpKernelContext;
using tensorflow::Tensor;

// The scalar input, if it is one.
template <typename T>
absl::Status ReadScalar(const char* name, const Tensor& tensor, T* value) {
  TF_RETURN_IF_ERROR(
      InvalidUnlessEmpty(CheckScalar(name, ToShape(tensor.shape()))));
  *value = *static_cast<const T*>(tensor.data());
  return absl::OkStatus();
}

// Code: int8_t, uint8_t or int32_t.
template <typename Code, typename B>
class QuantizedRoiAlignOp : public RoiAlignOpBase {
 public:
  using RoiAlignOpBase::RoiAlignOpBase;

 protected:
  absl::Status Run(OpKernelContext* context) override {
    const Tensor& features = context->input(0);
    CheckedInputs<B> inputs;
    TF_RETURN_IF_ERROR(inputs.Init(params(), ToShape(features.shape()),
                                   context->input(1), context->input(2),
                                   /*grad_output=*/nullptr));
    float scale;
    int32_t zero_point;
    TF_RETURN_IF_ERROR(ReadScalar("scale", context->input(3), &scale));
    TF_RETURN_IF_ERROR(
        ReadScalar("zero_point", context->input(4), &zero_point));
    TF_RETURN_IF_ERROR(InvalidUnlessEmpty(
        CheckQuantization(scale, zero_point, std::numeric_limits<Code>::min(),
                          std::numeric_limits<Code>::max())));
    Tensor* output = nullptr;
    TF_RETURN_IF_ERROR(
        AllocateOutput(context, inputs.signature().Output(params()), &output));
    RoiAlignForwardQuantized({DeviceThreads(context)}, params(), inputs.sizes(),
                             inputs.boxes(), scale, zero_point,
                             static_cast<const Code*>(features.data()),
                             static_cast<Code*>(output->data()));
    return absl::OkStatus();
  }
};

#define TF_ROIALIGN_REGISTER(T, Code, B)                       \
  REGISTER_KERNEL_BUILDER(Name("TfRoialign>QuantizedRoiAlign") \
                              .Device(tensorflow::DEVICE_CPU)  \
                              .TypeConstraint<T>("T")          \
                              .TypeConstraint<B>("Tboxes"),    \
                          QuantizedRoiAlignOp<Code, B>);
#define TF_ROIALIGN_REGISTER_BOXES(T, Code) \
  TF_ROIALIGN_REGISTER(T, Code, float)      \
  TF_ROIALIGN_REGISTER(T, Code, double)

TF_ROIALIGN_REGISTER_BOXES(int8_t, int8_t)
TF_ROIALIGN_REGISTER_BOXES(uint8_t, uint8_t)
TF_ROIALIGN_REGISTER_BOXES(int32_t, int32_t)
TF_ROIALIGN_REGISTER_BOXES(tensorflow::qint8, int8_t)
TF_ROIALIGN_REGISTER_BOXES(tensorflow::quint8, uint8_t)
TF_ROIALIGN_REGISTER_BOXES(tensorflow::qint32, int32_t)

}  // namespace
}  // namespace tf_roialign
