// Calls of any op with random inputs, run as hosts run them (run_op.h), for
// tests of what holds for all ops.

#ifndef TF_ROIALIGN_CC_CORE_TESTING_OP_CALL_H_
#define TF_ROIALIGN_CC_CORE_TESTING_OP_CALL_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "cc/core/base/status.h"
#include "cc/core/call/attributes.h"
#include "cc/core/call/op.h"
#include "cc/core/call/params.h"
#include "cc/core/call/shape.h"
#include "cc/core/call/signature.h"
#include "cc/core/cpu/context.h"
#include "cc/core/dtypes/quantization.h"
#include "cc/core/run_op.h"
#include "cc/core/testing/cpu_call.h"
#include "cc/core/testing/expect.h"

namespace tf_roialign {

constexpr Op kAllOps[] = {
#define TF_ROIALIGN_NAME(op) Op::op,
    TF_ROIALIGN_FOR_EACH_FLOAT_OP(TF_ROIALIGN_NAME)
        TF_ROIALIGN_FOR_EACH_CODE_OP(TF_ROIALIGN_NAME)
#undef TF_ROIALIGN_NAME
};

// Which call it is.
struct OpCase {
  Op op;
  Maps maps;
  Layout layout;
  Mode mode;

  std::string name() const {
    return std::string(InfoOf(op, maps).name) +
           (layout == Layout::kNHWC ? " NHWC" : " NCHW") +
           (mode == Mode::kAvg ? " avg" : " max");
  }
};

// All that there are.
inline std::vector<OpCase> AllOpCases() {
  std::vector<OpCase> cases;
  for (const Op op : kAllOps) {
    for (const Mode mode : {Mode::kAvg, Mode::kMax}) {
      if (!Has(op, mode)) continue;
      for (const Maps maps : {Maps::kOne, Maps::kMany}) {
        for (const Layout layout : {Layout::kNHWC, Layout::kNCHW}) {
          cases.push_back({op, maps, layout, mode});
        }
      }
    }
  }
  return cases;
}

// How large it is. Ops on one map read the first.
struct OpSizes {
  Sizes sizes = {2, 37, 12};
  std::vector<MapSize> maps = {{18, 26, 1, 0.9}, {9, 13, 0.5, 0.45}};
  OutputSize output_size = {3, 4};
  int64_t sampling_ratio = 2;
};

// Of each output, as bytes.
using OutputBytes = std::vector<std::vector<char>>;

class AnyOpCall {
 public:
  virtual ~AnyOpCall() = default;

  // Into memory for output_bytes() bytes each. Allocates nothing itself.
  virtual Status Run(const CpuContext& context,
                     const std::vector<void*>& outputs) const = 0;

  const OpCase& which() const { return which_; }
  const OpParams& params() const { return params_; }
  const Signature& signature() const { return signature_; }
  const std::vector<size_t>& output_bytes() const { return output_bytes_; }

  // Outputs that are not zero before: every element has to be written.
  OutputBytes MakeOutputs() const {
    OutputBytes outputs;
    for (const size_t bytes : output_bytes_) outputs.emplace_back(bytes, 77);
    return outputs;
  }
  static std::vector<void*> PointersTo(OutputBytes* outputs) {
    std::vector<void*> pointers;
    for (std::vector<char>& output : *outputs) {
      pointers.push_back(output.data());
    }
    return pointers;
  }

  // What it gives on the calling thread.
  OutputBytes Alone() const {
    OutputBytes outputs = MakeOutputs();
    const ParallelFor serial = Serial;
    ExpectOk(Run({serial}, PointersTo(&outputs)));
    return outputs;
  }

 protected:
  explicit AnyOpCall(const OpCase& which) : which_(which) {}

