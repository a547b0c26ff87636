// A stream whose work waits until it is run, as where the GPU is far behind the
// host. All that kernels of this library may ask of it is what CUDA calls it.

#ifndef TF_ROIALIGN_CC_KERNELS_DEVICE_TEST_INTERPRETED_STREAM_H_
#define TF_ROIALIGN_CC_KERNELS_DEVICE_TEST_INTERPRETED_STREAM_H_

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gtest/gtest.h"
#include "xla/stream_executor/stream.h"

namespace tf_roialign {

class InterpretedStream : public stream_executor::Stream {
 public:
  // What CUDA knows it by.
  void* handle() { return &work_; }

  // Each returns a number of cudaError_t.
  void Enqueue(std::function<int()> work) { work_.push_back(std::move(work)); }

  // Runs all that was queued, in order. Returns the first error.
  int RunAll() {
    int error = 0;
    for (const std::function<int()>& work : std::exchange(work_, {})) {
      const int result = work();
      if (error == 0) error = result;
    }
    return error;
  }

  PlatformSpecificHandle platform_specific_handle() const override {
    return {const_cast<InterpretedStream*>(this)->handle()};
  }

  // ---- What nobody should ask for: it waits, copies or calls the host.

  bool ok() const override {
    Unexpected();
    return false;
  }
  absl::StatusOr<Stream*> GetOrCreateSubStream() override {
    return Unexpected();
  }
  void ReturnSubStream(Stream*) override { (void)Unexpected(); }
  absl::Status WaitFor(Stream*) override { return Unexpected(); }
  absl::Status WaitFor(stream_executor::Event*) override {
    return Unexpected();
  }
  absl::Status RecordEvent(stream_executor::Event*) override {
    return Unexpected();
  }
  absl::Status Memcpy(void*, const stream_executor::DeviceAddressBase&,
                      uint64_t) override {
    return Unexpected();
  }
  absl::Status Memcpy(stream_executor::DeviceAddressBase*, const void*,
                      uint64_t) override {
    return Unexpected();
  }
  absl::Status BlockHostUntilDone() override { return Unexpected(); }
  absl::Status DoHostCallbackWithStatus(
      absl::AnyInvocable<absl::Status() &&>) override {
    return Unexpected();
  }
  stream_executor::StreamExecutor* parent() const override {
    Unexpected();
    return nullptr;
  }
  stream_executor::CudaComputeCapability GetCudaComputeCapability()
      const override {
    Unexpected();
    return {};
  }
  stream_executor::RocmComputeCapability GetRocmComputeCapability()
      const override {
    Unexpected();
    return {};
  }
  stream_executor::OneAPIComputeCapability GetOneAPIComputeCapability()
      const override {
    Unexpected();
    return {};
  }
  std::variant<stream_executor::StreamPriority, int> priority() const override {
    Unexpected();
    return 0;
  }
  const std::string& GetName() const override { return name_; }
  void SetName(std::string name) override { name_ = std::move(name); }

 private:
  absl::Status Unexpected() const {
    ADD_FAILURE() << "A kernel asks more of its stream than its handle.";
    return absl::UnimplementedError("InterpretedStream");
  }

  std::vector<std::function<int()>> work_;
  std::string name_ = "interpreted";
};

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_KERNELS_DEVICE_TEST_INTERPRETED_STREAM_H_
