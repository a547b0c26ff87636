#include "cc/core/cpu/box_tangent.h"

#include <algorithm>
#include <limits>
#include <type_traits>
#include <vector>

#include "cc/core/cpu/aligned_vector.h"
#include "cc/core/cpu/axis_taps.h"
#include "cc/core/cpu/simd/kernels.h"
#include "cc/core/cpu/tiling.h"

namespace tf_roialign {
namespace {

// A box's map is a product of one factor per axis, so its derivative is the sum
// of two such products, each with the derivative of one factor.
template <typename W>
class MovedTaps {
 public:
  template <typename B>
  void Build(const Params& params, const Sizes& sizes, const BoxAxes<B>& axes,
             const B* direction) {
    const B scale = static_cast<B>(params.spatial_scale);
    y_.BuildWithSlopes(axes.y, params.pooled_height, sizes.height, scale);
    x_.BuildWithSlopes(axes.x, params.pooled_width, sizes.width, scale);
    Move(y_.view(), params.pooled_height, direction[1], direction[3], &dy_);
    Move(x_.view(), params.pooled_width, direction[0], direction[2], &dx_);
  }

  // The two products.
  BoxTaps<W> product(int i, const Params& params) const {
    BoxTaps<W> taps = {params.pooled_height, params.pooled_width, y_.view(),
                       x_.view()};
    (i == 0 ? taps.y.weight : taps.x.weight) = i == 0 ? dy_.data() : dx_.data();
    return taps;
  }

 private:
  template <typename B>
  static void Move(const TapsView<W>& taps, int64_t pooled, B c1, B c2,
                   std::vector<W>* moved) {
    moved->resize(taps.begin[pooled]);
    for (size_t i = 0; i < moved->size(); ++i) {
      (*moved)[i] = static_cast<W>(double(taps.slope1[i]) * double(c1) +
                                   double(taps.slope2[i]) * double(c2));
    }
  }

  AxisTaps<W> y_;
  AxisTaps<W> x_;
  std::vector<W> dy_;
  std::vector<W> dx_;
};

std::vector<std::vector<int64_t>> BoxesOfImages(const int64_t* image,
                                                int64_t count, int64_t batch) {
  std::vector<std::vector<int64_t>> boxes(batch);
  for (int64_t k = 0; k < count; ++k) boxes[image[k]].push_back(k);
  return boxes;
}

// `pixels` of all channels, in the layout, as accumulators with channels last.
template <typename T>
class ChannelsLast {
 public:
  using W = Accumulator<T>;

  ChannelsLast(SimdLevel level, const Params& params, int64_t channels,
               int64_t pixels)
      : kernels_(GetCpuKernels<T>(level)),
        nhwc_(params.layout == Layout::kNHWC),
        channels_(channels),
        pixels_(pixels) {}

  const W* Load(const T* from) {
    if constexpr (std::is_same_v<T, W>) {
      if (nhwc_) return from;
    }
    buffer_.resize(pixels_ * channels_);
    if (nhwc_) {
      // As one channel: only the dtype changes.
      kernels_.channels_last(from, pixels_ * channels_, 1, pixels_ * channels_,
                             buffer_.data());
    } else {
      kernels_.channels_last(from, pixels_, channels_, pixels_, buffer_.data());
    }
    return buffer_.data();
  }

  W* Fill(W value) {
    buffer_.assign(pixels_ * channels_, value);
    return buffer_.data();
  }

  void Store(T* to) const {
    if (nhwc_) {
      kernels_.pack(buffer_.data(), pixels_ * channels_, /*stream=*/false, to);
    } else {
      kernels_.channels_first(buffer_.data(), pixels_, channels_, {}, to,
                              pixels_);
    }
  }