  OpCase which_;
  OpParams params_;
  Signature signature_;
  std::vector<size_t> output_bytes_;
};

// T: the dtype of its features.
template <typename T>
class OpCall : public AnyOpCall {
 public:
  OpCall(const OpCase& which, const OpSizes& sizes, int seed)
      : AnyOpCall(which) {
    const OpInfo info = InfoOf(which.op, which.maps);
    const int maps =
        which.maps == Maps::kOne ? 1 : static_cast<int>(sizes.maps.size());
    const auto [batch, channels, boxes] = sizes.sizes;
    params_.maps = which.maps;
    params_.output_size = sizes.output_size;
    params_.sampling_ratio = sizes.sampling_ratio;
    params_.aligned = true;
    params_.data_format = which.layout;
    params_.mode = which.mode;
    params_.spatial_scale = {sizes.maps[0].scale_y, sizes.maps[0].scale_x};

    std::mt19937 random(seed);
    InputShapes shapes;
    shapes.set_map_count(maps);
    const auto read = [&](Input input, int map, const Shape& shape,
                          const auto& data) {
      ReadTensor(input, map, shape, data.data(), /*is_64_bit=*/false, &shapes,
                 &inputs_);
    };
    features_.resize(maps);
    for (int m = 0; m < maps; ++m) {
      const MapSize& map = sizes.maps[m];
      const Shape shape = InLayout(batch, map.height, map.width, channels);
      scales_.insert(scales_.end(), {map.scale_y, map.scale_x});
      if (info.Has(Input::kFeatures)) {
        features_[m] =
            RandomNumbers<T>(batch * map.pixels() * channels, &random);
        read(Input::kFeatures, m, shape, features_[m]);
      } else {
        shapes.features(m) = shape;
      }
    }
    rows_ = RandomRows<float>(boxes, batch, &random);
    read(Input::kBoxes, 0, {boxes, 5}, rows_);
    read(Input::kBoxIndices, 0, {0}, std::vector<int32_t>());
    if (info.Has(Input::kGradOutput)) {
      const auto [height, width] = sizes.output_size;
      const Shape shape = InLayout(boxes, height, width, channels);
      grad_output_ =
          RandomNumbers<T>(boxes * height * width * channels, &random);
      read(Input::kGradOutput, 0, shape, grad_output_);
    }
    if (info.Has(Input::kLevels)) {
      for (int64_t k = 0; k < boxes; ++k) {
        levels_.push_back(static_cast<int32_t>(k % maps));
      }
      read(Input::kLevels, 0, {boxes}, levels_);
      read(Input::kSpatialScales, 0, {maps, 2}, scales_);
    }
    if (info.Has(Input::kDirection)) {
      direction_ = RandomNumbers<float>(boxes * 5, &random);
      read(Input::kDirection, 0, {boxes, 5}, direction_);
    }
    if (info.Has(Input::kScale)) {
      inputs_.Set(Input::kScale, &code_scale_);
      inputs_.Set(Input::kZeroPoint, &zero_point_);
    }
    ExpectOk(CheckParams(which.op, params_));
    ExpectOk(CheckShapes(info, params_, shapes, &signature_));

    const size_t element =
        info.output == Output::kBoxes ? sizeof(float) : sizeof(T);
    for (int m = 0; m < (info.OutputIsList() ? maps : 1); ++m) {
      const Shape shape = signature_.OutputShape(info, params_, m);
      size_t bytes = element;
      for (int i = 0; i < shape.rank; ++i) bytes *= size_t(shape.dims[i]);
      output_bytes_.push_back(bytes);
    }
  }
  OpCall(const OpCall&) = delete;  // `inputs_` points into it
  OpCall& operator=(const OpCall&) = delete;

  Status Run(const CpuContext& context,
             const std::vector<void*>& outputs) const override {
    OutputData data;
    std::copy(outputs.begin(), outputs.end(), data.data);
    if constexpr (kIsCode<T>) {
      return RunOp<Op::kForwardQuantized, T, float>(context, params_,
                                                    signature_, inputs_, data);
    } else {
      switch (which_.op) {
#define TF_ROIALIGN_RUN(op) \
  case Op::op:              \
    return RunOp<Op::op, T, float>(context, params_, signature_, inputs_, data);
        TF_ROIALIGN_FOR_EACH_FLOAT_OP(TF_ROIALIGN_RUN)
#undef TF_ROIALIGN_RUN
        default:
          return Status::Internal("an op on codes");
      }
    }
  }

 private:
  Shape InLayout(int64_t count, int64_t height, int64_t width,
                 int64_t channels) const {
    return which_.layout == Layout::kNHWC
               ? Shape({count, height, width, channels})
               : Shape({count, channels, height, width});
  }

  std::vector<std::vector<T>> features_;  // of each map
  std::vector<T> grad_output_;
  std::vector<float> rows_;  // [K, 5]
  std::vector<int32_t> levels_;
  std::vector<double> scales_;
  std::vector<float> direction_;
  float code_scale_ = 0.5f;
  int32_t zero_point_ = 3;
  InputData inputs_;
};

// On features of T, or on codes where the op is on those.
template <typename T = float>
std::unique_ptr<AnyOpCall> MakeOpCall(const OpCase& which,
                                      const OpSizes& sizes = {}, int seed = 4) {
  if (IsOnCodes(which.op)) {
    return std::make_unique<OpCall<int8_t>>(which, sizes, seed);
  }
  return std::make_unique<OpCall<T>>(which, sizes, seed);
}

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_TESTING_OP_CALL_H_
