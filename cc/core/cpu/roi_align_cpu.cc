#include "cc/core/cpu/roi_align_cpu.h"

#include <algorithm>
#include <vector>

#include "cc/core/dtypes/fillers.h"
#include "cc/core/cpu/nchw.h"
#include "cc/core/cpu/nhwc.h"

namespace tf_roialign {

namespace {

template <typename T, typename B>
void ForwardAnyLayout(const CpuContext& context, const Params& params,
                      const Sizes& sizes, const BoxTable<B>& boxes,
                      const Fillers<T>& fillers, const T* features, T* output) {
  // Before any product of sizes: with a zero among them others may be any.
  if (boxes.count == 0 || sizes.channels == 0) return;
  if (params.layout == Layout::kNHWC) {
    ForwardNhwc(context, params, sizes, boxes, fillers, features, output);
  } else {
    ForwardNchw(context, params, sizes, boxes, fillers, features, output);
  }
}

}  // namespace

template <typename T, typename B>
void RoiAlignForward(const CpuContext& context, const Params& params,
                     const Sizes& sizes, const BoxTable<B>& boxes,
                     const T* features, T* output) {
  ForwardAnyLayout(context, params, sizes, boxes, FloatFillers<T>(), features,
                   output);
}

template <typename T, typename B>
void RoiAlignForwardQuantized(const CpuContext& context, const Params& params,
                              const Sizes& sizes, const BoxTable<B>& boxes,
                              float scale, int32_t zero_point,
                              const T* features, T* output) {
  ForwardAnyLayout(context, params, sizes, boxes,
                   CodeFillers<T>(scale, zero_point), features, output);
}

template <typename T, typename B>
void RoiAlignFeatureGrad(const CpuContext& context, const Params& params,
                         const Sizes& sizes, const BoxTable<B>& boxes,
                         const T* grad_output, T* grad_features) {
  if (sizes.batch == 0 || sizes.height == 0 || sizes.width == 0 ||
      sizes.channels == 0) {
    return;
  }
  if (boxes.count == 0) {
    std::fill_n(grad_features,
                sizes.batch * sizes.height * sizes.width * sizes.channels, T{});
  } else if (params.layout == Layout::kNHWC) {
    FeatureGradNhwc(context, params, sizes, boxes, grad_output, grad_features);
  } else {
    FeatureGradNchw(context, params, sizes, boxes, grad_output, grad_features);
  }
}

template <typename T, typename B>
void RoiAlignBoxGrad(const CpuContext& context, const Params& params,
                     const Sizes& sizes, const BoxTable<B>& boxes,
                     const T* features, const T* grad_output, B* grad_boxes) {
  if (boxes.count == 0) return;
  std::vector<double> grads(boxes.count * 4, 0.0);  // x1, y1, x2, y2
  if (sizes.channels > 0 && params.layout == Layout::kNHWC) {
    BoxGradNhwc(context, params, sizes, boxes, features, grad_output, &grads);
  } else if (sizes.channels > 0) {
    BoxGradNchw(context, params, sizes, boxes, features, grad_output, &grads);
  }
  for (int64_t k = 0; k < boxes.count; ++k) {
    B* row = grad_boxes + k * boxes.stride;
    if (boxes.stride > 4) row[0] = B(0);
    const bool finite = MakeBoxAxes(params, boxes.coordinates(k)).finite();
    for (int i = 0; i < 4; ++i) {
      row[boxes.stride - 4 + i] =
          finite ? static_cast<B>(grads[k * 4 + i]) : NaN<B>();
    }
  }
}

#define TF_ROIALIGN_INSTANTIATE(T, B)                                       \
  template void RoiAlignForward<T, B>(const CpuContext&, const Params&,     \
                                      const Sizes&, const BoxTable<B>&,     \
                                      const T*, T*);                        \
  template void RoiAlignFeatureGrad<T, B>(const CpuContext&, const Params&, \
                                          const Sizes&, const BoxTable<B>&, \
                                          const T*, T*);                    \
  template void RoiAlignBoxGrad<T, B>(const CpuContext&, const Params&,     \
                                      const Sizes&, const BoxTable<B>&,     \
                                      const T*, const T*, B*);
#define TF_ROIALIGN_INSTANTIATE_BOXES(T) \
  TF_ROIALIGN_INSTANTIATE(T, float)      \
  TF_ROIALIGN_INSTANTIATE(T, double)
TF_ROIALIGN_INSTANTIATE_BOXES(float)
TF_ROIALIGN_INSTANTIATE_BOXES(double)
TF_ROIALIGN_INSTANTIATE_BOXES(Half)
TF_ROIALIGN_INSTANTIATE_BOXES(BFloat16)

#define TF_ROIALIGN_INSTANTIATE_QUANTIZED(T, B)                           \
  template void RoiAlignForwardQuantized<T, B>(                           \
      const CpuContext&, const Params&, const Sizes&, const BoxTable<B>&, \
      float scale, int32_t zero_point, const T*, T*);
TF_ROIALIGN_INSTANTIATE_QUANTIZED(int8_t, float)
TF_ROIALIGN_INSTANTIATE_QUANTIZED(int8_t, double)
TF_ROIALIGN_INSTANTIATE_QUANTIZED(uint8_t, float)
TF_ROIALIGN_INSTANTIATE_QUANTIZED(uint8_t, double)
TF_ROIALIGN_INSTANTIATE_QUANTIZED(int32_t, float)
TF_ROIALIGN_INSTANTIATE_QUANTIZED(int32_t, double)

}  // namespace tf_roialign
