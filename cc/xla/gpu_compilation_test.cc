// What the ops become where XLA compiles for a GPU: custom calls in HLO, made
// by the kernels of "XLA_GPU_JIT". Nothing runs, and no GPU or CUDA is needed.

#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "cc/core/call/op.h"
#include "cc/xla/compiler_headers.h"
#include "gtest/gtest.h"
#include "tensorflow/compiler/tf2xla/xla_compiler.h"
#include "tensorflow/core/framework/function.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/graph/algorithm.h"
#include "tensorflow/core/graph/graph.h"
#include "tensorflow/core/graph/node_builder.h"
#include "xla/client/client_library.h"
#include "xla/service/hlo.pb.h"

namespace tf_roialign {
namespace {

using tensorflow::DataType;
using tensorflow::Node;
using tensorflow::NodeBuilder;
using tensorflow::Tensor;
using tensorflow::TensorShape;
using tensorflow::XlaCompiler;
using tensorflow::XlaOpRegistry;

constexpr const char* kDevice = "XLA_GPU_JIT";

// A TensorFlow for CPUs has kernels for XLA on GPUs, but does not say so.
bool RegisterBackend() {
  XlaOpRegistry::RegisterBackend(kDevice, tensorflow::kGpuAllTypes,
                                 [](tensorflow::KernelDef*) { return true; });
  XlaOpRegistry::RegisterCompilationKernels();
  return true;
}

class GpuCompilation : public testing::Test {
 protected:
  GpuCompilation() : graph_(tensorflow::OpRegistry::Global()) {
    static const bool registered = RegisterBackend();
    EXPECT_TRUE(registered);
  }

  Node* Add(NodeBuilder builder) {
    Node* node = nullptr;
    const absl::Status status = builder.Finalize(&graph_, &node);
    EXPECT_TRUE(status.ok()) << status;
    return node;
  }
  NodeBuilder New(const std::string& op) {
    return NodeBuilder(op + std::to_string(graph_.num_node_ids()), op);
  }

  // An argument of the compiled function.
  Node* Arg(DataType type, const TensorShape& shape) {
    XlaCompiler::Argument argument;
    argument.kind = XlaCompiler::Argument::kParameter;
    argument.type = type;
    argument.shape = shape;
    arguments_.push_back(argument);
    return Add(New("_Arg").Attr("T", type).Attr(
        "index", static_cast<int>(arguments_.size()) - 1));
  }
  template <typename Number>
  Node* Const(const std::vector<Number>& values, const TensorShape& shape) {
    Tensor tensor(tensorflow::DataTypeToEnum<Number>::value, shape);
    for (size_t i = 0; i < values.size(); ++i) {
      tensor.flat<Number>()(i) = values[i];
    }
    return Add(
        New("Const").Attr("value", tensor).Attr("dtype", tensor.dtype()));
  }

  Node* Boxes() { return Arg(tensorflow::DT_FLOAT, {20, 4}); }
  Node* Indices() { return Arg(tensorflow::DT_INT32, {20}); }
  // The rows that are not zero, of which XLA knows only how many there may be.
  Node* Kept(Node* rows, int64_t count = 20) {
    Node* flags = Arg(tensorflow::DT_BOOL, {count});
    Node* where = Add(New("Where").Input(flags));
    return Add(New("GatherNd").Input(rows).Input(where));
  }

  absl::Status Compile(Node* node, xla::HloModuleProto* module) {
    for (int i = 0; i < node->num_outputs(); ++i) {
      Add(New("_Retval")
              .Input(node, i)
              .Attr("T", node->output_type(i))
              .Attr("index", i));
    }
    tensorflow::FixupSourceAndSinkEdges(&graph_);
    const tensorflow::FunctionLibraryDefinition functions(
        tensorflow::OpRegistry::Global(), tensorflow::FunctionDefLibrary());
    XlaCompiler::Options options;
    options.device_type = tensorflow::DeviceType(kDevice);
    options.client = xla::ClientLibrary::LocalClientOrDie();
    options.flib_def = &functions;
    XlaCompiler compiler(options);
    XlaCompiler::CompilationResult result;
    auto graph =
        std::make_unique<tensorflow::Graph>(tensorflow::OpRegistry::Global());
    graph->Copy(graph_);
    const absl::Status status = compiler.CompileGraph(
        {}, "test", std::move(graph), arguments_, &result);
    if (status.ok()) *module = result.computation->proto();
    return status;
  }

