#include "cc/core/cpu/box_tangent.h"

#include <algorithm>
#include <type_traits>
#include <vector>

#include "cc/core/cpu/aligned_vector.h"
#include "cc/core/cpu/box_table.h"
#include "cc/core/cpu/box_taps.h"
#include "cc/core/cpu/checked_call.h"
#include "cc/core/cpu/nchw.h"
#include "cc/core/cpu/nhwc.h"
#include "cc/core/cpu/simd/kernels.h"
#include "cc/core/dtypes/fillers.h"
#include "cc/core/geometry/box_axes.h"

namespace tf_roialign {
namespace {

// A box's map is a product of one factor per axis, so its derivative is the sum
// of two such products, each with the derivative of one factor.
template <typename W, typename B>
class MovedTaps {
 public:
  static constexpr int kProducts = 2;

  // `direction`: rows of so many columns.
  MovedTaps(const B* direction, int64_t columns)
      : direction_(direction), columns_(columns) {}

  template <typename Any>
  void Build(const Params& params, const FeatureMap<Any>& map,
             const BoxAxes<B>& axes, int64_t box) {
    const B* move = CoordinatesOfRow(direction_, columns_, box);
    taps_ = builder_.BuildWithSlopes(params, map, axes);
    Move(taps_.y, taps_.pooled_height, move[kY1], move[kY2], &dy_);
    Move(taps_.x, taps_.pooled_width, move[kX1], move[kX2], &dx_);
  }

  // The two products.
  BoxTaps<W> product(int i) const {
    BoxTaps<W> taps = taps_;
    (i == 0 ? taps.y.weight : taps.x.weight) = i == 0 ? dy_.data() : dx_.data();
    return taps;
  }

 private:
  static void Move(const TapsView<W>& taps, int64_t pooled, B c1, B c2,
                   std::vector<W>* moved) {
    moved->resize(taps.begin[pooled]);
    for (size_t i = 0; i < moved->size(); ++i) {
      (*moved)[i] = static_cast<W>(double(taps.slope1[i]) * double(c1) +
                                   double(taps.slope2[i]) * double(c2));
    }
  }

  const B* const direction_;
  const int64_t columns_;
  BoxTapsBuilder<W> builder_;
  BoxTaps<W> taps_;
  std::vector<W> dy_;
  std::vector<W> dx_;
};

// Boxes by image, in the order given: those of image n of map m at
// [m * batch + n].
template <typename B>
std::vector<std::vector<int64_t>> BoxesOfImages(const BoxTable<B>& boxes,
                                                int64_t batch, int maps) {
  std::vector<std::vector<int64_t>> of_image(maps * batch);
  for (int64_t k = 0; k < boxes.count(); ++k) {
    of_image[boxes.map(k) * batch + boxes.image(k)].push_back(k);
  }
  return of_image;
}

// `pixels` of all channels, in the layout, as accumulators with channels last.
template <typename T>
class ChannelsLast {
 public:
  using W = Accumulator<T>;

  ChannelsLast(SimdLevel level, const Params& params, int64_t channels,
               int64_t pixels)
      : kernels_(GetCpuKernels<T>(level)),
        nhwc_(params.data_format == Layout::kNHWC),
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

template <typename T, typename B>
void BoxTangent(const CpuContext& context, const Params& params,
                const Sizes& sizes, const BoxTable<B>& boxes,
                const B* direction, const FeatureMaps<const T>& maps,
                T* output) {
  using W = Accumulator<T>;
  const CpuKernels<W>& kernels = GetCpuKernels<W>(context.level);
  const int64_t channels = sizes.channels;
  const int64_t bins = params.pooled_height() * params.pooled_width();
  const auto of_image = BoxesOfImages(boxes, sizes.batch, maps.count());
  for (size_t i = 0; i < of_image.size(); ++i) {
    if (of_image[i].empty()) continue;
    const FeatureMap<const T>& map = maps[int(i / sizes.batch)];
    ChannelsLast<T> features(context.level, params, channels, map.pixels());
    const W* image = features.Load(map.data + int64_t(i) % sizes.batch *
                                                  map.pixels() * channels);
    context.parallel_for(
        of_image[i].size(), 1000 + 2 * bins * channels,
        [&](int64_t begin, int64_t end) {
          MovedTaps<W, B> taps(direction, boxes.columns());
          ChannelsLast<T> pooled(context.level, params, channels, bins);
          AlignedVector<W> second(bins * channels);
          for (int64_t j = begin; j < end; ++j) {
            const int64_t k = of_image[i][j];
            const auto axes = MakeBoxAxes(params, map, boxes.coordinates(k));
            W* sum = pooled.Fill(NaN<W>());
            if (axes.finite()) {
              taps.Build(params, map, axes, k);
              kernels.forward(taps.product(0), image, map.width * channels,
                              channels, /*to_codes=*/{}, /*stream=*/false, sum);
              kernels.forward(taps.product(1), image, map.width * channels,
                              channels, /*to_codes=*/{}, /*stream=*/false,
                              second.data());
              for (size_t c = 0; c < second.size(); ++c) sum[c] += second[c];
            }
            pooled.Store(output + k * bins * channels);
          }
        });
  }
}

}  // namespace

template <typename T, typename B>
Status RoiAlignBoxTangent(const CpuContext& context, const Params& params,
                          const Sizes& sizes, const Boxes<B>& boxes,
                          const B* direction,
                          const FeatureMaps<const T>& features, T* output) {
  return WithBoxTable(
      params, sizes, features, boxes, [&](const BoxTable<B>& table) {
        if (boxes.count == 0 || sizes.channels == 0) return;
        BoxTangent(context, params, sizes, table, direction, features, output);
      });
}

template <typename T, typename B>
Status RoiAlignBoxTangentGrad(const CpuContext& context, const Params& params,
                              const Sizes& sizes, const Boxes<B>& boxes,
                              const B* direction, const T* grad_output,
                              const FeatureMaps<T>& grad_features) {
  return WithBoxTable(
      params, sizes, grad_features, boxes, [&](const BoxTable<B>& table) {
        if (sizes.channels == 0) return;
        if (boxes.count == 0) {
          ClearMaps(sizes, grad_features);
          return;
        }
        using Products = MovedTaps<Accumulator<T>, B>;
        (params.data_format == Layout::kNHWC
             ? FeatureGradNhwc<T, B, Products>
             : FeatureGradNchw<T, B, Products>)(context, params, sizes, table,
                                                grad_output, grad_features,
                                                {direction, table.columns()});
      });
}

#define TF_ROIALIGN_INSTANTIATE(T, B)                                  \
  template TF_ROIALIGN_API Status RoiAlignBoxTangent<T, B>(            \
      const CpuContext&, const Params&, const Sizes&, const Boxes<B>&, \
      const B*, const FeatureMaps<const T>&, T*);                      \
  template TF_ROIALIGN_API Status RoiAlignBoxTangentGrad<T, B>(        \
      const CpuContext&, const Params&, const Sizes&, const Boxes<B>&, \
      const B*, const T*, const FeatureMaps<T>&);
#define TF_ROIALIGN_INSTANTIATE_FLOAT(T, ...) \
  TF_ROIALIGN_INSTANTIATE(T, float)           \
  TF_ROIALIGN_INSTANTIATE(T, double)
TF_ROIALIGN_FOR_EACH_FLOAT(TF_ROIALIGN_INSTANTIATE_FLOAT)

}  // namespace tf_roialign
