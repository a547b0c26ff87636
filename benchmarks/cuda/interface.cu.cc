// The core's kernels, on GPU and on CPU, behind a C function for ctypes.

#include <cstdint>
#include <string>

#include "cc/core/cuda/roi_align_cuda.h"
#include "cc/core/run_op.h"

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

template <typename T, typename B, typename Context>
Status Run(const Call& call, const Context& context) {
  OpParams params;
  params.output_size = {call.pooled_height, call.pooled_width};
  params.spatial_scale = {call.spatial_scale, call.spatial_scale};
  params.sampling_ratio = call.sampling_ratio;
  params.aligned = call.aligned != 0;
  params.data_format = call.nchw ? Layout::kNCHW : Layout::kNHWC;
  Signature signature;
  signature.form = BoxForm::kIndexed;
  signature.columns = 5;
  signature.sizes = {call.batch, call.channels, call.boxes};
  signature.height = call.height;
  signature.width = call.width;
  InputData inputs;
  inputs.Set(Input::kBoxes, call.rows);
  inputs.Set(Input::kFeatures, call.features);
  inputs.Set(Input::kGradOutput, call.grad_output);
  switch (call.op) {
    case 0:
      return RunOp<Op::kForward, T, B>(context, params, signature, inputs,
                                       call.result);
    case 1:
      return RunOp<Op::kFeatureGrad, T, B>(context, params, signature, inputs,
                                           call.result);
    default:
      return RunOp<Op::kBoxGrad, T, B>(context, params, signature, inputs,
                                       call.result);
  }
}

template <typename T, typename Context>
Status RunWithBoxes(const Call& call, const Context& context) {
  return call.boxes_are_double ? Run<T, double>(call, context)
                               : Run<T, float>(call, context);
}

template <typename T>
Status RunAnywhere(const Call& call, bool on_gpu) {
  if (!on_gpu) {
    const ParallelFor threads = Serial;
    return RunWithBoxes<T>(call, CpuContext{threads});
  }
  const CudaContext context = {
      call.stream, [&](size_t bytes) -> void* {
        // From the end, so that a checker sees what goes beyond: a call asks
        // once at most.
        const int64_t size = (int64_t(bytes) + 15) / 16 * 16;
        return size <= call.scratch_bytes
                   ? call.scratch + (call.scratch_bytes - size)
                   : nullptr;
      }};
  return RunWithBoxes<T>(call, context);
}

Status RunWithDtype(const Call& call, bool on_gpu) {
  switch (call.dtype) {
    case 0:
      return RunAnywhere<float>(call, on_gpu);
    case 1:
      return RunAnywhere<double>(call, on_gpu);
    case 2:
      return RunAnywhere<Half>(call, on_gpu);
    default:
      return RunAnywhere<BFloat16>(call, on_gpu);
  }
}

}  // namespace
}  // namespace tf_roialign

// Returns an empty string or what went wrong, until the next call.
extern "C" const char* TfRoialignRun(const tf_roialign::Call* call,
                                     int on_gpu) {
  static std::string problem;
  problem = tf_roialign::RunWithDtype(*call, on_gpu != 0).text();
  return problem.c_str();
}
