#include "cc/core/cpu/roi_align_cpu.h"

#include <algorithm>
#include <cstdint>

#include "cc/core/cpu/checked_call.h"
#include "cc/core/cpu/max_grad.h"
#include "cc/core/cpu/nchw.h"
#include "cc/core/cpu/nhwc.h"
#include "cc/core/dtypes/fillers.h"

namespace tf_roialign {
namespace {

template <typename T, typename B>
Status ForwardAnyLayout(const CpuContext& context, const Params& params,
                        const Sizes& sizes, const Boxes<B>& boxes,
                        const Fillers<T>& fillers,
                        const FeatureMaps<const T>& features, T* output) {
  return WithBoxTable(params, sizes, features, boxes,
                      [&](const BoxTable<B>& table) {
                        // Before any product of sizes: with a zero among them
                        // others may be any.
                        if (boxes.count == 0 || sizes.channels == 0) return;
                        (params.data_format == Layout::kNHWC
                             ? ForwardNhwc<T, B>
                             : ForwardNchw<T, B>)(context, params, sizes, table,
                                                  fillers, features, output);
                      });
}

// Of boxes without channels.
template <typename T, typename B>
void ClearBoxGrads(const Params& params, const FeatureMaps<const T>& maps,
                   const BoxTable<B>& boxes, B* grad_boxes) {
  for (int64_t k = 0; k < boxes.count(); ++k) {
    double grad[kCoordinates] = {};
    if (!MakeBoxAxes(params, maps[boxes.map(k)], boxes.coordinates(k))
             .finite()) {
      std::fill_n(grad, kCoordinates, NaN<double>());
    }
    WriteBoxGrad(grad, boxes.columns(), k, grad_boxes);
  }
}

}  // namespace

template <typename T, typename B>
Status RoiAlignForward(const CpuContext& context, const Params& params,
                       const Sizes& sizes, const Boxes<B>& boxes,
                       const FeatureMaps<const T>& features, T* output) {
  return ForwardAnyLayout(context, params, sizes, boxes, FloatFillers<T>(),
                          features, output);
}

template <typename T, typename B>
Status RoiAlignForwardQuantized(const CpuContext& context, const Params& params,
                                const Sizes& sizes, const Boxes<B>& boxes,
                                float scale, int32_t zero_point,
                                const FeatureMaps<const T>& features,
                                T* output) {
  return ForwardAnyLayout(context, params, sizes, boxes,
                          CodeFillers<T>(scale, zero_point), features, output);
}

template <typename T, typename B>
Status RoiAlignFeatureGrad(const CpuContext& context, const Params& params,
                           const Sizes& sizes, const Boxes<B>& boxes,
                           const T* grad_output,
                           const FeatureMaps<T>& grad_features) {
  return WithBoxTable(
      params, sizes, grad_features, boxes, [&](const BoxTable<B>& table) {
        if (sizes.channels == 0) return;
        if (boxes.count == 0) {
          ClearMaps(sizes, grad_features);
          return;
        }
        (params.data_format == Layout::kNHWC
             ? FeatureGradNhwc<T, B, WholeMap<Accumulator<T>>>
             : FeatureGradNchw<T, B, WholeMap<Accumulator<T>>>)(context, params,
                                                                sizes, table,
                                                                grad_output,
                                                                grad_features,
                                                                {});
      });
}

template <typename T, typename B>
Status RoiAlignMaxFeatureGrad(const CpuContext& context, const Params& params,
                              const Sizes& sizes, const Boxes<B>& boxes,
                              const FeatureMaps<const T>& features,
                              const T* grad_output,
                              const FeatureMaps<T>& grad_features) {
  return WithBoxTable(
      params, sizes, features, boxes, [&](const BoxTable<B>& table) {
        if (sizes.channels == 0) return;
        if (boxes.count == 0) {
          ClearMaps(sizes, grad_features);
          return;
        }
        (params.data_format == Layout::kNHWC
             ? MaxFeatureGradNhwc<T, B>
             : MaxFeatureGradNchw<T, B>)(context, params, sizes, table,
                                         features, grad_output, grad_features);
      });
}

template <typename T, typename B>
Status RoiAlignBoxGrad(const CpuContext& context, const Params& params,
                       const Sizes& sizes, const Boxes<B>& boxes,
                       const FeatureMaps<const T>& features,
                       const T* grad_output, B* grad_boxes) {
  return WithBoxTable(
      params, sizes, features, boxes, [&](const BoxTable<B>& table) {
        if (boxes.count == 0) return;
        if (sizes.channels == 0) {
          ClearBoxGrads(params, features, table, grad_boxes);
          return;
        }
        (params.data_format == Layout::kNHWC
             ? BoxGradNhwc<T, B>
             : BoxGradNchw<T, B>)(context, params, sizes, table, features,
                                  grad_output, grad_boxes);
      });
}

#define TF_ROIALIGN_INSTANTIATE(T, B)                                  \
  template TF_ROIALIGN_API Status RoiAlignForward<T, B>(               \
      const CpuContext&, const Params&, const Sizes&, const Boxes<B>&, \
      const FeatureMaps<const T>&, T*);                                \
  template TF_ROIALIGN_API Status RoiAlignFeatureGrad<T, B>(           \
      const CpuContext&, const Params&, const Sizes&, const Boxes<B>&, \
      const T*, const FeatureMaps<T>&);                                \
  template TF_ROIALIGN_API Status RoiAlignMaxFeatureGrad<T, B>(        \
      const CpuContext&, const Params&, const Sizes&, const Boxes<B>&, \
      const FeatureMaps<const T>&, const T*, const FeatureMaps<T>&);   \
  template TF_ROIALIGN_API Status RoiAlignBoxGrad<T, B>(               \
      const CpuContext&, const Params&, const Sizes&, const Boxes<B>&, \
      const FeatureMaps<const T>&, const T*, B*);
#define TF_ROIALIGN_INSTANTIATE_FLOAT(T, ...) \
  TF_ROIALIGN_INSTANTIATE(T, float)           \
  TF_ROIALIGN_INSTANTIATE(T, double)
TF_ROIALIGN_FOR_EACH_FLOAT(TF_ROIALIGN_INSTANTIATE_FLOAT)

#define TF_ROIALIGN_INSTANTIATE_QUANTIZED(T, B)                               \
  template TF_ROIALIGN_API Status RoiAlignForwardQuantized<T, B>(             \
      const CpuContext&, const Params&, const Sizes&, const Boxes<B>&, float, \
      int32_t, const FeatureMaps<const T>&, T*);
#define TF_ROIALIGN_INSTANTIATE_CODE(T, ...)  \
  TF_ROIALIGN_INSTANTIATE_QUANTIZED(T, float) \
  TF_ROIALIGN_INSTANTIATE_QUANTIZED(T, double)
TF_ROIALIGN_FOR_EACH_CODE(TF_ROIALIGN_INSTANTIATE_CODE)

}  // namespace tf_roialign
