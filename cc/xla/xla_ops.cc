// How XLA compiles the ops: each becomes one custom call, which is run by a
// handler of the platform. Everything that needs the headers of TensorFlow's
// compiler is in this file.

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
#include "cc/xla/compiler_headers.h"
#include "tensorflow/core/framework/kernel_def_builder.h"

namespace tf_roialign {
namespace {

using tensorflow::XlaOpKernelContext;

xla::Shape RowMajor(xla::PrimitiveType type, const Shape& shape) {
  return xla::ShapeUtil::MakeShapeWithDescendingLayout(
      type, absl::MakeConstSpan(shape.dims, shape.rank));
}

class RoiAlignXlaOpBase : public tensorflow::XlaOpKernel {
 public:
  RoiAlignXlaOpBase(const OpInfo& info,
                    tensorflow::OpKernelConstruction* context)
      : XlaOpKernel(context),
        info_(info),
        on_gpu_(context->device_type().type_string() == "XLA_GPU_JIT") {
    OP_REQUIRES_OK(context, ReadParams(context, info_, &params_));
    OP_REQUIRES_OK(context, ReadMapCount(context, info_, &map_count_));
  }

  void Compile(XlaOpKernelContext* context) final {
    OP_REQUIRES_OK(context, Build(context));
  }

 private:
  absl::Status Build(XlaOpKernelContext* context) const {
    InputShapes shapes;
    shapes.set_map_count(map_count_);
    TF_RETURN_IF_ERROR(
        ForEachTensor(info_, map_count_, [&](Input input, int map, int place) {
          Shape shape;
          TF_RETURN_IF_ERROR(InputShape(context, place, &shape));
          if (map == 0) shapes[input] = shape;
          if (input == Input::kFeaturesShape) {
            return FeaturesOfShapeInput(context, place, shape,
                                        &shapes.features(map));
          }
          if (input == Input::kFeatures) shapes.features(map) = shape;
          return absl::OkStatus();
        }));
    Signature signature;
    TF_RETURN_IF_ERROR(ToAbsl(CheckShapes(info_, params_, shapes, &signature)));
    return Call(context, signature);
  }

  // Where a size is not known, its bound.
  static absl::Status InputShape(XlaOpKernelContext* context, int place,
                                 Shape* shape) {
    TF_ASSIGN_OR_RETURN(const xla::Shape of_input,
                        context->InputXlaShape(place));
    *shape = Shape::Of(of_input.dimensions());
    return absl::OkStatus();
  }

  // What the input `features_shape` holds: XLA has to know it.
  static absl::Status FeaturesOfShapeInput(XlaOpKernelContext* context,
                                           int place, const Shape& shape,
                                           Shape* features) {
    std::vector<int64_t> sizes;
    if (shape.rank == 1) {
      TF_RETURN_IF_ERROR(context->ConstantInputAsIntVector(place, &sizes));
    }
    return ToAbsl(
        tf_roialign::ReadFeaturesShape(shape, sizes.data(), features));
  }

  // On a GPU an operand would be where the host, which reads it, cannot.
  static absl::Status AddHostInput(XlaOpKernelContext* context, Input input,
                                   int place, AttributesText* attributes) {
    xla::Literal literal;
    const absl::Status status = context->ConstantInput(place, &literal);
    if (!status.ok()) {
      return absl::UnimplementedError(absl::StrCat(
          "`", NameOf(input),
          "` must be known when RoIAlign is compiled by XLA for a GPU: ",
          status.message()));
    }
    // Which holds all that they may be.
    TF_ASSIGN_OR_RETURN(const xla::Literal numbers, literal.Convert(xla::F64));
    const absl::Span<const double> values = numbers.data<double>();
    attributes->AddNumbers(NameOf(input), {values.begin(), values.end()});
    return absl::OkStatus();
  }

  absl::Status Call(XlaOpKernelContext* context,
                    const Signature& signature) const {
    AttributesText attributes(params_);
    if (info_.maps == Maps::kMany) {
      attributes.Add(kMapCount, AttributeText(int64_t{map_count_}));
    }
    std::vector<xla::XlaOp> operands;
    std::vector<xla::Shape> shapes;
    // How many boxes there are, where XLA knows only a bound.
    std::optional<xla::XlaOp> count;
    const Input typed = info_.output == Output::kBoxes ? Input::kBoxes
                        : info_.Has(Input::kFeatures)  ? Input::kFeatures
                                                       : Input::kGradOutput;
    xla::PrimitiveType type = xla::PRIMITIVE_TYPE_INVALID;
    TF_RETURN_IF_ERROR(
        ForEachTensor(info_, map_count_, [&](Input input, int, int place) {
          if (input == Input::kFeaturesShape) return absl::OkStatus();
          if (IsReadByHost(input) && on_gpu_) {
            return AddHostInput(context, input, place, &attributes);
          }
          TF_ASSIGN_OR_RETURN(const xla::Shape of_input,
                              context->InputXlaShape(place));
          xla::XlaOp value = context->Input(place);
          if (!of_input.is_static()) {
            TF_RETURN_IF_ERROR(CheckDynamic(input, of_input, signature.form));
            if (!count) count = xla::GetDimensionSize(value, 0);
            value = xla::RemoveDynamicDimension(value, 0);
          }
          operands.push_back(value);
          // XLA would choose layouts of its own otherwise.
          shapes.push_back(RowMajor(of_input.element_type(),
                                    Shape::Of(of_input.dimensions())));
          if (input == typed) type = of_input.element_type();
          return absl::OkStatus();
        }));
    if (count) {
      operands.push_back(*count);
      shapes.push_back(RowMajor(xla::S32, Shape({})));
    }
    const int outputs = info_.OutputIsList() ? map_count_ : 1;
    std::vector<xla::Shape> of_outputs;
    for (int m = 0; m < outputs; ++m) {
      of_outputs.push_back(
          RowMajor(type, signature.OutputShape(info_, params_, m)));
    }
    // A tuple of one too: XLA takes the configuration of what a computation
    // ends with for its own JSON when it concatenates, up to TensorFlow 2.18,
    // and aborts the process at ours. An element of a tuple has none.
    const xla::XlaOp result = xla::CustomCallWithLayout(
        context->builder(), info_.name, operands,
        xla::ShapeUtil::MakeTupleShape(of_outputs), shapes, attributes.text(),
        /*has_side_effect=*/false,
        /*output_operand_aliasing=*/{}, /*literal=*/nullptr,
        xla::CustomCallSchedule::SCHEDULE_NONE,
        xla::CustomCallApiVersion::API_VERSION_TYPED_FFI);
    for (int m = 0; m < outputs; ++m) {
      xla::XlaOp output = xla::GetTupleElement(result, m);
      if (count && info_.output != Output::kFeatures) {  // a row for each box
        output = xla::SetDimensionSize(output, *count, 0);
      }
      context->SetOutput(m, output);
    }
    return absl::OkStatus();
  }

