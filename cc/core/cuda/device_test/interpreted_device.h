// The kernels as nvcc compiled them, on the PTX interpreter, behind the calls
// that cc/core/cuda/launch has for a Device: a test that is written for those
// runs on it unchanged.
//
// Each call gives the interpreter exactly the memory that it may touch: inputs,
// which nobody may write, outputs, of which every byte has to be written, and
// scratch memory. What the checks find fails the test.

#ifndef TF_ROIALIGN_CC_CORE_CUDA_DEVICE_TEST_INTERPRETED_DEVICE_H_
#define TF_ROIALIGN_CC_CORE_CUDA_DEVICE_TEST_INTERPRETED_DEVICE_H_

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "cc/core/base/status.h"
#include "cc/core/cuda/ptx/device.h"
#include "cc/core/cuda/roi_align_cuda.h"
#include "gtest/gtest.h"

namespace tf_roialign {

// The turns of a block's warps.
enum class ThreadOrder { kAscending, kDescending, kShuffled };

class InterpretedDevice {
 public:
  explicit InterpretedDevice(ThreadOrder order) {
    ptx::TheDevice().options().order =
        order == ThreadOrder::kAscending    ? ptx::Order::kAscending
        : order == ThreadOrder::kDescending ? ptx::Order::kDescending
                                            : ptx::Order::kShuffled;
  }
  ~InterpretedDevice() {
    for (const auto& memory : scratch_) {
      ptx::TheDevice().memory().Remove(memory.get());
    }
  }
  InterpretedDevice(const InterpretedDevice&) = delete;
  InterpretedDevice& operator=(const InterpretedDevice&) = delete;

  void* Allocate(size_t bytes) {
    if (out_of_memory) return nullptr;
    scratch_.emplace_back(std::aligned_alloc(16, (bytes + 15) / 16 * 16),
                          &std::free);
    void* const memory = scratch_.back().get();
    std::memset(memory, 0xcd, bytes);
    ptx::TheDevice().memory().Add(memory, bytes, ptx::Contents::kUndefined,
                                  "scratch memory");
    return memory;
  }

  bool out_of_memory = false;
  int launches = 0;

 private:
  std::vector<std::unique_ptr<void, void (*)(void*)>> scratch_;
};

// The memory of one call.
class CallMemory {
 public:
  CallMemory(InterpretedDevice* device, const Params& params,
             const Sizes& sizes)
      : device_(*device),
        pooled_(sizes.boxes * sizes.channels * params.pooled_height() *
                params.pooled_width()),
        image_(sizes.batch * sizes.channels),
        launches_(ptx::TheDevice().launches()) {
    ptx::TheDevice().faults().Clear();
    context_ = {nullptr,
                [device](size_t bytes) { return device->Allocate(bytes); }};
  }
  ~CallMemory() {
    for (const void* data : inputs_) ptx::TheDevice().memory().Remove(data);
    for (const void* data : outputs_) ptx::TheDevice().memory().Remove(data);
  }
  CallMemory(const CallMemory&) = delete;
  CallMemory& operator=(const CallMemory&) = delete;

  const CudaContext& context() const { return context_; }

  template <typename B>
  void AddBoxes(const Boxes<B>& boxes) {
    AddInput(boxes.rows, boxes.count * boxes.columns * sizeof(B), "boxes");
    AddInput(boxes.box_indices,
             boxes.count * (boxes.indices_are_64_bit ? 8 : 4), "box_indices");
    AddInput(boxes.map_indices,
             boxes.count * (boxes.map_indices_are_64_bit ? 8 : 4), "levels");
    AddInput(boxes.count_on_device, sizeof(*boxes.count_on_device),
             "number of boxes");
  }
  template <typename B>
  void AddDirection(const Boxes<B>& boxes, const B* direction) {
    AddInput(direction, boxes.count * boxes.columns * sizeof(B), "direction");
  }
  template <typename T>
  void AddFeatures(const FeatureMaps<const T>& maps) {
    for (const FeatureMap<const T>& map : maps) {
      AddInput(map.data, image_ * map.pixels() * sizeof(T), "features");
    }
  }
  template <typename T>
  void AddGradOutput(const T* grad_output) {
    AddInput(grad_output, pooled_ * sizeof(T), "grad_output");
  }
  template <typename T>
  void AddOutput(T* output) {
    AddOutput(output, pooled_ * sizeof(T), "output");
  }
  template <typename T>
  void AddGradFeatures(const FeatureMaps<T>& maps) {
    for (const FeatureMap<T>& map : maps) {
      AddOutput(map.data, image_ * map.pixels() * sizeof(T), "grad_features");
    }
  }
  template <typename B>
  void AddGradBoxes(const Boxes<B>& boxes, B* grad_boxes) {
    AddOutput(grad_boxes, boxes.count * boxes.columns * sizeof(B),
              "grad_boxes");
  }

  // After the call, whose status this is.
  Status Check(Status status) {
    ptx::Device& device = ptx::TheDevice();
    device_.launches += static_cast<int>(device.launches() - launches_);
    if (status.ok()) {
      for (const void* data : outputs_) {
        const int64_t bytes = device.memory().UndefinedBytes(data);
        if (bytes == 0) continue;
        device.faults().Add(ptx::FaultKind::kNotWritten, "the call",
                            std::to_string(bytes) + " bytes of an output");
      }
    }
    if (device.faults().count() > 0) {
      ADD_FAILURE() << device.faults().Text();
    }
    return status;
  }

