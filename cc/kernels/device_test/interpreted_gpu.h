// A GPU for TensorFlow's kernels that is the PTX interpreter of
// cc/core/cuda/ptx: device, allocator, context and stream.
//
// Nothing runs before Run(): launches wait in the stream, and so does what is
// freed, as TensorFlow's allocator gives memory to later work of the stream
// only. Until then the host cannot touch the device's memory: a kernel whose
// host code reads values on the device ends the program.

#ifndef TF_ROIALIGN_CC_KERNELS_DEVICE_TEST_INTERPRETED_GPU_H_
#define TF_ROIALIGN_CC_KERNELS_DEVICE_TEST_INTERPRETED_GPU_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "cc/kernels/device_test/device_arena.h"
#include "cc/kernels/device_test/interpreted_stream.h"
#include "tensorflow/core/framework/allocator.h"
#include "tensorflow/core/framework/device_attributes.pb.h"
#include "tensorflow/core/framework/device_base.h"
#include "tensorflow/core/framework/tensor.h"

namespace tf_roialign {

// One at a time.
class InterpretedGpu : public tensorflow::DeviceBase {
 public:
  InterpretedGpu();
  ~InterpretedGpu() override;

  // Runs what was queued. Returns all that is wrong about it; "": nothing.
  std::string Run();

  tensorflow::Tensor Upload(const tensorflow::Tensor& host, const char* name);
  // Adds to `faults` if not all was written.
  tensorflow::Tensor Download(const tensorflow::Tensor& tensor,
                              std::string* faults);

  // The allocation after this many others fails, and all that follow. -1: none.
  void set_allocations_left(int64_t count) { allocator_.left = count; }
  // Successful ones so far, those of Upload too.
  int64_t allocations() const { return allocator_.count; }
  // Launches that have run so far.
  int64_t launches() const;
  size_t live_pieces() const { return arena_.pieces(); }

  InterpretedStream& stream() { return stream_; }
  DeviceArena& arena() { return arena_; }
  tensorflow::DeviceContext* context() { return context_; }
  tensorflow::Allocator* allocator() { return &allocator_; }

  // ---- DeviceBase

  tensorflow::Allocator* GetAllocator(
      tensorflow::AllocatorAttributes attributes) override;
  const tensorflow::DeviceAttributes& attributes() const override {
    return attributes_;
  }
  const std::string& name() const override { return attributes_.name(); }
  const std::string& device_type() const override {
    return attributes_.device_type();
  }

 private:
  class DeviceAllocator : public tensorflow::Allocator {
   public:
    explicit DeviceAllocator(InterpretedGpu* gpu) : gpu_(*gpu) {}

    std::string Name() override { return "interpreted"; }
    void* AllocateRaw(size_t alignment, size_t bytes) override;
    void DeallocateRaw(void* data) override;
    tensorflow::AllocatorMemoryType GetMemoryType() const override {
      return tensorflow::AllocatorMemoryType::kDevice;
    }

    int64_t left = -1;
    int64_t count = 0;

   private:
    InterpretedGpu& gpu_;
  };

  class Context : public tensorflow::DeviceContext {
   public:
    explicit Context(InterpretedGpu* gpu) : gpu_(*gpu) {}
    stream_executor::Stream* stream() const override { return &gpu_.stream_; }

   private:
    InterpretedGpu& gpu_;
  };

  DeviceArena arena_;
  InterpretedStream stream_;
  DeviceAllocator allocator_;
  Context* const context_;  // counts its references
  tensorflow::DeviceAttributes attributes_;
  std::string launch_problems_;
};

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_KERNELS_DEVICE_TEST_INTERPRETED_GPU_H_