  // XLA knows but a bound of some sizes, for example of the number of rows that
  // tf.boolean_mask keeps. The number of boxes may be one of them.
  static absl::Status CheckDynamic(Input input, const xla::Shape& shape,
                                   BoxForm form) {
    bool only_boxes = form != BoxForm::kDense && input != Input::kFeatures;
    for (size_t i = 1; i < shape.dimensions().size(); ++i) {
      only_boxes = only_boxes && !shape.is_dynamic_dimension(i);
    }
    if (only_boxes) return absl::OkStatus();
    return absl::UnimplementedError(
        absl::StrCat("`", NameOf(input),
                     "` must have a shape that is known when RoIAlign is "
                     "compiled by XLA (but "
                     "for K boxes [K, 5] or [K, 4]), got ",
                     shape.ToString()));
  }

  const OpInfo info_;
  const bool on_gpu_;
  OpParams params_;
  int map_count_ = 1;
};

template <Op kOp, Maps kMaps>
class RoiAlignXlaOp : public RoiAlignXlaOpBase {
 public:
  explicit RoiAlignXlaOp(tensorflow::OpKernelConstruction* context)
      : RoiAlignXlaOpBase(InfoOf(kOp, kMaps), context) {}
};

// REGISTER_XLA_OP makes kernels only of what is there when TensorFlow starts
// its devices, which may be before this library is loaded. So the kernels are
// registered by themselves, and the registry gets, for no device at all, what
// else it has to know.
template <Op kOp, Maps kMaps>
bool Register(const char* device) {
  using tensorflow::OpKernel;
  using tensorflow::OpKernelConstruction;
  constexpr OpInfo kInfo = InfoOf(kOp, kMaps);
  tensorflow::kernel_factory::OpKernelRegistrar(
      tensorflow::KernelDefBuilder(kInfo.name).Device(device).Build(),
      "RoiAlignXlaOp", [](OpKernelConstruction* context) -> OpKernel* {
        return new RoiAlignXlaOp<kOp, kMaps>(context);
      });
  return true;
}

[[maybe_unused]] const bool registered[] = {
#define TF_ROIALIGN_REGISTER_FOR(op, device) \
  Register<Op::op, Maps::kOne>(device), Register<Op::op, Maps::kMany>(device),
#define TF_ROIALIGN_REGISTER(op) TF_ROIALIGN_REGISTER_FOR(op, "XLA_CPU_JIT")
    TF_ROIALIGN_FOR_EACH_FLOAT_OP(TF_ROIALIGN_REGISTER)
        TF_ROIALIGN_FOR_EACH_CODE_OP(TF_ROIALIGN_REGISTER)
#undef TF_ROIALIGN_REGISTER
#if TF_ROIALIGN_CUDA
#define TF_ROIALIGN_REGISTER(op) TF_ROIALIGN_REGISTER_FOR(op, "XLA_GPU_JIT")
            TF_ROIALIGN_FOR_EACH_FLOAT_OP(TF_ROIALIGN_REGISTER)
                TF_ROIALIGN_FOR_EACH_CODE_OP(TF_ROIALIGN_REGISTER)
#undef TF_ROIALIGN_REGISTER
#endif
};

// For the macro, which takes no commas.
template <Op kOp>
using RoiAlignXlaOp_kOne = RoiAlignXlaOp<kOp, Maps::kOne>;
template <Op kOp>
using RoiAlignXlaOp_kMany = RoiAlignXlaOp<kOp, Maps::kMany>;

#define TF_ROIALIGN_SHAPE_IS_CONSTANT(op, maps)                     \
  REGISTER_XLA_OP(                                                  \
      Name(InfoOf(Op::op, Maps::maps).name)                         \
          .Device(absl::Span<const absl::string_view>())            \
          .CompilationOnly()                                        \
          .CompileTimeConstantInput(NameOf(Input::kFeaturesShape)), \
      RoiAlignXlaOp_##maps<Op::op>)
TF_ROIALIGN_SHAPE_IS_CONSTANT(kFeatureGrad, kOne);
TF_ROIALIGN_SHAPE_IS_CONSTANT(kFeatureGrad, kMany);
TF_ROIALIGN_SHAPE_IS_CONSTANT(kBoxTangentGrad, kOne);
TF_ROIALIGN_SHAPE_IS_CONSTANT(kBoxTangentGrad, kMany);

}  // namespace
}  // namespace tf_roialign
