// The handlers of custom calls on XLA:GPU, called as XLA does, on a GPU that is
// an interpreter: they queue what the OpKernels queue, which are tested beside
// themselves (cc/kernels/device_test).

#include <cstdint>
#include <cstring>
#include <string>
#include <tuple>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "cc/core/call/op.h"
#include "cc/kernels/device_test/interpreted_gpu.h"
#include "cc/kernels/device_test/op_call.h"
#include "cc/xla/testing/call_frame.h"
#include "gtest/gtest.h"
#include "tensorflow/core/framework/attr_value.pb.h"
#include "tensorflow/core/framework/node_def.pb.h"
#include "tensorflow/core/framework/tensor.h"
#include "xla/ffi/api/c_api.h"

// Exported by libtensorflow_cc. The header that declares it, xla/ffi/ffi_api.h,
// is for the inside of XLA.
namespace xla::ffi {

struct HandlerRegistration {
  XLA_FFI_Metadata metadata;
  XLA_FFI_Handler_Bundle bundle;
};

absl::StatusOr<HandlerRegistration> FindHandler(absl::string_view name,
                                                absl::string_view platform);
absl::Status TakeStatus(XLA_FFI_Error* error);
const XLA_FFI_Api* GetXlaFfiApi();

}  // namespace xla::ffi

