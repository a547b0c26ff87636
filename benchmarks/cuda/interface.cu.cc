// The core's kernels, on GPU and on CPU, behind two C functions for ctypes.

#include <cstdint>
#include <string>
#include <vector>

#include "cc/core/cpu/roi_align_cpu.h"
#include "cc/core/cuda/roi_align_cuda.h"

namespace tf_roialign {
namespace {

// Mirrored in library.py.
struct Call {
  int64_t op;     // 0: forward, 1: gradient to features, 2: to boxes
  int64_t dtype;  // 0: float32, 1: float64, 2: float16, 3: bfloat16
  int64_t boxes_are_double;
  int64_t pooled_height;
  int64_t pooled_width;
  double spatial_scale;
  int64_t sampling_ratio;
  int64_t aligned;
  int64_t nchw;
  int64_t batch;
  int64_t height;
  int64_t width;
  int64_t channels;
  int64_t boxes;
  const void* rows;  // [boxes, 5]
  const void* features;
  const void* grad_output;
  void* result;
  void* stream;
  char* scratch;
  int64_t scratch_bytes;
};

template <typename T, typename B>
std::string RunOnGpu(const Call& call, const Params& params,
                     const Sizes& sizes) {
  const CudaContext context = {
      call.stream, [&](size_t bytes) -> void* {
        // From the end, so that a checker sees what goes beyond: a call asks
        // once at most.
        const int64_t size = (int64_t(bytes) + 15) / 16 * 16;
        return size <= call.scratch_bytes
                   ? call.scratch + (call.scratch_bytes - size)
                   : nullptr;
      }};
  const CudaBoxes<B> boxes = {BoxForm::kIndexed,
                              static_cast<const B*>(call.rows),
                              5,
                              call.boxes,
                              nullptr,
                              false};
  const T* features = static_cast<const T*>(call.features);
  const T* grad_output = static_cast<const T*>(call.grad_output);
  switch (call.op) {
    case 0:
      return RoiAlignForwardCuda(context, params, sizes, boxes, features,
                                 static_cast<T*>(call.result));
    case 1:
      return RoiAlignFeatureGradCuda(context, params, sizes, boxes, grad_output,
                                     static_cast<T*>(call.result));
    default:
      return RoiAlignBoxGradCuda(context, params, sizes, boxes, features,
                                 grad_output, static_cast<B*>(call.result));
  }
}

template <typename T, typename B>
std::string RunOnCpu(const Call& call, const Params& params,
                     const Sizes& sizes) {
  std::vector<int64_t> image(call.boxes);
  const B* rows = static_cast<const B*>(call.rows);
  const int32_t* none = nullptr;
  if (ResolveImages(BoxForm::kIndexed, rows, call.boxes, none, call.batch,
                    image.data()) >= 0) {
    return "an image index is not in range";
  }
  const BoxTable<B> boxes = {rows, 5, call.boxes, image.data()};
  const T* features = static_cast<const T*>(call.features);
  const T* grad_output = static_cast<const T*>(call.grad_output);
  switch (call.op) {
    case 0:
      RoiAlignForward({Serial}, params, sizes, boxes, features,
                      static_cast<T*>(call.result));
      break;
    case 1:
      RoiAlignFeatureGrad({Serial}, params, sizes, boxes, grad_output,
                          static_cast<T*>(call.result));
      break;
    default:
      RoiAlignBoxGrad({Serial}, params, sizes, boxes, features, grad_output,
                      static_cast<B*>(call.result));
  }
  return "";
}

template <typename T>
std::string Run(const Call& call, bool on_gpu) {
  const Params params = {
      call.pooled_height, call.pooled_width,
      call.spatial_scale, call.sampling_ratio,
      call.aligned != 0,  call.nchw ? Layout::kNCHW : Layout::kNHWC};
  const Sizes sizes = {call.batch, call.height, call.width, call.channels,
                       call.boxes};
  if (on_gpu) {
    return call.boxes_are_double ? RunOnGpu<T, double>(call, params, sizes)
                                 : RunOnGpu<T, float>(call, params, sizes);
  }
  return call.boxes_are_double ? RunOnCpu<T, double>(call, params, sizes)
                               : RunOnCpu<T, float>(call, params, sizes);
}

}  // namespace
}  // namespace tf_roialign

// Returns an empty string or what went wrong, until the next call.
extern "C" const char* TfRoialignRun(const tf_roialign::Call* call,
                                     int on_gpu) {
  static std::string problem;
  switch (call->dtype) {
    case 0:
      problem = tf_roialign::Run<float>(*call, on_gpu != 0);
      break;
    case 1:
      problem = tf_roialign::Run<double>(*call, on_gpu != 0);
      break;
    case 2:
      problem = tf_roialign::Run<tf_roialign::Half>(*call, on_gpu != 0);
      break;
    default:
      problem = tf_roialign::Run<tf_roialign::BFloat16>(*call, on_gpu != 0);
  }
  return problem.c_str();
}
