// How XLA compiles the ops: each becomes one custom call, which is run by a
// handler of the platform. Everything that needs the headers of TensorFlow's
// compiler, which move more often than others, is in this file.

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "cc/core/call/op.h"
#include "cc/core/call/params.h"
#include "cc/core/call/signature.h"
#include "cc/ops/attributes.h"
#include "cc/ops/convert.h"
#include "cc/xla/attributes.h"
#include "tensorflow/compiler/tf2xla/xla_op_kernel.h"
#include "tensorflow/compiler/tf2xla/xla_op_registry.h"
#include "tensorflow/core/framework/kernel_def_builder.h"
#include "xla/hlo/builder/xla_builder.h"
#include "xla/shape_util.h"

namespace tf_roialign {
namespace {

using tensorflow::XlaOpKernelContext;

xla::Shape RowMajor(xla::PrimitiveType type, const Shape& shape) {
  return xla::ShapeUtil::MakeShapeWithDescendingLayout(
      type, absl::MakeConstSpan(shape.dims, shape.rank));
}

class RoiAlignXlaOpBase : public tensorflow::XlaOpKernel {
 public:
  RoiAlignXlaOpBase(Op op, tensorflow::OpKernelConstruction* context)
      : XlaOpKernel(context),
        info_(InfoOf(op)),
        op_(op),
        on_gpu_(context->device_type().type_string() == "XLA_GPU_JIT") {
    OP_REQUIRES_OK(context, ReadParams(context, &params_));
  }

  void Compile(XlaOpKernelContext* context) final {
    OP_REQUIRES_OK(context, Build(context));
  }

 private:
  absl::Status Build(XlaOpKernelContext* context) const {
    InputShapes shapes;
    for (int i = 0; i < info_.input_count; ++i) {
      TF_RETURN_IF_ERROR(InputShape(context, i, &shapes[info_.inputs[i]]));
    }
    if (info_.Has(Input::kFeaturesShape)) {
      TF_RETURN_IF_ERROR(FeaturesOfShapeInput(
          context, shapes[Input::kFeaturesShape], &shapes[Input::kFeatures]));
    }
    Signature signature;
    TF_RETURN_IF_ERROR(ToAbsl(CheckShapes(op_, params_, shapes, &signature)));
    return Call(context, shapes, signature);
  }

  // Where a size is not known, its bound.
  static absl::Status InputShape(XlaOpKernelContext* context, int input,
                                 Shape* shape) {
    TF_ASSIGN_OR_RETURN(const xla::Shape of_input,
                        context->InputXlaShape(input));
    *shape = Shape::Of(of_input.dimensions());
    return absl::OkStatus();
  }

  // What the input `features_shape` holds: XLA has to know it.
  absl::Status FeaturesOfShapeInput(XlaOpKernelContext* context,
                                    const Shape& shape, Shape* features) const {
    std::vector<int64_t> sizes;
    if (shape.rank == 1) {
      TF_RETURN_IF_ERROR(context->ConstantInputAsIntVector(
          info_.IndexOf(Input::kFeaturesShape), &sizes));
    }
    return ToAbsl(
        tf_roialign::ReadFeaturesShape(shape, sizes.data(), features));
  }

  absl::Status Call(XlaOpKernelContext* context,
                    const InputShapes& input_shapes,
                    const Signature& signature) const {
    std::vector<xla::XlaOp> operands;
    std::vector<xla::Shape> shapes;
    // How many boxes there are, where XLA knows only a bound.
    std::optional<xla::XlaOp> count;
    for (int i = 0; i < info_.input_count; ++i) {
      const Input input = info_.inputs[i];
      if (input == Input::kFeaturesShape) continue;
      TF_ASSIGN_OR_RETURN(const xla::Shape of_input, context->InputXlaShape(i));
      xla::XlaOp value = context->Input(i);
      if (!of_input.is_static()) {
        TF_RETURN_IF_ERROR(CheckDynamic(input, of_input, signature.form));
        if (!count) count = xla::GetDimensionSize(value, 0);
        value = xla::RemoveDynamicDimension(value, 0);
      }
      operands.push_back(value);
      // XLA would choose layouts of its own otherwise.
      shapes.push_back(RowMajor(of_input.element_type(), input_shapes[input]));
    }
    if (count) {
      operands.push_back(*count);
      shapes.push_back(RowMajor(xla::S32, Shape({})));
    }
    const Input typed = info_.output == Output::kBoxes ? Input::kBoxes
                        : info_.Has(Input::kFeatures)  ? Input::kFeatures
                                                       : Input::kGradOutput;
    TF_ASSIGN_OR_RETURN(const xla::Shape of_typed,
                        context->InputXlaShape(info_.IndexOf(typed)));
    xla::XlaOp output = xla::CustomCallWithLayout(
        context->builder(), info_.name, operands,
        RowMajor(of_typed.element_type(), signature.OutputShape(op_, params_)),
        shapes, AttributesText(params_), /*has_side_effect=*/false,
        /*output_operand_aliasing=*/{}, /*literal=*/nullptr,
        xla::CustomCallSchedule::SCHEDULE_NONE,
        xla::CustomCallApiVersion::API_VERSION_TYPED_FFI);
    if (count && info_.output != Output::kFeatures) {  // a row for each box
      output = xla::SetDimensionSize(output, *count, 0);
    }
    context->SetOutput(0, output);
    return absl::OkStatus();
  }

