#include "cc/kernels/device_test/interpreted_gpu.h"

#include <cstring>
#include <functional>
#include <utility>

#include "cc/core/cuda/ptx/device.h"
#include "cc/core/cuda/ptx/fake_runtime.h"
#include "tensorflow/core/framework/types.h"
#include "tensorflow/core/platform/env.h"

namespace tf_roialign {

using tensorflow::Tensor;

InterpretedGpu::InterpretedGpu()
    : DeviceBase(tensorflow::Env::Default()),
      allocator_(this),
      context_(new Context(this)) {
  attributes_.set_name("/job:localhost/replica:0/task:0/device:GPU:0");
  attributes_.set_device_type(tensorflow::DEVICE_GPU);
  ptx::TheDevice().faults().Clear();
  ptx::SetScheduler([this](void* stream, std::function<int()> launch) {
    if (stream != stream_.handle()) {
      launch_problems_ += "A launch is not on the device's stream.\n";
    }
    stream_.Enqueue(std::move(launch));
    return 0;
  });
}

InterpretedGpu::~InterpretedGpu() {
  Run();
  EXPECT_EQ(live_pieces(), 0u);
  ptx::SetScheduler(nullptr);
  context_->Unref();
}

std::string InterpretedGpu::Run() {
  arena_.SetOpen(true);
  const int error = stream_.RunAll();
  arena_.SetOpen(false);
  std::string problems = std::exchange(launch_problems_, "");
  if (error != 0) problems += "cudaError " + std::to_string(error) + "\n";
  ptx::Faults& faults = ptx::TheDevice().faults();
  if (faults.count() > 0) problems += faults.Text();
  faults.Clear();
  return problems;
}

Tensor InterpretedGpu::Upload(const Tensor& host, const char* name) {
  Tensor tensor(&allocator_, host.dtype(), host.shape());
  if (host.TotalBytes() > 0) {
    arena_.SetOpen(true);
    arena_.MakeInput(tensor.data(), host.data(), name);
    arena_.SetOpen(false);
  }
  return tensor;
}

Tensor InterpretedGpu::Download(const Tensor& tensor, std::string* faults) {
  Tensor host(tensor.dtype(), tensor.shape());
  if (tensor.TotalBytes() == 0) return host;
  const int64_t missing =
      ptx::TheDevice().memory().UndefinedBytes(tensor.data());
  if (missing > 0) {
    *faults += std::to_string(missing) + " bytes of an output not written\n";
  }
  arena_.SetOpen(true);
  std::memcpy(host.data(), tensor.data(), tensor.TotalBytes());
  arena_.SetOpen(false);
  return host;
}

int64_t InterpretedGpu::launches() const {
  return static_cast<int64_t>(ptx::TheDevice().launches());
}

tensorflow::Allocator* InterpretedGpu::GetAllocator(
    tensorflow::AllocatorAttributes attributes) {
  return attributes.on_host() ? tensorflow::cpu_allocator() : allocator();
}

void* InterpretedGpu::DeviceAllocator::AllocateRaw(size_t, size_t bytes) {
  if (left == 0) return nullptr;
  if (left > 0) --left;
  ++count;
  return gpu_.arena_.Allocate(bytes);
}

void InterpretedGpu::DeviceAllocator::DeallocateRaw(void* data) {
  gpu_.stream_.Enqueue([arena = &gpu_.arena_, data] {
    arena->Free(data);
    return 0;
  });
}

}  // namespace tf_roialign
