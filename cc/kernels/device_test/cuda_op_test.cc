// The OpKernels for GPUs, from TensorFlow's tensors, allocator and stream to
// what their launches do, on a GPU that is an interpreter.

#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "absl/status/status.h"
#include "cc/core/cuda/roi_align_cuda.h"
#include "cc/kernels/device_test/interpreted_gpu.h"
#include "cc/kernels/device_test/op_call.h"
#include "gtest/gtest.h"
#include "tensorflow/core/framework/types.h"

namespace tf_roialign {
namespace {

using tensorflow::DataType;
using tensorflow::Tensor;
using tensorflow::TensorShape;

// ---- Results

template <typename T>
std::vector<double> Doubles(const Tensor& tensor) {
  const T* const data = static_cast<const T*>(tensor.data());
  std::vector<double> values;
  for (int64_t i = 0; i < tensor.NumElements(); ++i) {
    values.push_back(static_cast<double>(data[i]));
  }
  return values;
}

std::vector<double> Doubles(const Tensor& tensor) {
  switch (tensor.dtype()) {
    case tensorflow::DT_HALF:
      return Doubles<Eigen::half>(tensor);
    case tensorflow::DT_BFLOAT16:
      return Doubles<Eigen::bfloat16>(tensor);
    case tensorflow::DT_FLOAT:
      return Doubles<float>(tensor);
    case tensorflow::DT_DOUBLE:
      return Doubles<double>(tensor);
    case tensorflow::DT_UINT8:
    case tensorflow::DT_QUINT8:
      return Doubles<uint8_t>(tensor);
    case tensorflow::DT_INT8:
    case tensorflow::DT_QINT8:
      return Doubles<int8_t>(tensor);
    default:
      return Doubles<int32_t>(tensor);
  }
}

// Of a value of the size of the largest: a few roundings.
double Tolerance(DataType dtype) {
  switch (dtype) {
    case tensorflow::DT_HALF:
      return 2e-3;
    case tensorflow::DT_BFLOAT16:
      return 1.6e-2;
    case tensorflow::DT_FLOAT:
      return 2e-6;
    case tensorflow::DT_DOUBLE:
      return 1e-14;
    default:
      return 0;  // of codes
  }
}

void ExpectAlike(const Tensor& gpu, const Tensor& cpu, double tolerance) {
  ASSERT_EQ(gpu.dtype(), cpu.dtype());
  ASSERT_EQ(gpu.shape(), cpu.shape());
  const std::vector<double> a = Doubles(gpu), b = Doubles(cpu);
  double largest = 0, difference = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    ASSERT_TRUE(std::isfinite(a[i]) && std::isfinite(b[i])) << "element " << i;
    largest = std::max(largest, std::abs(b[i]));
    difference = std::max(difference, std::abs(a[i] - b[i]));
  }
  EXPECT_TRUE(a.empty() || largest > 0);
  EXPECT_LE(difference, tolerance * largest);
}

// Runs on both.
void ExpectAsOnCpu(const OpCall& call) {
  const Result gpu = RunOnGpu(call);
  const Result cpu = RunOnCpu(call);
  ASSERT_TRUE(cpu.status.ok()) << cpu.status;
  ASSERT_TRUE(gpu.status.ok()) << gpu.status;
  EXPECT_EQ(gpu.faults, "");
  EXPECT_GT(gpu.launches, 0);
  ASSERT_EQ(gpu.outputs.size(), cpu.outputs.size());
  // The gradient to the boxes is as exact as the features are.
  const DataType dtypes[] = {call.inputs[0].dtype(), gpu.outputs[0].dtype()};
  for (size_t i = 0; i < gpu.outputs.size(); ++i) {
    ExpectAlike(gpu.outputs[i], cpu.outputs[i],
                std::max(Tolerance(dtypes[0]), Tolerance(dtypes[1])));
  }
}

class Ops : public testing::TestWithParam<std::tuple<Op, Maps>> {
 protected:
  Op op() const { return std::get<0>(GetParam()); }
  Maps maps() const { return std::get<1>(GetParam()); }
  DataType features() const {
    return IsOnCodes(op()) ? tensorflow::DT_INT8 : tensorflow::DT_FLOAT;
  }
  OpCall Make(CallOptions options = {}) const {
    options.features = features();
    return RandomCall(op(), maps(), options);
  }
};

#define TF_ROIALIGN_VALUE(op) Op::op,
INSTANTIATE_TEST_SUITE_P(
    , Ops,
    testing::Combine(testing::Values(TF_ROIALIGN_FOR_EACH_FLOAT_OP(
                         TF_ROIALIGN_VALUE) Op::kForwardQuantized),
                     testing::Values(Maps::kOne, Maps::kMany)));

TEST_P(Ops, AreAsOnCpu) {
  for (const bool nchw : {false, true}) {
    for (const int64_t channels : {5, 8}) {
      for (const bool other_forms : {false, true}) {
        SCOPED_TRACE(testing::Message() << nchw << channels << other_forms);
        CallOptions options;
        options.nchw = nchw;
        options.channels = channels;
        options.indices_in_rows = options.levels_by_rule = other_forms;
        ExpectAsOnCpu(Make(options));
      }
    }
  }
}

TEST_P(Ops, HaveKernelsOfAllDtypes) {
  const std::vector<DataType> floats = {
      tensorflow::DT_HALF, tensorflow::DT_BFLOAT16, tensorflow::DT_FLOAT,
      tensorflow::DT_DOUBLE};
  const std::vector<DataType> codes = {
      tensorflow::DT_INT8,  tensorflow::DT_UINT8,  tensorflow::DT_INT32,
      tensorflow::DT_QINT8, tensorflow::DT_QUINT8, tensorflow::DT_QINT32};
  for (const DataType features : IsOnCodes(op()) ? codes : floats) {
    for (const DataType boxes : {tensorflow::DT_FLOAT, tensorflow::DT_DOUBLE}) {
      SCOPED_TRACE(DataTypeString(features) + ", " + DataTypeString(boxes));
      CallOptions options;
      options.features = features;
      options.boxes = boxes;
      ExpectAsOnCpu(RandomCall(op(), maps(), options));
    }
  }
}

// ---- Memory

// Other inputs stay on the device, where the host cannot look at them:
// RunOnGpu puts inputs where the kernel says that it wants them.
TEST_P(Ops, HaveSomeInputsOnTheHost) {
  const std::set<std::string> on_host = {"features_shape", "spatial_scales",
                                         "scale", "zero_point"};
  const OpCall call = Make();
  InterpretedGpu gpu;
  const auto kernel = MakeKernel(call, &gpu);
  ASSERT_NE(kernel, nullptr);
  ForEachTensor(call.info, call.map_count, [&](Input input, int, int place) {
    EXPECT_EQ(kernel->input_memory_types()[place] == tensorflow::HOST_MEMORY,
              on_host.count(NameOf(input)) > 0)
        << NameOf(input);
    return absl::OkStatus();
  });
  for (const tensorflow::MemoryType type : kernel->output_memory_types()) {
    EXPECT_EQ(type, tensorflow::DEVICE_MEMORY);
  }
}

TEST_P(Ops, SayWhenMemoryIsOut) {
  const OpCall call = Make();
  const Result all = RunOnGpu(call);
  const int outputs = call.info.OutputIsList() ? call.map_count : 1;
  const bool has_scratch = op() != Op::kForward && op() != Op::kBoxTangent &&
                           op() != Op::kForwardQuantized;
  ASSERT_TRUE(all.status.ok()) << all.status;
  EXPECT_EQ(all.allocations > outputs, has_scratch);
  for (int64_t left = 0; left < all.allocations; ++left) {
    const Result result = RunOnGpu(call, left);
    EXPECT_EQ(result.status.code(), absl::StatusCode::kResourceExhausted);
    const std::string text(result.status.message());
    EXPECT_NE(text.find(left < outputs ? "OOM when allocating tensor"
                                       : "There is not enough GPU memory for "
                                         "the scratch space of RoIAlign's "
                                         "gradient"),
              std::string::npos)
        << text;
    EXPECT_EQ(result.faults, "");
    if (left < outputs) {
      EXPECT_EQ(result.launches, 0);
    }
  }
  EXPECT_TRUE(RunOnGpu(call, all.allocations).status.ok());
}

// ---- Calls without work

TEST_P(Ops, LaunchNothingForAnEmptyOutput) {
  CallOptions options;
  if (InfoOf(op(), maps()).output == Output::kFeatures) {
    options.channels = 0;
  } else {
    options.count = 0;
  }
  const Result result = RunOnGpu(Make(options));
  ASSERT_TRUE(result.status.ok()) << result.status;
  EXPECT_EQ(result.faults, "");
  EXPECT_EQ(result.launches, 0);
  EXPECT_EQ(result.allocations, 0);
  for (const Tensor& output : result.outputs) {
    EXPECT_EQ(output.NumElements(), 0);
  }
}

TEST(CudaOpTest, GradientOfNoBoxesIsZero) {
  CallOptions options;
  options.count = 0;
  const Result result =
      RunOnGpu(RandomCall(Op::kFeatureGrad, Maps::kMany, options));
  ASSERT_TRUE(result.status.ok()) << result.status;
  EXPECT_EQ(result.faults, "");
  ASSERT_EQ(result.outputs.size(), 2u);
  for (const Tensor& output : result.outputs) {
    const std::vector<double> values = Doubles(output);
    EXPECT_GT(values.size(), 0u);
    EXPECT_EQ(std::count(values.begin(), values.end(), 0),
              static_cast<int64_t>(values.size()));
  }
}

// ---- Errors

// The CPU's kernel says the same.
void ExpectInvalid(const OpCall& call, const std::string& text) {
  const Result gpu = RunOnGpu(call);
  EXPECT_EQ(gpu.status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(gpu.status.message(), text);
  EXPECT_EQ(gpu.status.message(), RunOnCpu(call).status.message());
  EXPECT_EQ(gpu.faults, "");
  EXPECT_EQ(gpu.launches, 0);
}

Tensor Floats(const TensorShape& shape) {
  Tensor tensor(tensorflow::DT_FLOAT, shape);
  std::fill_n(static_cast<float*>(tensor.data()), tensor.NumElements(), 1.0f);
  return tensor;
}

TEST(CudaOpTest, BadShapesAreRefused) {
  OpCall call = RandomCall(Op::kForward, Maps::kOne);
  call[Input::kFeatures] = Floats({9, 13, 5});
  ExpectInvalid(call,
                "`features` must have shape [N, H, W, C], got [9, 13, 5]");

  call = RandomCall(Op::kForward, Maps::kOne);
  call[Input::kBoxes] = Floats({9, 3});
  ExpectInvalid(
      call, "`boxes` must have shape [K, 5], [K, 4] or [N, M, 4], got [9, 3]");

  call = RandomCall(Op::kBoxGrad, Maps::kOne);
  call[Input::kGradOutput] = Floats({9, 3, 3, 5});
  ExpectInvalid(call,
                "`grad_output` must have shape [9, 3, 2, 5], got [9, 3, 3, 5]");

  call = RandomCall(Op::kFeatureGrad, Maps::kOne);
  Tensor shape(tensorflow::DT_INT32, {3});
  std::fill_n(static_cast<int32_t*>(shape.data()), 3, 5);
  call[Input::kFeaturesShape] = shape;
  ExpectInvalid(call, "`features_shape` must have shape [4], got [3]");
}

// Values of what the host reads.
TEST(CudaOpTest, BadValuesOnTheHostAreRefused) {
  OpCall call = RandomCall(Op::kForward, Maps::kMany);
  Tensor scales(tensorflow::DT_DOUBLE, {2, 2});
  std::fill_n(static_cast<double*>(scales.data()), 4, -1.0);
  call[Input::kSpatialScales] = scales;
  ExpectInvalid(
      call, "`spatial_scales[0]` must be finite and greater than 0, got -1");

  CallOptions options;
  options.features = tensorflow::DT_UINT8;
  call = RandomCall(Op::kForwardQuantized, Maps::kOne, options);
  Tensor zero_point(tensorflow::DT_INT32, {});
  *static_cast<int32_t*>(zero_point.data()) = 256;
  call[Input::kZeroPoint] = zero_point;
  ExpectInvalid(call, "`zero_point` must be in [0, 255], got 256");
}

// What is on the device cannot be refused: the box gets NaN, no other does.
TEST(CudaOpTest, ABadImageIndexIsNaN) {
  OpCall call = RandomCall(Op::kForward, Maps::kOne);
  Tensor indices(tensorflow::DT_INT32, {9});
  std::fill_n(static_cast<int32_t*>(indices.data()), 9, 1);
  static_cast<int32_t*>(indices.data())[4] = 2;
  call[Input::kBoxIndices] = indices;
  EXPECT_FALSE(RunOnCpu(call).status.ok());
  const Result result = RunOnGpu(call);
  ASSERT_TRUE(result.status.ok()) << result.status;
  EXPECT_EQ(result.faults, "");
  const std::vector<double> values = Doubles(result.outputs[0]);
  const size_t of_box = values.size() / 9;
  for (size_t i = 0; i < values.size(); ++i) {
    EXPECT_EQ(std::isnan(values[i]), i / of_box == 4) << i;
  }
}

// ---- What these tests would tell

TEST(InterpretedGpuTest, TheHostCannotReadTheDevice) {
  InterpretedGpu gpu;
  const Tensor tensor = gpu.Upload(Floats({4}), "floats");
  const volatile float* const data = static_cast<const float*>(tensor.data());
  EXPECT_EXIT(std::_Exit(static_cast<int>(data[0])),
              testing::KilledBySignal(SIGSEGV), "");
  std::string faults;
  EXPECT_EQ(Doubles(gpu.Download(tensor, &faults)),
            std::vector<double>(4, 1.0));
}

// A forward of the core, of one box on an image of 4 x 4 pixels.
struct SmallCall {
  explicit SmallCall(InterpretedGpu* gpu)
      : features(gpu->Upload(Floats({16}), "features")),
        boxes(gpu->Upload(Floats({4}), "boxes")),
        output(gpu->allocator(), tensorflow::DT_FLOAT, {1}) {}

  // Null: no memory.
  Status Run(void* stream, const void* feature_data) {
    OpParams params;
    params.output_size = {1, 1};
    const FeatureMap<const float> map = {
        static_cast<const float*>(feature_data), 4, 4, 1, 1};
    const Boxes<float> all = {BoxForm::kDense, Data(boxes), 4, 1};
    return RoiAlignForward<float, float>(
        {stream, [](size_t) -> void* { return nullptr; }}, params, {1, 1, 1},
        all, FeatureMaps<const float>(&map, 1), Data(output));
  }
  static float* Data(const Tensor& tensor) {
    return static_cast<float*>(tensor.data());
  }

  Tensor features, boxes, output;
};

TEST(InterpretedGpuTest, RunsWhatIsRight) {
  InterpretedGpu gpu;
  SmallCall call(&gpu);
  EXPECT_TRUE(call.Run(gpu.stream().handle(), call.features.data()).ok());
  EXPECT_EQ(gpu.Run(), "");
  std::string faults;
  EXPECT_EQ(Doubles(gpu.Download(call.output, &faults))[0], 1);
  EXPECT_EQ(faults, "");
}

TEST(InterpretedGpuTest, TellsAnotherStream) {
  InterpretedGpu gpu;
  SmallCall call(&gpu);
  EXPECT_TRUE(call.Run(nullptr, call.features.data()).ok());
  EXPECT_EQ(gpu.Run(), "A launch is not on the device's stream.\n");
}

TEST(InterpretedGpuTest, TellsMemoryOfTheHost) {
  InterpretedGpu gpu;
  SmallCall call(&gpu);
  const Tensor on_host = Floats({16});
  EXPECT_TRUE(call.Run(gpu.stream().handle(), on_host.data()).ok());
  EXPECT_NE(gpu.Run().find("out of bounds"), std::string::npos);
}

// Freed in the order of the stream, before a launch and after it.
TEST(InterpretedGpuTest, TellsMemoryThatWasFreed) {
  InterpretedGpu gpu;
  SmallCall call(&gpu);
  const void* const data = call.features.data();
  EXPECT_TRUE(call.Run(gpu.stream().handle(), data).ok());
  call.features = Tensor();
  EXPECT_EQ(gpu.Run(), "");
  EXPECT_TRUE(call.Run(gpu.stream().handle(), data).ok());
  EXPECT_NE(gpu.Run().find("out of bounds"), std::string::npos);
}

TEST(InterpretedGpuTest, TellsAnOutputThatIsNotWritten) {
  InterpretedGpu gpu;
  const Tensor tensor(gpu.allocator(), tensorflow::DT_FLOAT, {4});
  std::string faults;
  gpu.Download(tensor, &faults);
  EXPECT_EQ(faults, "16 bytes of an output not written\n");
}

}  // namespace
}  // namespace tf_roialign