  // The only custom call of what a node becomes.
  xla::HloInstructionProto CallOf(Node* node) {
    xla::HloModuleProto module;
    const absl::Status status = Compile(node, &module);
    EXPECT_TRUE(status.ok()) << status;
    std::vector<xla::HloInstructionProto> calls;
    for (const auto& computation : module.computations()) {
      for (const auto& instruction : computation.instructions()) {
        if (instruction.opcode() == "custom-call") {
          calls.push_back(instruction);
        }
      }
    }
    EXPECT_EQ(calls.size(), 1u);
    return calls.empty() ? xla::HloInstructionProto() : calls[0];
  }

  static int Operands(const xla::HloInstructionProto& call) {
    return call.operand_ids_size();
  }

  tensorflow::Graph graph_;
  std::vector<XlaCompiler::Argument> arguments_;
};

void ExpectHas(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << text;
}

NodeBuilder WithAttributes(NodeBuilder builder) {
  return builder.Attr("output_size", std::vector<int>{3, 2});
}

// Every op: a call of its name, with an operand for each tensor but those that
// the host reads.
class GpuOps : public GpuCompilation,
               public testing::WithParamInterface<std::tuple<Op, Maps>> {
 protected:
  using NodeOut = NodeBuilder::NodeOut;

  static DataType FeaturesType(Op op) {
    return IsOnCodes(op) ? tensorflow::DT_UINT8 : tensorflow::DT_BFLOAT16;
  }

  NodeOut Make(const OpInfo& info, Input input) {
    switch (input) {
      case Input::kFeatures:
        return Arg(FeaturesType(info.op), {2, 9, 13, 5});
      case Input::kGradOutput:
        return Arg(FeaturesType(info.op), {20, 3, 2, 5});
      case Input::kBoxes:
        return Boxes();
      case Input::kBoxIndices:
        return Indices();
      case Input::kLevels:
        return Arg(tensorflow::DT_INT32, {20});
      case Input::kSpatialScales:
        return Const<double>({1, 1, 0.5, 0.5}, {2, 2});
      case Input::kFeaturesShape:
        return Const<int32_t>({2, 9, 13, 5}, {4});
      case Input::kDirection:
        return Arg(tensorflow::DT_FLOAT, {20, 4});
      case Input::kScale:
        return Const<float>({0.5f}, {});
      case Input::kZeroPoint:
        return Const<int32_t>({7}, {});
    }
    return {};
  }
};

TEST_P(GpuOps, BecomeCalls) {
  const auto [op, maps] = GetParam();
  const OpInfo info = InfoOf(op, maps);
  const int map_count = maps == Maps::kMany ? 2 : 1;
  NodeBuilder builder = WithAttributes(New(info.name));
  int operands = 0;
  for (int i = 0; i < info.input_count; ++i) {
    const Input input = info.inputs[i];
    std::vector<NodeOut> nodes;
    for (int m = 0; m < (info.IsList(input) ? map_count : 1); ++m) {
      nodes.push_back(Make(info, input));
    }
    if (!IsReadByHost(input)) operands += static_cast<int>(nodes.size());
    if (info.IsList(input)) {
      builder.Input(nodes);
    } else {
      builder.Input(nodes[0]);
    }
  }
  if (op == Op::kMaxFeatureGrad) builder.Attr("mode", "max");
  const auto call = CallOf(Add(builder));
  EXPECT_EQ(call.custom_call_target(), info.name);
  EXPECT_EQ(Operands(call), operands);
  const int outputs = info.OutputIsList() ? map_count : 1;
  EXPECT_EQ(call.shape().tuple_shapes_size(), outputs);
  ExpectHas(call.backend_config(), "output_size = array<i64: 3, 2>");
  if (maps == Maps::kMany) {
    ExpectHas(call.backend_config(), "map_count = 2 : i64");
    ExpectHas(call.backend_config(), "spatial_scales = array<i64: ");
  }
}

#define TF_ROIALIGN_VALUE(op) Op::op,
INSTANTIATE_TEST_SUITE_P(
    , GpuOps,
    testing::Combine(testing::Values(TF_ROIALIGN_FOR_EACH_FLOAT_OP(
                         TF_ROIALIGN_VALUE) Op::kForwardQuantized),
                     testing::Values(Maps::kOne, Maps::kMany)));

// Nothing that the host reads is an operand.
TEST_F(GpuCompilation, OfCodes) {
  Node* features = Arg(tensorflow::DT_INT8, {2, 9, 13, 5});
  const auto call =
      CallOf(Add(WithAttributes(New("TfRoialign>QuantizedRoiAlign")
                                    .Input(features)
                                    .Input(Boxes())
                                    .Input(Indices())
                                    .Input(Const<float>({0.5f}, {}))
                                    .Input(Const<int32_t>({7}, {})))));
  EXPECT_EQ(call.custom_call_target(), "TfRoialign>QuantizedRoiAlign");
  EXPECT_EQ(Operands(call), 3);
  EXPECT_EQ(call.shape().tuple_shapes(0).element_type(), xla::S8);
  // The bits of 0.5 and 7 as doubles.
  ExpectHas(call.backend_config(), "scale = array<i64: 4602678819172646912>");
  ExpectHas(call.backend_config(),
            "zero_point = array<i64: 4619567317775286272>");
}

TEST_F(GpuCompilation, ScaleOfCodesHasToBeKnown) {
  Node* features = Arg(tensorflow::DT_INT8, {2, 9, 13, 5});
  Node* scale = Arg(tensorflow::DT_FLOAT, {});
  xla::HloModuleProto module;
  const absl::Status status =
      Compile(Add(WithAttributes(New("TfRoialign>QuantizedRoiAlign")
                                     .Input(features)
                                     .Input(Boxes())
                                     .Input(Indices())
                                     .Input(scale)
                                     .Input(Const<int32_t>({7}, {})))),
              &module);
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
  ExpectHas(std::string(status.message()),
            "`scale` must be known when RoIAlign is compiled by "
            "XLA for a GPU");
}

// The number is one more operand, which stays on the device.
TEST_F(GpuCompilation, OfANumberOfBoxesThatOnlyTheRunKnows) {
  Node* features = Arg(tensorflow::DT_FLOAT, {2, 9, 13, 5});
  Node* boxes = Kept(Arg(tensorflow::DT_FLOAT, {20, 5}));
  Node* none = Const<int32_t>({}, {0});
  const auto call = CallOf(Add(WithAttributes(
      New("TfRoialign>RoiAlign").Input(features).Input(boxes).Input(none))));
  EXPECT_EQ(Operands(call), 4);
  ASSERT_EQ(call.operand_shapes_with_layout_size(), 4);
  EXPECT_EQ(call.operand_shapes_with_layout(3).element_type(), xla::S32);
  EXPECT_EQ(call.operand_shapes_with_layout(3).dimensions_size(), 0);
  for (const auto& shape : call.operand_shapes_with_layout()) {
    for (const bool is_dynamic : shape.is_dynamic_dimension()) {
      EXPECT_FALSE(is_dynamic);
    }
  }
  EXPECT_EQ(call.shape().tuple_shapes(0).dimensions(0), 20);
}

TEST_F(GpuCompilation, OtherSizesHaveToBeKnown) {
  Node* features = Kept(Arg(tensorflow::DT_FLOAT, {20, 9, 13, 5}));
  xla::HloModuleProto module;
  const absl::Status status =
      Compile(Add(WithAttributes(New("TfRoialign>RoiAlign")
                                     .Input(features)
                                     .Input(Boxes())
                                     .Input(Indices()))),
              &module);
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
  ExpectHas(std::string(status.message()),
            "`features` must have a shape that is known when");
}

TEST_F(GpuCompilation, ColumnsOfBoxesHaveToBeKnown) {
  Node* columns = Kept(Arg(tensorflow::DT_FLOAT, {5, 20}), 5);
  Node* boxes =
      Add(New("Transpose").Input(columns).Input(Const<int32_t>({1, 0}, {2})));
  xla::HloModuleProto module;
  const absl::Status status = Compile(
      Add(WithAttributes(New("TfRoialign>RoiAlign")
                             .Input(Arg(tensorflow::DT_FLOAT, {2, 9, 13, 5}))
                             .Input(boxes)
                             .Input(Const<int32_t>({}, {0})))),
      &module);
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
  ExpectHas(std::string(status.message()),
            "`boxes` must have a shape that is known when");
}

}  // namespace
}  // namespace tf_roialign
