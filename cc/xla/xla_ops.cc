// How XLA compiles the ops: each becomes one custom call, which is run by a
// handler of the platform. Everything that needs the headers of TensorFlow's
// compiler, which move more often than others, is in this file.

#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "cc/core/call/signature.h"
#include "cc/ops/attributes.h"
#include "cc/xla/custom_calls.h"
#include "tensorflow/compiler/tf2xla/xla_op_kernel.h"
#include "tensorflow/compiler/tf2xla/xla_op_registry.h"
#include "xla/hlo/builder/xla_builder.h"
#include "xla/shape_util.h"

namespace tf_roialign {
namespace {

using tensorflow::XlaOpKernelContext;

// As the text of an MLIR dictionary.
std::string AttributesText(const Params& params) {
  // By its bits: no digit of it is lost.
  uint64_t scale_bits;
  std::memcpy(&scale_bits, &params.spatial_scale, sizeof(scale_bits));
  return absl::StrFormat(
      "{%s = %d : i64, %s = %d : i64, %s = 0x%016X : f64, %s = %d : i64, "
      "%s = %s, %s = %s}",
      kPooledHeight, params.pooled_height, kPooledWidth, params.pooled_width,
      kSpatialScale, scale_bits, kSamplingRatio, params.sampling_ratio,
      kAligned, params.aligned ? "true" : "false", kChannelsFirst,
      params.layout == Layout::kNCHW ? "true" : "false");
}

xla::Shape RowMajor(xla::PrimitiveType type, const Shape& shape) {
  return xla::ShapeUtil::MakeShapeWithDescendingLayout(
      type, absl::MakeConstSpan(shape.dims, shape.rank));
}

// An input of the op that is handed to the handler.
struct Operand {
  const char* name;
  int input;
};

class RoiAlignXlaOpBase : public tensorflow::XlaOpKernel {
 public:
  explicit RoiAlignXlaOpBase(tensorflow::OpKernelConstruction* context)
      : XlaOpKernel(context),
        on_gpu_(context->device_type().type_string() == "XLA_GPU_JIT") {
    OP_REQUIRES_OK(context, ReadParams(context, &params_));
  }

  void Compile(XlaOpKernelContext* context) final {
    OP_REQUIRES_OK(context, Build(context));
  }

 protected:
  // What becomes output 0.
  struct Result {
    const char* target;
    std::vector<Operand> operands;
    int same_dtype_as;  // an input
    Shape shape;
    bool has_row_per_box;
  };

  virtual absl::Status Build(XlaOpKernelContext* context) = 0;

  const Params& params() const { return params_; }

  // Where a size is not known, its bound.
  static absl::Status InputShape(XlaOpKernelContext* context, int input,
                                 Shape* shape) {
    TF_ASSIGN_OR_RETURN(const xla::Shape of_input,
                        context->InputXlaShape(input));
    shape->rank = 0;
    for (int64_t size : of_input.dimensions()) shape->Append(size);
    return absl::OkStatus();
  }

  // What the shapes say; `grad_output` is null for the forward op.
  absl::Status Check(XlaOpKernelContext* context, const Shape& features,
                     int boxes_input, const Shape* grad_output,
                     Signature* signature) const {
    Shape boxes, box_indices;
    TF_RETURN_IF_ERROR(InputShape(context, boxes_input, &boxes));
    TF_RETURN_IF_ERROR(InputShape(context, boxes_input + 1, &box_indices));
    TF_RETURN_IF_ERROR(InvalidUnlessEmpty(
        CheckInputs(params_, features, boxes, box_indices, signature)));
    if (grad_output == nullptr) return absl::OkStatus();
    return InvalidUnlessEmpty(
        CheckGradOutput(params_, *grad_output, signature));
  }

  // Reads the input `features_shape`, whose value XLA has to know.
  static absl::Status ReadFeaturesShape(XlaOpKernelContext* context, int input,
                                        Shape* features) {
    Shape shape;
    TF_RETURN_IF_ERROR(InputShape(context, input, &shape));
    TF_RETURN_IF_ERROR(
        InvalidUnlessEmpty(CheckFeaturesShape(shape, nullptr, features)));
    std::vector<int64_t> sizes;
    TF_RETURN_IF_ERROR(context->ConstantInputAsIntVector(input, &sizes));
    return InvalidUnlessEmpty(
        CheckFeaturesShape(shape, sizes.data(), features));
  }

  static absl::Status CheckDirectionInput(XlaOpKernelContext* context,
                                          int boxes_input, int input) {
    Shape boxes, direction;
    TF_RETURN_IF_ERROR(InputShape(context, boxes_input, &boxes));
    TF_RETURN_IF_ERROR(InputShape(context, input, &direction));
    return InvalidUnlessEmpty(CheckDirection(boxes, direction));
  }

