// The core's kernels, on GPU and on CPU, behind a C function for ctypes.

#include <cstdint>
#include <string>

#include "cc/core/cuda/roi_align_cuda.h"
#include "cc/core/run_op.h"

namespace tf_roialign {
namespace {

// Mirrored in library.py.
struct Call {
  // 0: forward, 1: gradient to features, 2: to boxes, 3: box tangent, 4: its
  // gradient to features, 5: forward of codes
  int64_t op;
  // 0: float32, 1: float64, 2: float16, 3: bfloat16; 4: int8, 5: uint8, 6:
  // int32
  int64_t dtype;
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
  const void* direction;  // [boxes, 5]
  double code_scale;
  int64_t zero_point;
  void* result;
  void* stream;
  char* scratch;
  int64_t scratch_bytes;
};

template <Op kOp, typename T, typename B, typename Context>
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
  signature.map_count = 1;
  signature.maps[0] = {call.height, call.width};
  const float code_scale = static_cast<float>(call.code_scale);
  const int32_t zero_point = static_cast<int32_t>(call.zero_point);
  InputData inputs;
  inputs.Set(Input::kBoxes, call.rows);
  inputs.Set(Input::kFeatures, call.features);
  inputs.SetFeatures(0, call.features);
  inputs.Set(Input::kGradOutput, call.grad_output);
  inputs.Set(Input::kDirection, call.direction);
  inputs.Set(Input::kScale, &code_scale);
  inputs.Set(Input::kZeroPoint, &zero_point);
  OutputData outputs;
  outputs.data[0] = call.result;
  return RunOp<kOp, T, B>(context, params, signature, inputs, outputs);
}

template <Op kOp, typename T, typename Context>
Status RunWithBoxes(const Call& call, const Context& context) {
  return call.boxes_are_double ? Run<kOp, T, double>(call, context)
                               : Run<kOp, T, float>(call, context);
}

template <Op kOp, typename T>
Status RunAnywhere(const Call& call, bool on_gpu) {
  if (!on_gpu) {
    const ParallelFor threads = Serial;
    return RunWithBoxes<kOp, T>(call, CpuContext{threads});
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
  return RunWithBoxes<kOp, T>(call, context);
}

template <typename T>
Status RunFloatOp(const Call& call, bool on_gpu) {
  switch (call.op) {
    case 0:
      return RunAnywhere<Op::kForward, T>(call, on_gpu);
    case 1:
      return RunAnywhere<Op::kFeatureGrad, T>(call, on_gpu);
    case 2:
      return RunAnywhere<Op::kBoxGrad, T>(call, on_gpu);
    case 3:
      return RunAnywhere<Op::kBoxTangent, T>(call, on_gpu);
    default:
      return RunAnywhere<Op::kBoxTangentGrad, T>(call, on_gpu);
  }
}

Status RunWithDtype(const Call& call, bool on_gpu) {
  switch (call.dtype) {
    case 0:
      return RunFloatOp<float>(call, on_gpu);
    case 1:
      return RunFloatOp<double>(call, on_gpu);
    case 2:
      return RunFloatOp<Half>(call, on_gpu);
    case 3:
      return RunFloatOp<BFloat16>(call, on_gpu);
    case 4:
      return RunAnywhere<Op::kForwardQuantized, int8_t>(call, on_gpu);
    case 5:
      return RunAnywhere<Op::kForwardQuantized, uint8_t>(call, on_gpu);
    default:
      return RunAnywhere<Op::kForwardQuantized, int32_t>(call, on_gpu);
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