 private:
  const CpuKernels<T>& kernels_;
  const bool nhwc_;
  const int64_t channels_;
  const int64_t pixels_;
  AlignedVector<W> buffer_;
};

}  // namespace

template <typename T, typename B>
void RoiAlignBoxTangent(const CpuContext& context, const Params& params,
                        const Sizes& sizes, const BoxTable<B>& boxes,
                        const B* direction, const T* features, T* output) {
  using W = Accumulator<T>;
  if (boxes.count == 0 || sizes.channels == 0) return;
  const CpuKernels<W>& kernels = GetCpuKernels<W>(context.level);
  const int64_t plane = sizes.height * sizes.width;
  const int64_t bins = params.pooled_height * params.pooled_width;
  const auto of_image = BoxesOfImages(boxes.image, boxes.count, sizes.batch);
  ChannelsLast<T> map(context.level, params, sizes.channels, plane);
  for (int64_t n = 0; n < sizes.batch; ++n) {
    if (of_image[n].empty()) continue;
    const W* image = map.Load(features + n * plane * sizes.channels);
    context.parallel_for(
        of_image[n].size(), 1000 + 2 * bins * sizes.channels,
        [&](int64_t first, int64_t last) {
          MovedTaps<W> taps;
          ChannelsLast<T> pooled(context.level, params, sizes.channels, bins);
          AlignedVector<W> second(bins * sizes.channels);
          for (int64_t i = first; i < last; ++i) {
            const int64_t k = of_image[n][i];
            const auto axes = MakeBoxAxes(params, boxes.coordinates(k));
            W* sum = pooled.Fill(std::numeric_limits<W>::quiet_NaN());
            if (axes.finite()) {
              taps.Build(params, sizes, axes,
                         direction + (k + 1) * boxes.stride - 4);
              kernels.forward(taps.product(0, params), image,
                              sizes.width * sizes.channels, sizes.channels,
                              /*to_codes=*/{}, /*stream=*/false, sum);
              kernels.forward(taps.product(1, params), image,
                              sizes.width * sizes.channels, sizes.channels,
                              /*to_codes=*/{}, /*stream=*/false, second.data());
              for (size_t j = 0; j < second.size(); ++j) sum[j] += second[j];
            }
            pooled.Store(output + k * bins * sizes.channels);
          }
        });
  }
}

template <typename T, typename B>
void RoiAlignBoxTangentGrad(const CpuContext& context, const Params& params,
                            const Sizes& sizes, const BoxTable<B>& boxes,
                            const B* direction, const T* grad_output,
                            T* grad_features) {
  using W = Accumulator<T>;
  if (sizes.batch == 0 || sizes.height == 0 || sizes.width == 0 ||
      sizes.channels == 0) {
    return;
  }
  if (boxes.count == 0) {
    std::fill_n(grad_features,
                sizes.batch * sizes.height * sizes.width * sizes.channels, T{});
    return;
  }
  const CpuKernels<W>& kernels = GetCpuKernels<W>(context.level);
  const int64_t plane = sizes.height * sizes.width;
  const int64_t bins = params.pooled_height * params.pooled_width;
  const auto of_image = BoxesOfImages(boxes.image, boxes.count, sizes.batch);
  // An image has one owner, which adds its boxes in the order given.
  context.parallel_for(
      sizes.batch,
      plane * sizes.channels +
          boxes.count / sizes.batch * 2 * bins * sizes.channels,
      [&](int64_t first, int64_t last) {
        MovedTaps<W> taps;
        PixelTaps<W> y, x;
        ChannelsLast<T> map(context.level, params, sizes.channels, plane);
        ChannelsLast<T> pooled(context.level, params, sizes.channels, bins);
        AlignedVector<W> scratch(params.pooled_width *
                                 std::min(sizes.channels, kMaxBlockChannels));
        for (int64_t n = first; n < last; ++n) {
          W* sum = map.Fill(W(0));
          for (int64_t k : of_image[n]) {
            const auto axes = MakeBoxAxes(params, boxes.coordinates(k));
            if (!axes.finite()) continue;
            taps.Build(params, sizes, axes,
                       direction + (k + 1) * boxes.stride - 4);
            const W* upstream =
                pooled.Load(grad_output + k * bins * sizes.channels);
            for (int i = 0; i < 2; ++i) {
              const BoxTaps<W> product = taps.product(i, params);
              y.Build(product.y, params.pooled_height);
              x.Build(product.x, params.pooled_width);
              const Tile whole = {{0, sizes.height}, {0, sizes.width}};
              kernels.feature_grad(
                  MakeTilePart({params.pooled_width, y.view(), x.view()},
                               upstream, whole),
                  /*next=*/nullptr, sizes.channels,
                  sizes.width * sizes.channels, sum, scratch.data());
            }
          }
          map.Store(grad_features + n * plane * sizes.channels);
        }
      });
}

#define TF_ROIALIGN_INSTANTIATE(T, B)                                          \
  template void RoiAlignBoxTangent<T, B>(const CpuContext&, const Params&,     \
                                         const Sizes&, const BoxTable<B>&,     \
                                         const B*, const T*, T*);              \
  template void RoiAlignBoxTangentGrad<T, B>(const CpuContext&, const Params&, \
                                             const Sizes&, const BoxTable<B>&, \
                                             const B*, const T*, T*);
#define TF_ROIALIGN_INSTANTIATE_BOXES(T) \
  TF_ROIALIGN_INSTANTIATE(T, float)      \
  TF_ROIALIGN_INSTANTIATE(T, double)
TF_ROIALIGN_INSTANTIATE_BOXES(float)
TF_ROIALIGN_INSTANTIATE_BOXES(double)
TF_ROIALIGN_INSTANTIATE_BOXES(Half)
TF_ROIALIGN_INSTANTIATE_BOXES(BFloat16)

}  // namespace tf_roialign