  absl::Status Call(XlaOpKernelContext* context, const Signature& signature,
                    const Result& result) const {
    std::vector<xla::XlaOp> operands;
    std::vector<xla::Shape> shapes;
    // How many boxes there are, where XLA knows only a bound.
    std::optional<xla::XlaOp> count;
    for (const Operand& operand : result.operands) {
      TF_ASSIGN_OR_RETURN(const xla::Shape of_input,
                          context->InputXlaShape(operand.input));
      xla::XlaOp value = context->Input(operand.input);
      if (!of_input.is_static()) {
        TF_RETURN_IF_ERROR(CheckDynamic(operand, of_input, signature.form));
        if (!count) count = xla::GetDimensionSize(value, 0);
        value = xla::RemoveDynamicDimension(value, 0);
      }
      Shape shape;
      TF_RETURN_IF_ERROR(InputShape(context, operand.input, &shape));
      operands.push_back(value);
      // XLA would choose layouts of its own otherwise.
      shapes.push_back(RowMajor(of_input.element_type(), shape));
    }
    if (count) {
      operands.push_back(*count);
      shapes.push_back(RowMajor(xla::S32, Shape({})));
    }
    TF_ASSIGN_OR_RETURN(const xla::Shape typed,
                        context->InputXlaShape(result.same_dtype_as));
    xla::XlaOp output = xla::CustomCallWithLayout(
        context->builder(), result.target, operands,
        RowMajor(typed.element_type(), result.shape), shapes,
        AttributesText(params_), /*has_side_effect=*/false,
        /*output_operand_aliasing=*/{}, /*literal=*/nullptr,
        xla::CustomCallSchedule::SCHEDULE_NONE,
        xla::CustomCallApiVersion::API_VERSION_TYPED_FFI);
    if (count && result.has_row_per_box) {
      output = xla::SetDimensionSize(output, *count, 0);
    }
    context->SetOutput(0, output);
    return absl::OkStatus();
  }

 private:
  // XLA knows but a bound of some sizes, for example of the number of rows that
  // tf.boolean_mask keeps. The number of boxes may be one of them on CPU; a GPU
  // would have to be waited for to learn it.
  absl::Status CheckDynamic(const Operand& operand, const xla::Shape& shape,
                            BoxForm form) const {
    bool only_boxes = !on_gpu_ && form != BoxForm::kDense &&
                      absl::string_view(operand.name) != "features";
    for (size_t i = 1; i < shape.dimensions().size(); ++i) {
      only_boxes = only_boxes && !shape.is_dynamic_dimension(i);
    }
    if (only_boxes) return absl::OkStatus();
    return absl::UnimplementedError(absl::StrCat(
        "`", operand.name,
        "` must have a shape that is known when RoIAlign is ",
        "compiled by XLA", on_gpu_ ? "" : " (but for K boxes [K, 5] or [K, 4])",
        ", got ", shape.ToString()));
  }

  const bool on_gpu_;
  Params params_;
};

class RoiAlignXlaOp : public RoiAlignXlaOpBase {
 public:
  using RoiAlignXlaOpBase::RoiAlignXlaOpBase;

 protected:
  absl::Status Build(XlaOpKernelContext* context) override {
    Shape features;
    Signature signature;
    TF_RETURN_IF_ERROR(InputShape(context, 0, &features));
    TF_RETURN_IF_ERROR(Check(context, features, 1, nullptr, &signature));
    return Call(context, signature,
                {kForwardCall,
                 {{"features", 0}, {"boxes", 1}, {"box_indices", 2}},
                 /*same_dtype_as=*/0,
                 signature.Output(params()),
                 /*has_row_per_box=*/true});
  }
};

class RoiAlignGradXlaOp : public RoiAlignXlaOpBase {
 public:
  using RoiAlignXlaOpBase::RoiAlignXlaOpBase;

 protected:
  absl::Status Build(XlaOpKernelContext* context) override {
    Shape features, grad_output;
    Signature signature;
    TF_RETURN_IF_ERROR(ReadFeaturesShape(context, 3, &features));
    TF_RETURN_IF_ERROR(InputShape(context, 0, &grad_output));
    TF_RETURN_IF_ERROR(Check(context, features, 1, &grad_output, &signature));
    return Call(context, signature,
                {kFeatureGradCall,
                 {{"grad_output", 0}, {"boxes", 1}, {"box_indices", 2}},
                 /*same_dtype_as=*/0,
                 features,
                 /*has_row_per_box=*/false});
  }
};

class RoiAlignBoxesGradXlaOp : public RoiAlignXlaOpBase {
 public:
  using RoiAlignXlaOpBase::RoiAlignXlaOpBase;

