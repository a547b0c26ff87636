#include "cc/kernels/device_test/op_call.h"

#include <algorithm>
#include <cstdint>
#include <random>
#include <utility>

#include "gtest/gtest.h"
#include "tensorflow/core/framework/node_def_builder.h"
#include "tensorflow/core/platform/env.h"
#include "tensorflow/core/platform/threadpool.h"
#include "tensorflow/core/public/version.h"

namespace tf_roialign {

namespace {

using tensorflow::DataType;
using tensorflow::NodeDefBuilder;
using tensorflow::OpKernel;
using tensorflow::OpKernelContext;
using tensorflow::Tensor;
using tensorflow::TensorShape;

using Random = std::mt19937;

constexpr int64_t kPooled[] = {3, 2};
constexpr int64_t kMapSizes[][2] = {{9, 13}, {6, 7}};
constexpr double kScales[][2] = {{1, 1}, {0.5, 0.5}};

template <typename T>
void Fill(Tensor* tensor, double from, double to, Random* random) {
  std::uniform_real_distribution<double> any(from, to);
  T* const data = static_cast<T*>(tensor->data());
  for (int64_t i = 0; i < tensor->NumElements(); ++i) {
    data[i] = T(static_cast<float>(any(*random)));
  }
}

// Numbers, or codes: all of 8 bits, and as many of 32.
Tensor Features(DataType dtype, const TensorShape& shape, Random* random) {
  Tensor tensor(dtype, shape);
  switch (dtype) {
    case tensorflow::DT_HALF:
      Fill<Eigen::half>(&tensor, -1, 1, random);
      break;
    case tensorflow::DT_BFLOAT16:
      Fill<Eigen::bfloat16>(&tensor, -1, 1, random);
      break;
    case tensorflow::DT_FLOAT:
      Fill<float>(&tensor, -1, 1, random);
      break;
    case tensorflow::DT_DOUBLE:
      Fill<double>(&tensor, -1, 1, random);
      break;
    case tensorflow::DT_UINT8:
    case tensorflow::DT_QUINT8:
      Fill<uint8_t>(&tensor, 0, 255, random);
      break;
    case tensorflow::DT_INT8:
    case tensorflow::DT_QINT8:
      Fill<int8_t>(&tensor, -128, 127, random);
      break;
    default:
      Fill<int32_t>(&tensor, -128, 127, random);
  }
  return tensor;
}

template <typename B>
Tensor Rows(const CallOptions& options, bool direction, Random* random) {
  const int64_t columns = options.indices_in_rows ? 5 : 4;
  Tensor tensor(tensorflow::DataTypeToEnum<B>::value,
                TensorShape({options.count, columns}));
  std::uniform_real_distribution<double> unit(0, 1);
  B* row = static_cast<B*>(tensor.data());
  for (int64_t k = 0; k < options.count; ++k) {
    const double x = unit(*random) * 14 - 3, y = unit(*random) * 10 - 2;
    const double side = k % 3 == 0 ? 300 : k % 3 == 1 ? 2 : 9;
    if (options.indices_in_rows) *row++ = static_cast<B>(k % options.batch);
    for (const double number :
         {x, y, x + unit(*random) * side, y + unit(*random) * side}) {
      *row++ = static_cast<B>(direction ? unit(*random) - 0.5 : number);
    }
  }
  return tensor;
}

template <typename Number>
Tensor Values(const std::vector<Number>& values, const TensorShape& shape) {
  Tensor tensor(tensorflow::DataTypeToEnum<Number>::value, shape);
  std::copy(values.begin(), values.end(), static_cast<Number*>(tensor.data()));
  return tensor;
}

// k % count for each box.
Tensor Indices(int64_t boxes, int64_t count) {
  std::vector<int32_t> values(boxes);
  for (int64_t k = 0; k < boxes; ++k) {
    values[k] = static_cast<int32_t>(k % std::max<int64_t>(count, 1));
  }
  return Values(values, {boxes});
}

Tensor MakeInput(const OpInfo& info, Input input, int map,
                 const CallOptions& options, Random* random) {
  const auto shape_of = [&](int64_t n, const int64_t* pixels) {
    return options.nchw
               ? TensorShape({n, options.channels, pixels[0], pixels[1]})
               : TensorShape({n, pixels[0], pixels[1], options.channels});
  };
  const auto rows = [&](bool direction) {
    return options.boxes == tensorflow::DT_FLOAT
               ? Rows<float>(options, direction, random)
               : Rows<double>(options, direction, random);
  };
  switch (input) {
    case Input::kFeatures:
      return Features(options.features, shape_of(options.batch, kMapSizes[map]),
                      random);
    case Input::kGradOutput:
      return Features(options.features, shape_of(options.count, kPooled),
                      random);
    case Input::kBoxes:
      return rows(false);
    case Input::kDirection:
      return rows(true);
    case Input::kBoxIndices:
      return Indices(options.indices_in_rows ? 0 : options.count,
                     options.batch);
    case Input::kLevels:
      return Indices(options.levels_by_rule ? 0 : options.count, 2);
    case Input::kSpatialScales:
      return Values<double>(
          {kScales[0][0], kScales[0][1], kScales[1][0], kScales[1][1]}, {2, 2});
    case Input::kFeaturesShape: {
      const TensorShape shape = shape_of(options.batch, kMapSizes[map]);
      std::vector<int32_t> sizes;
      for (const auto size : shape) sizes.push_back(size.size);
      return Values(sizes, {4});
    }
    case Input::kScale:
      return Values<float>({0.5f}, {});
    case Input::kZeroPoint:
      return Values<int32_t>({3}, {});
  }
  return {};
}

// A CPU with two threads.
class Cpu : public tensorflow::DeviceBase {
 public:
  Cpu()
      : DeviceBase(tensorflow::Env::Default()),
        pool_(tensorflow::Env::Default(), "test", 2),
        threads_{2, &pool_} {
    set_tensorflow_cpu_worker_threads(&threads_);
    attributes_.set_name("/job:localhost/replica:0/task:0/device:CPU:0");
    attributes_.set_device_type(tensorflow::DEVICE_CPU);
  }
  tensorflow::Allocator* GetAllocator(
      tensorflow::AllocatorAttributes) override {
    return tensorflow::cpu_allocator();
  }
  const tensorflow::DeviceAttributes& attributes() const override {
    return attributes_;
  }
  const std::string& name() const override { return attributes_.name(); }
  const std::string& device_type() const override {
    return attributes_.device_type();
  }