 private:
  void AddInput(const void* data, int64_t bytes, const char* name) {
    if (data == nullptr || bytes <= 0) return;
    ptx::TheDevice().memory().Add(data, bytes, ptx::Contents::kInput, name);
    inputs_.push_back(data);
  }
  void AddOutput(const void* data, int64_t bytes, const char* name) {
    if (data == nullptr || bytes <= 0) return;
    ptx::TheDevice().memory().Add(data, bytes, ptx::Contents::kUndefined, name);
    outputs_.push_back(data);
  }

  InterpretedDevice& device_;
  int64_t pooled_;  // elements
  int64_t image_;   // elements of a map, per pixel
  uint64_t launches_;
  CudaContext context_;
  std::vector<const void*> inputs_, outputs_;
};

// As in cc/core/cuda/launch.
namespace cuda {

template <typename T, typename B>
Status Forward(InterpretedDevice& device, const Params& params,
               const Sizes& sizes, const Boxes<B>& boxes,
               const FeatureMaps<const T>& features, T* output) {
  CallMemory memory(&device, params, sizes);
  memory.AddBoxes(boxes);
  memory.AddFeatures(features);
  memory.AddOutput(output);
  return memory.Check(RoiAlignForward(memory.context(), params, sizes, boxes,
                                      features, output));
}

template <typename T, typename B>
Status FeatureGrad(InterpretedDevice& device, const Params& params,
                   const Sizes& sizes, const Boxes<B>& boxes,
                   const T* grad_output, const FeatureMaps<T>& grad_features) {
  CallMemory memory(&device, params, sizes);
  memory.AddBoxes(boxes);
  memory.AddGradOutput(grad_output);
  memory.AddGradFeatures(grad_features);
  return memory.Check(RoiAlignFeatureGrad(memory.context(), params, sizes,
                                          boxes, grad_output, grad_features));
}

template <typename T, typename B>
Status MaxFeatureGrad(InterpretedDevice& device, const Params& params,
                      const Sizes& sizes, const Boxes<B>& boxes,
                      const FeatureMaps<const T>& features,
                      const T* grad_output,
                      const FeatureMaps<T>& grad_features) {
  CallMemory memory(&device, params, sizes);
  memory.AddBoxes(boxes);
  memory.AddFeatures(features);
  memory.AddGradOutput(grad_output);
  memory.AddGradFeatures(grad_features);
  return memory.Check(RoiAlignMaxFeatureGrad(memory.context(), params, sizes,
                                             boxes, features, grad_output,
                                             grad_features));
}

template <typename T, typename B>
Status BoxGrad(InterpretedDevice& device, const Params& params,
               const Sizes& sizes, const Boxes<B>& boxes,
               const FeatureMaps<const T>& features, const T* grad_output,
               B* grad_boxes) {
  CallMemory memory(&device, params, sizes);
  memory.AddBoxes(boxes);
  memory.AddFeatures(features);
  memory.AddGradOutput(grad_output);
  memory.AddGradBoxes(boxes, grad_boxes);
  return memory.Check(RoiAlignBoxGrad(memory.context(), params, sizes, boxes,
                                      features, grad_output, grad_boxes));
}

template <typename T, typename B>
Status BoxTangent(InterpretedDevice& device, const Params& params,
                  const Sizes& sizes, const Boxes<B>& boxes, const B* direction,
                  const FeatureMaps<const T>& features, T* output) {
  CallMemory memory(&device, params, sizes);
  memory.AddBoxes(boxes);
  memory.AddDirection(boxes, direction);
  memory.AddFeatures(features);
  memory.AddOutput(output);
  return memory.Check(RoiAlignBoxTangent(memory.context(), params, sizes, boxes,
                                         direction, features, output));
}

template <typename T, typename B>
Status BoxTangentGrad(InterpretedDevice& device, const Params& params,
                      const Sizes& sizes, const Boxes<B>& boxes,
                      const B* direction, const T* grad_output,
                      const FeatureMaps<T>& grad_features) {
  CallMemory memory(&device, params, sizes);
  memory.AddBoxes(boxes);
  memory.AddDirection(boxes, direction);
  memory.AddGradOutput(grad_output);
  memory.AddGradFeatures(grad_features);
  return memory.Check(RoiAlignBoxTangentGrad(memory.context(), params, sizes,
                                             boxes, direction, grad_output,
                                             grad_features));
}

template <typename T, typename B>
Status ForwardQuantized(InterpretedDevice& device, const Params& params,
                        const Sizes& sizes, const Boxes<B>& boxes, float scale,
                        int32_t zero_point,
                        const FeatureMaps<const T>& features, T* output) {
  CallMemory memory(&device, params, sizes);
  memory.AddBoxes(boxes);
  memory.AddFeatures(features);
  memory.AddOutput(output);
  return memory.Check(RoiAlignForwardQuantized(memory.context(), params, sizes,
                                               boxes, scale, zero_point,
                                               features, output));
}

}  // namespace cuda
}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CUDA_DEVICE_TEST_INTERPRETED_DEVICE_H_