 protected:
  absl::Status Build(XlaOpKernelContext* context) override {
    Shape features, grad_output;
    Signature signature;
    TF_RETURN_IF_ERROR(InputShape(context, 1, &features));
    TF_RETURN_IF_ERROR(InputShape(context, 0, &grad_output));
    TF_RETURN_IF_ERROR(Check(context, features, 2, &grad_output, &signature));
    return Call(context, signature,
                {kBoxGradCall,
                 {{"grad_output", 0},
                  {"features", 1},
                  {"boxes", 2},
                  {"box_indices", 3}},
                 /*same_dtype_as=*/2,
                 signature.Boxes(),
                 /*has_row_per_box=*/true});
  }
};

class RoiAlignBoxesTangentXlaOp : public RoiAlignXlaOpBase {
 public:
  using RoiAlignXlaOpBase::RoiAlignXlaOpBase;

 protected:
  absl::Status Build(XlaOpKernelContext* context) override {
    Shape features;
    Signature signature;
    TF_RETURN_IF_ERROR(InputShape(context, 0, &features));
    TF_RETURN_IF_ERROR(Check(context, features, 1, nullptr, &signature));
    TF_RETURN_IF_ERROR(CheckDirectionInput(context, 1, 3));
    return Call(
        context, signature,
        {kTangentCall,
         {{"features", 0}, {"boxes", 1}, {"box_indices", 2}, {"direction", 3}},
         /*same_dtype_as=*/0,
         signature.Output(params()),
         /*has_row_per_box=*/true});
  }
};

class RoiAlignBoxesTangentGradXlaOp : public RoiAlignXlaOpBase {
 public:
  using RoiAlignXlaOpBase::RoiAlignXlaOpBase;

 protected:
  absl::Status Build(XlaOpKernelContext* context) override {
    Shape features, grad_output;
    Signature signature;
    TF_RETURN_IF_ERROR(ReadFeaturesShape(context, 3, &features));
    TF_RETURN_IF_ERROR(InputShape(context, 0, &grad_output));
    TF_RETURN_IF_ERROR(Check(context, features, 1, &grad_output, &signature));
    TF_RETURN_IF_ERROR(CheckDirectionInput(context, 1, 4));
    return Call(context, signature,
                {kTangentGradCall,
                 {{"grad_output", 0},
                  {"boxes", 1},
                  {"box_indices", 2},
                  {"direction", 4}},
                 /*same_dtype_as=*/0,
                 features,
                 /*has_row_per_box=*/false});
  }
};

// There is no call to make of this one. The kernel says so; without it,
// TensorFlow would report that no kernel is registered. For auto-clustering a
// kernel means that the op can be compiled, so quantized.py marks it as one
// that is not to be.
class QuantizedRoiAlignXlaOp : public tensorflow::XlaOpKernel {
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
#define TF_ROIALIGN_REGISTER(OP, DEVICE) \
  REGISTER_KERNEL_BUILDER(Name("TfRoialign>" #OP).Device(DEVICE), OP##XlaOp)
#define TF_ROIALIGN_SHAPE_IS_CONSTANT(OP)                            \
  REGISTER_XLA_OP(Name("TfRoialign>" #OP)                            \
                      .Device(absl::Span<const absl::string_view>()) \
                      .CompilationOnly()                             \
                      .CompileTimeConstantInput("features_shape"),   \
                  OP##XlaOp)

TF_ROIALIGN_REGISTER(RoiAlign, "XLA_CPU_JIT");
TF_ROIALIGN_REGISTER(RoiAlignGrad, "XLA_CPU_JIT");
TF_ROIALIGN_REGISTER(RoiAlignBoxesGrad, "XLA_CPU_JIT");
TF_ROIALIGN_REGISTER(RoiAlignBoxesTangent, "XLA_CPU_JIT");
TF_ROIALIGN_REGISTER(RoiAlignBoxesTangentGrad, "XLA_CPU_JIT");
TF_ROIALIGN_REGISTER(QuantizedRoiAlign, "XLA_CPU_JIT");
TF_ROIALIGN_REGISTER(QuantizedRoiAlign, "XLA_GPU_JIT");
#if TF_ROIALIGN_CUDA
TF_ROIALIGN_REGISTER(RoiAlign, "XLA_GPU_JIT");
TF_ROIALIGN_REGISTER(RoiAlignGrad, "XLA_GPU_JIT");
TF_ROIALIGN_REGISTER(RoiAlignBoxesGrad, "XLA_GPU_JIT");
#endif
TF_ROIALIGN_SHAPE_IS_CONSTANT(RoiAlignGrad);
TF_ROIALIGN_SHAPE_IS_CONSTANT(RoiAlignBoxesTangentGrad);

}  // namespace
}  // namespace tf_roialign
