#include "cc/core/roi_align_cpu.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>
#include <vector>

#include "cc/core/axis_taps.h"
#include "cc/core/cpu_kernels.h"

namespace tf_roialign {
namespace {

// Per-thread taps of one box.
template <typename W>
class BoxTapsBuilder {
 public:
  template <typename B>
  BoxTaps<W> Build(const Params& params, const Sizes& sizes,
                   const BoxAxes<B>& axes) {
    y_.Build(axes.y, params.pooled_height, sizes.height);
    x_.Build(axes.x, params.pooled_width, sizes.width);
    return view(params);
  }

  template <typename B>
  BoxTaps<W> BuildWithSlopes(const Params& params, const Sizes& sizes,
                             const BoxAxes<B>& axes) {
    const B scale = static_cast<B>(params.spatial_scale);
    y_.BuildWithSlopes(axes.y, params.pooled_height, sizes.height, scale);
    x_.BuildWithSlopes(axes.x, params.pooled_width, sizes.width, scale);
    return view(params);
  }

 private:
  BoxTaps<W> view(const Params& params) const {
    return {params.pooled_height, params.pooled_width, y_.view(), x_.view()};
  }

  AxisTaps<W> y_;
  AxisTaps<W> x_;
};

template <typename T>
T NaN() {
  if constexpr (std::is_same_v<T, Half>) {
    return ToHalf(NAN);
  } else if constexpr (std::is_same_v<T, BFloat16>) {
    return ToBFloat16(NAN);
  } else {
    return std::numeric_limits<T>::quiet_NaN();
  }
}

// Nanoseconds for one box, roughly; only for deciding how to share work.
int64_t BoxCost(const Params& params, const Sizes& sizes) {
  const int64_t bins = params.pooled_height * params.pooled_width;
  return 500 + bins * sizes.channels;
}

// For each image its boxes, in the order given, with the rows of the map that
// they touch. Boxes that touch none are left out.
class BoxesByImage {
 public:
  struct Entry {
    int64_t box;
    int64_t row_first;
    int64_t row_last;  // exclusive
  };

  template <typename B>
  BoxesByImage(const Params& params, const Sizes& sizes,
               const BoxTable<B>& boxes)
      : begin_(sizes.batch + 1, 0) {
    for (int64_t k = 0; k < boxes.count; ++k) ++begin_[boxes.image[k] + 1];
    for (int64_t n = 0; n < sizes.batch; ++n) begin_[n + 1] += begin_[n];
    end_.assign(begin_.begin(), begin_.end() - 1);
    entries_.resize(boxes.count);
    for (int64_t k = 0; k < boxes.count; ++k) {
      const BoxAxes<B> axes = MakeBoxAxes(params, boxes.coordinates(k));
      if (!axes.finite() || axes.y.grid <= 0 || axes.x.grid <= 0) continue;
      Entry entry{k, 0, 0};
      if (TouchedRows(axes.y, params.pooled_height, sizes.height, &entry)) {
        entries_[end_[boxes.image[k]]++] = entry;
      }
    }
  }

  const Entry* begin(int64_t image) const {
    return entries_.data() + begin_[image];
  }
  const Entry* end(int64_t image) const {
    return entries_.data() + end_[image];
  }

 private:
  template <typename B>
  static bool TouchedRows(const Axis<B>& axis, int64_t pooled, int64_t length,
                          Entry* entry) {
    // The coordinates of all samples lie between those of the first and the
    // last, up to rounding, for which a row is added on either side.
    const B a = SampleCoordinate(axis, 0, 0);
    const B b = SampleCoordinate(axis, pooled - 1, axis.grid - 1);
    const B slack = B(1) + (std::abs(a) + std::abs(b)) * 4 *
                               std::numeric_limits<B>::epsilon();
    const B low = std::min(a, b) - slack;
    const B high = std::max(a, b) + slack + B(1);
    if (!(low <= B(length)) || !(high >= B(-1))) return false;
    entry->row_first = low > B(0) ? static_cast<int64_t>(low) : 0;
    entry->row_last =
        high < B(length - 1) ? static_cast<int64_t>(high) + 1 : length;
    return true;
  }