 private:
  tensorflow::thread::ThreadPool pool_;
  CpuWorkerThreads threads_;
  tensorflow::DeviceAttributes attributes_;
};

// Runs a kernel as TensorFlow's executor does. `inputs`: each in the memory
// that the kernel wants it in; gone when this returns, as there.
absl::Status Compute(OpKernel* kernel, tensorflow::DeviceBase* device,
                     tensorflow::DeviceContext* device_context,
                     std::vector<Tensor> inputs, std::vector<Tensor>* outputs) {
  std::vector<tensorflow::TensorValue> values;
  for (Tensor& input : inputs) values.emplace_back(&input);
  std::vector<tensorflow::AllocatorAttributes> attributes(
      kernel->num_outputs());
  for (int i = 0; i < kernel->num_outputs(); ++i) {
    attributes[i].set_on_host(kernel->output_memory_types()[i] ==
                              tensorflow::HOST_MEMORY);
  }
  OpKernelContext::Params params;
  params.device = device;
  params.op_kernel = kernel;
  params.op_device_context = device_context;
  params.inputs = values;
  params.output_attr_array = attributes.data();
  OpKernelContext context(&params);
  kernel->Compute(&context);
  for (int i = 0; i < context.num_outputs(); ++i) {
    const tensorflow::TensorValue output = context.release_output(i);
    if (output.tensor != nullptr) outputs->push_back(*output.tensor);
    delete output.tensor;
  }
  return context.status();
}

}  // namespace

Tensor& OpCall::operator[](Input input) {
  int at = 0;
  for (int i = 0; info.inputs[i] != input; ++i) {
    at += info.IsList(info.inputs[i]) ? map_count : 1;
  }
  return inputs[at];
}

void MakeNode(const std::string& data_format, OpCall* call) {
  NodeDefBuilder builder("node", call->info.name);
  size_t at = 0;
  for (int i = 0; i < call->info.input_count; ++i) {
    const bool is_list = call->info.IsList(call->info.inputs[i]);
    std::vector<NodeDefBuilder::NodeOut> nodes;
    for (int m = 0; m < (is_list ? call->map_count : 1); ++m, ++at) {
      nodes.emplace_back("input" + std::to_string(at), 0,
                         call->inputs[at].dtype());
    }
    is_list ? builder.Input(nodes) : builder.Input(nodes[0]);
  }
  builder.Attr("output_size", std::vector<int64_t>{kPooled[0], kPooled[1]});
  builder.Attr("data_format", data_format);
  if (call->info.op == Op::kMaxFeatureGrad) builder.Attr("mode", "max");
  const absl::Status status = builder.Finalize(&call->node);
  EXPECT_TRUE(status.ok()) << status;
}

OpCall RandomCall(Op op, Maps maps, const CallOptions& options) {
  Random random(options.seed);
  OpCall call;
  call.info = InfoOf(op, maps);
  call.map_count = maps == Maps::kMany ? 2 : 1;
  for (int i = 0; i < call.info.input_count; ++i) {
    const Input input = call.info.inputs[i];
    const int count = call.info.IsList(input) ? call.map_count : 1;
    for (int m = 0; m < count; ++m) {
      call.inputs.push_back(MakeInput(call.info, input, m, options, &random));
    }
  }
  MakeNode(options.nchw ? "NCHW" : "NHWC", &call);
  return call;
}

std::unique_ptr<OpKernel> MakeKernel(const OpCall& call,
                                     tensorflow::DeviceBase* device) {
  absl::Status status;
  std::unique_ptr<OpKernel> kernel = tensorflow::CreateOpKernel(
      tensorflow::DeviceType(device->device_type()), device,
      device->GetAllocator({}), call.node, TF_GRAPH_DEF_VERSION, &status);
  EXPECT_TRUE(status.ok()) << status;
  return kernel;
}

Result RunOnCpu(const OpCall& call) {
  Cpu cpu;
  Result result;
  const std::unique_ptr<OpKernel> kernel = MakeKernel(call, &cpu);
  if (kernel == nullptr) return result;
  result.status =
      Compute(kernel.get(), &cpu, nullptr, call.inputs, &result.outputs);
  return result;
}

Result RunOnGpu(const OpCall& call, int64_t allocations_left) {
  InterpretedGpu gpu;
  Result result;
  const std::unique_ptr<OpKernel> kernel = MakeKernel(call, &gpu);
  if (kernel == nullptr) return result;
  std::vector<Tensor> inputs;
  for (size_t i = 0; i < call.inputs.size(); ++i) {
    const bool on_host =
        kernel->input_memory_types()[i] == tensorflow::HOST_MEMORY;
    inputs.push_back(on_host ? call.inputs[i]
                             : gpu.Upload(call.inputs[i], "an input"));
  }
  const int64_t allocations = gpu.allocations(), launches = gpu.launches();
  gpu.set_allocations_left(allocations_left);
  std::vector<Tensor> outputs;
  result.status =
      Compute(kernel.get(), &gpu, gpu.context(), std::move(inputs), &outputs);
  result.allocations = gpu.allocations() - allocations;
  result.faults = gpu.Run();
  result.launches = gpu.launches() - launches;
  for (const Tensor& output : outputs) {
    result.outputs.push_back(
        result.status.ok() ? gpu.Download(output, &result.faults) : Tensor());
  }
  return result;
}

}  // namespace tf_roialign