  // XLA knows but a bound of some sizes, for example of the number of rows that
  // tf.boolean_mask keeps. The number of boxes may be one of them on CPU; a GPU
  // would have to be waited for to learn it.
  absl::Status CheckDynamic(Input input, const xla::Shape& shape,
                            BoxForm form) const {
    bool only_boxes =
        !on_gpu_ && form != BoxForm::kDense && input != Input::kFeatures;
    for (size_t i = 1; i < shape.dimensions().size(); ++i) {
      only_boxes = only_boxes && !shape.is_dynamic_dimension(i);
    }
    if (only_boxes) return absl::OkStatus();
    return absl::UnimplementedError(absl::StrCat(
        "`", NameOf(input),
        "` must have a shape that is known when RoIAlign is ",
        "compiled by XLA", on_gpu_ ? "" : " (but for K boxes [K, 5] or [K, 4])",
        ", got ", shape.ToString()));
  }

  const OpInfo info_;
  const Op op_;
  const bool on_gpu_;
  OpParams params_;
};

template <Op kOp>
class RoiAlignXlaOp : public RoiAlignXlaOpBase {
 public:
  explicit RoiAlignXlaOp(tensorflow::OpKernelConstruction* context)
      : RoiAlignXlaOpBase(kOp, context) {}
};

// There is no call to make of the op on quantized features. The kernel says so;
// without it, TensorFlow would report that no kernel is registered. For
// auto-clustering a kernel means that the op can be compiled, so quantized.py
// marks it as one that is not to be.
template <>
class RoiAlignXlaOp<Op::kForwardQuantized> : public tensorflow::XlaOpKernel {
 public:
  using XlaOpKernel::XlaOpKernel;

  void Compile(XlaOpKernelContext* context) override {
    context->SetStatus(absl::UnimplementedError(
        "`quantized_roi_align` cannot be compiled by XLA: call it outside of "
        "functions and Keras models with jit_compile=True"));
  }
};

// REGISTER_XLA_OP makes kernels only of what is there when TensorFlow starts
// its devices, which may be before this library is loaded. So the kernels are
// registered by themselves, and the registry gets, for no device at all, what
// else it has to know.
template <Op kOp>
bool Register(const char* device) {
  using tensorflow::OpKernel;
  using tensorflow::OpKernelConstruction;
  constexpr OpInfo kInfo = InfoOf(kOp);
  tensorflow::kernel_factory::OpKernelRegistrar(
      tensorflow::KernelDefBuilder(kInfo.name).Device(device).Build(),
      "RoiAlignXlaOp", [](OpKernelConstruction* context) -> OpKernel* {
        return new RoiAlignXlaOp<kOp>(context);
      });
  return true;
}

[[maybe_unused]] const bool registered[] = {
#define TF_ROIALIGN_REGISTER(op) Register<Op::op>("XLA_CPU_JIT"),
    TF_ROIALIGN_FOR_EACH_FLOAT_OP(TF_ROIALIGN_REGISTER)
        TF_ROIALIGN_REGISTER(kForwardQuantized)
#undef TF_ROIALIGN_REGISTER
#define TF_ROIALIGN_REGISTER(op) Register<Op::op>("XLA_GPU_JIT"),
#if TF_ROIALIGN_CUDA
            TF_ROIALIGN_FOR_EACH_CUDA_OP(TF_ROIALIGN_REGISTER)
#endif
                TF_ROIALIGN_REGISTER(kForwardQuantized)
#undef TF_ROIALIGN_REGISTER
};

#define TF_ROIALIGN_SHAPE_IS_CONSTANT(op)                           \
  REGISTER_XLA_OP(                                                  \
      Name(InfoOf(Op::op).name)                                     \
          .Device(absl::Span<const absl::string_view>())            \
          .CompilationOnly()                                        \
          .CompileTimeConstantInput(NameOf(Input::kFeaturesShape)), \
      RoiAlignXlaOp<Op::op>)
TF_ROIALIGN_SHAPE_IS_CONSTANT(kFeatureGrad);
TF_ROIALIGN_SHAPE_IS_CONSTANT(kBoxTangentGrad);

}  // namespace
}  // namespace tf_roialign