namespace tf_roialign {
namespace {

using tensorflow::DataType;
using tensorflow::Tensor;

XLA_FFI_DataType TypeOf(const Tensor& tensor) {
  switch (tensor.dtype()) {
    case tensorflow::DT_HALF:
      return XLA_FFI_DataType_F16;
    case tensorflow::DT_BFLOAT16:
      return XLA_FFI_DataType_BF16;
    case tensorflow::DT_FLOAT:
      return XLA_FFI_DataType_F32;
    case tensorflow::DT_DOUBLE:
      return XLA_FFI_DataType_F64;
    case tensorflow::DT_INT8:
      return XLA_FFI_DataType_S8;
    case tensorflow::DT_UINT8:
      return XLA_FFI_DataType_U8;
    case tensorflow::DT_INT32:
      return XLA_FFI_DataType_S32;
    default:
      ADD_FAILURE() << DataTypeString(tensor.dtype());
      return XLA_FFI_DataType_INVALID;
  }
}

std::vector<int64_t> ShapeOf(const Tensor& tensor) {
  std::vector<int64_t> sizes;
  for (const auto size : tensor.shape()) sizes.push_back(size.size);
  return sizes;
}

// XLA's functions, but for those that ask for the GPU, which is the context.
InterpretedGpu& GpuOf(XLA_FFI_ExecutionContext* context) {
  return *reinterpret_cast<InterpretedGpu*>(context);
}

XLA_FFI_Error* GetStream(XLA_FFI_Stream_Get_Args* args) {
  args->stream = GpuOf(args->ctx).stream().handle();
  return nullptr;
}

XLA_FFI_Error* Allocate(XLA_FFI_DeviceMemory_Allocate_Args* args) {
  // XLA refuses more.
  EXPECT_LE(args->alignment, 16u);
  args->data = GpuOf(args->ctx).allocator()->AllocateRaw(16, args->size);
  if (args->data != nullptr) return nullptr;
  XLA_FFI_Error_Create_Args error = {XLA_FFI_Error_Create_Args_STRUCT_SIZE,
                                     nullptr, "There is none",
                                     XLA_FFI_Error_Code_RESOURCE_EXHAUSTED};
  return xla::ffi::GetXlaFfiApi()->XLA_FFI_Error_Create(&error);
}

XLA_FFI_Error* Free(XLA_FFI_DeviceMemory_Free_Args* args) {
  GpuOf(args->ctx).allocator()->DeallocateRaw(args->data);
  return nullptr;
}

OpParams ParamsOf(const OpCall& call) {
  const auto& attributes = call.node.attr();
  OpParams params;
  params.maps = call.info.maps;
  params.output_size = {attributes.at("output_size").list().i(0),
                        attributes.at("output_size").list().i(1)};
  if (attributes.at("data_format").s() == "NCHW") {
    params.data_format = Layout::kNCHW;
  }
  if (attributes.at("mode").s() == "max") params.mode = Mode::kMax;
  return params;
}

// What the host reads is in attributes.
void AddHostInput(Input input, const Tensor& tensor, CallFrame* frame) {
  std::vector<double> values(tensor.NumElements());
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = tensor.dtype() == tensorflow::DT_DOUBLE
                    ? static_cast<const double*>(tensor.data())[i]
                : tensor.dtype() == tensorflow::DT_FLOAT
                    ? static_cast<const float*>(tensor.data())[i]
                    : static_cast<const int32_t*>(tensor.data())[i];
  }
  frame->Attribute(NameOf(input), Bits(values));
}

// `like`: tensors of the outputs' dtypes and shapes. `box_count`: of how many
// boxes there are, where XLA knows a bound only; none, if it is empty.
Result RunOnXlaGpu(const OpCall& call, const std::vector<Tensor>& like,
                   int64_t allocations_left = -1,
                   const Tensor* box_count = nullptr) {
  Result result;
  const auto handler = xla::ffi::FindHandler(call.info.name, "CUDA");
  EXPECT_TRUE(handler.ok()) << handler.status();
  if (!handler.ok()) return result;
  XLA_FFI_Api api = *xla::ffi::GetXlaFfiApi();
  api.XLA_FFI_Stream_Get = GetStream;
  api.XLA_FFI_DeviceMemory_Allocate = Allocate;
  api.XLA_FFI_DeviceMemory_Free = Free;

  InterpretedGpu gpu;
  CallFrame frame(ParamsOf(call));
  if (call.info.maps == Maps::kMany) {
    frame.Attribute("map_count", int64_t{call.map_count});
  }
  std::vector<Tensor> inputs, outputs;
  const auto add_operand = [&](const Tensor& tensor, const char* name) {
    inputs.push_back(gpu.Upload(tensor, name));
    frame.Operand(inputs.back().data(), TypeOf(tensor), ShapeOf(tensor));
  };
  ForEachTensor(call.info, call.map_count, [&](Input input, int, int place) {
    const Tensor& tensor = call.inputs[place];
    // The results tell it.
    if (input == Input::kFeaturesShape) return absl::OkStatus();
    if (IsReadByHost(input)) {
      AddHostInput(input, tensor, &frame);
    } else {
      add_operand(tensor, NameOf(input));
    }
    return absl::OkStatus();
  });
  if (box_count != nullptr) add_operand(*box_count, "the number of boxes");
  for (const Tensor& tensor : like) {
    outputs.emplace_back(gpu.allocator(), tensor.dtype(), tensor.shape());
    frame.Result(outputs.back().data(), TypeOf(tensor), ShapeOf(tensor));
  }

  const int64_t allocations = gpu.allocations(), launches = gpu.launches();
  gpu.set_allocations_left(allocations_left);
  result.status =
      frame.With([&](const XLA_FFI_Args& operands, const XLA_FFI_Rets& results,
                     const XLA_FFI_Attrs& attributes) {
        XLA_FFI_CallFrame call_frame = {
            XLA_FFI_CallFrame_STRUCT_SIZE,
            nullptr,
            &api,
            reinterpret_cast<XLA_FFI_ExecutionContext*>(&gpu),
            XLA_FFI_ExecutionStage_EXECUTE,
            operands,
            results,
            attributes,
            nullptr};
        return xla::ffi::TakeStatus(handler->bundle.execute(&call_frame));
      });
  result.allocations = gpu.allocations() - allocations;
  inputs.clear();
  result.faults = gpu.Run();
  result.launches = gpu.launches() - launches;
  if (!result.status.ok()) return result;
  for (const Tensor& output : outputs) {
    result.outputs.push_back(gpu.Download(output, &result.faults));
  }
  return result;
}

void ExpectSame(const Tensor& a, const Tensor& b) {
  ASSERT_EQ(a.shape(), b.shape());
  ASSERT_GT(a.TotalBytes(), 0u);
  EXPECT_EQ(std::memcmp(a.data(), b.data(), a.TotalBytes()), 0);
}

class Handlers : public testing::TestWithParam<std::tuple<Op, Maps>> {
 protected:
  OpCall Make(CallOptions options = {}) const {
    const auto [op, maps] = GetParam();
    if (IsOnCodes(op)) options.features = tensorflow::DT_INT8;
    return RandomCall(op, maps, options);
  }
};

#define TF_ROIALIGN_VALUE(op) Op::op,
INSTANTIATE_TEST_SUITE_P(
    , Handlers,
    testing::Combine(testing::Values(TF_ROIALIGN_FOR_EACH_FLOAT_OP(
                         TF_ROIALIGN_VALUE) Op::kForwardQuantized),
                     testing::Values(Maps::kOne, Maps::kMany)));

TEST_P(Handlers, DoWhatOpKernelsDo) {
  for (const bool nchw : {false, true}) {
    for (const DataType boxes : {tensorflow::DT_FLOAT, tensorflow::DT_DOUBLE}) {
      SCOPED_TRACE(testing::Message() << nchw << DataTypeString(boxes));
      CallOptions options;
      options.nchw = options.indices_in_rows = options.levels_by_rule = nchw;
      options.boxes = boxes;
      const OpCall call = Make(options);
      const Result kernel = RunOnGpu(call);
      ASSERT_TRUE(kernel.status.ok()) << kernel.status;
      const Result handler = RunOnXlaGpu(call, kernel.outputs);
      ASSERT_TRUE(handler.status.ok()) << handler.status;
      EXPECT_EQ(handler.faults, "");
      EXPECT_EQ(handler.launches, kernel.launches);
      ASSERT_EQ(handler.outputs.size(), kernel.outputs.size());
      for (size_t i = 0; i < kernel.outputs.size(); ++i) {
        ExpectSame(handler.outputs[i], kernel.outputs[i]);
      }
    }
  }
}

TEST_P(Handlers, SayWhenMemoryIsOut) {
  const OpCall call = Make();
  const std::vector<Tensor> like = RunOnGpu(call).outputs;
  const Result all = RunOnXlaGpu(call, like);
  ASSERT_TRUE(all.status.ok()) << all.status;
  for (int64_t left = 0; left < all.allocations; ++left) {
    const Result result = RunOnXlaGpu(call, like, left);
    EXPECT_EQ(result.status.code(), absl::StatusCode::kResourceExhausted)
        << result.status;
    EXPECT_EQ(result.faults, "");
  }
}

TEST(CudaHandlersTest, ReadTheNumberOfBoxesOnTheDevice) {
  const OpCall call = RandomCall(Op::kForward, Maps::kOne);
  const std::vector<Tensor> all = RunOnGpu(call).outputs;
  Tensor count(tensorflow::DT_INT32, {});
  *static_cast<int32_t*>(count.data()) = 6;
  const Result result = RunOnXlaGpu(call, all, -1, &count);
  ASSERT_TRUE(result.status.ok()) << result.status;
  EXPECT_EQ(result.faults, "");
  ExpectSame(result.outputs[0].Slice(0, 6), all[0].Slice(0, 6));
  const Tensor rest = result.outputs[0].Slice(6, 9);
  for (int64_t i = 0; i < rest.NumElements(); ++i) {
    const float value = static_cast<const float*>(rest.data())[i];
    EXPECT_NE(value, value);
  }
}

}  // namespace
}  // namespace tf_roialign