  std::vector<int64_t> begin_;
  std::vector<int64_t> end_;
  std::vector<Entry> entries_;
};

// Rows of gradient that one owner holds in cache at a time, in bytes.
constexpr int64_t kBandBytes = 512 * 1024;

template <typename T, typename B>
void FeatureGradNhwc(const CpuContext& context, const Params& params,
                     const Sizes& sizes, const BoxTable<B>& boxes,
                     const T* grad_output, T* grad_features) {
  using W = Accumulator<T>;
  const CpuKernels<T>& kernels = GetCpuKernels<T>(context.level);
  const BoxesByImage by_image(params, sizes, boxes);
  const int64_t row_stride = sizes.width * sizes.channels;
  const int64_t box_stride =
      params.pooled_height * params.pooled_width * sizes.channels;
  const int64_t band_rows = std::clamp<int64_t>(
      kBandBytes / (row_stride * int64_t(sizeof(W))), 1, sizes.height);
  const int64_t bands = (sizes.height + band_rows - 1) / band_rows;
  const int64_t band_cost =
      band_rows * row_stride / 4 +
      boxes.count * BoxCost(params, sizes) / (sizes.batch * bands);

  context.parallel_for(
      sizes.batch * bands, band_cost, [&](int64_t first, int64_t last) {
        BoxTapsBuilder<W> builder;
        std::vector<W> scratch;
        for (int64_t unit = first; unit < last; ++unit) {
          const int64_t image = unit / bands;
          const int64_t row_first = unit % bands * band_rows;
          const int64_t row_last =
              std::min(row_first + band_rows, sizes.height);
          const int64_t count = (row_last - row_first) * row_stride;
          T* out =
              grad_features + (image * sizes.height + row_first) * row_stride;
          W* band;
          if constexpr (std::is_same_v<T, W>) {
            band = out;
            std::fill_n(band, count, W(0));
          } else {
            scratch.assign(count, W(0));
            band = scratch.data();
          }
          for (auto* entry = by_image.begin(image);
               entry != by_image.end(image); ++entry) {
            if (entry->row_first >= row_last || entry->row_last <= row_first) {
              continue;
            }
            const BoxTaps<W> taps = builder.Build(
                params, sizes,
                MakeBoxAxes(params, boxes.coordinates(entry->box)));
            kernels.feature_grad_nhwc(
                taps, grad_output + entry->box * box_stride, sizes.channels,
                row_first, row_last, row_stride, band);
          }
          if constexpr (!std::is_same_v<T, W>) kernels.round(band, count, out);
        }
      });
}

template <typename T, typename B>
void FeatureGradNchw(const CpuContext& context, const Params& params,
                     const Sizes& sizes, const BoxTable<B>& boxes,
                     const T* grad_output, T* grad_features) {
  using W = Accumulator<T>;
  const CpuKernels<T>& kernels = GetCpuKernels<T>(context.level);
  const BoxesByImage by_image(params, sizes, boxes);
  const int64_t plane = sizes.height * sizes.width;
  const int64_t bins = params.pooled_height * params.pooled_width;
  // Planes whose owner holds them in cache, so that taps are built once for
  // several.
  const int64_t group = std::clamp<int64_t>(
      kBandBytes / (plane * int64_t(sizeof(W))), 1, sizes.channels);
  const int64_t groups = (sizes.channels + group - 1) / group;
  const int64_t group_cost =
      group * plane / 4 + boxes.count * (2000 + group * bins * 8) / sizes.batch;

  context.parallel_for(
      sizes.batch * groups, group_cost, [&](int64_t first, int64_t last) {
        BoxTapsBuilder<W> builder;
        std::vector<W> scratch;
        for (int64_t unit = first; unit < last; ++unit) {
          const int64_t image = unit / groups;
          const int64_t channel = unit % groups * group;
          const int64_t channels = std::min(group, sizes.channels - channel);
          const int64_t count = channels * plane;
          T* out = grad_features + (image * sizes.channels + channel) * plane;
          W* planes;
          if constexpr (std::is_same_v<T, W>) {
            planes = out;
            std::fill_n(planes, count, W(0));
          } else {
            scratch.assign(count, W(0));
            planes = scratch.data();
          }
          for (auto* entry = by_image.begin(image);
               entry != by_image.end(image); ++entry) {
            const BoxTaps<W> taps = builder.Build(
                params, sizes,
                MakeBoxAxes(params, boxes.coordinates(entry->box)));
            kernels.feature_grad_nchw(
                taps,
                grad_output + (entry->box * sizes.channels + channel) * bins,
                channels, sizes.width, plane, planes);
          }
          if constexpr (!std::is_same_v<T, W>) {
            kernels.round(planes, count, out);
          }
        }
      });
}

}  // namespace

template <typename T, typename B>
void RoiAlignForward(const CpuContext& context, const Params& params,
                     const Sizes& sizes, const BoxTable<B>& boxes,
                     const T* features, T* output) {
  // Before any product of sizes: with a zero among them others may be any.
  if (boxes.count == 0 || sizes.channels == 0) return;
  using W = Accumulator<T>;
  const CpuKernels<T>& kernels = GetCpuKernels<T>(context.level);
  const int64_t plane = sizes.height * sizes.width;
  const int64_t box_stride =
      params.pooled_height * params.pooled_width * sizes.channels;

  context.parallel_for(
      boxes.count, BoxCost(params, sizes), [&](int64_t first, int64_t last) {
        BoxTapsBuilder<W> builder;
        for (int64_t k = first; k < last; ++k) {
          T* out = output + k * box_stride;
          const BoxAxes<B> axes = MakeBoxAxes(params, boxes.coordinates(k));
          if (!axes.finite()) {
            std::fill_n(out, box_stride, NaN<T>());
            continue;
          }
          const BoxTaps<W> taps = builder.Build(params, sizes, axes);
          const T* image = features + boxes.image[k] * plane * sizes.channels;
          if (params.layout == Layout::kNHWC) {
            kernels.forward_nhwc(taps, image, sizes.width * sizes.channels,
                                 sizes.channels, out);
          } else {
            kernels.forward_nchw(taps, image, sizes.width, plane,
                                 sizes.channels, out);
          }
        }
      });
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
    return;
  }
  if (params.layout == Layout::kNHWC) {
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
  using W = Accumulator<T>;
  const CpuKernels<T>& kernels = GetCpuKernels<T>(context.level);
  const int64_t plane = sizes.height * sizes.width;
  const int64_t box_stride =
      params.pooled_height * params.pooled_width * sizes.channels;

  context.parallel_for(
      boxes.count, 2 * BoxCost(params, sizes),
      [&](int64_t first, int64_t last) {
        BoxTapsBuilder<W> builder;
        for (int64_t k = first; k < last; ++k) {
          B* row = grad_boxes + k * boxes.stride;
          if (boxes.stride > 4) row[0] = B(0);
          B* out = row + (boxes.stride - 4);
          const BoxAxes<B> axes = MakeBoxAxes(params, boxes.coordinates(k));
          if (!axes.finite()) {
            std::fill_n(out, 4, NaN<B>());
            continue;
          }
          double grad[4] = {0, 0, 0, 0};
          if (box_stride > 0) {
            const BoxTaps<W> taps =
                builder.BuildWithSlopes(params, sizes, axes);
            const T* image = features + boxes.image[k] * plane * sizes.channels;
            const T* upstream = grad_output + k * box_stride;
            if (params.layout == Layout::kNHWC) {
              kernels.box_grad_nhwc(taps, upstream, image,
                                    sizes.width * sizes.channels,
                                    sizes.channels, grad);
            } else {
              kernels.box_grad_nchw(taps, upstream, image, sizes.width, plane,
                                    sizes.channels, grad);
            }
          }
          for (int i = 0; i < 4; ++i) out[i] = static_cast<B>(grad[i]);
        }
      });
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

}  // namespace tf_roialign
