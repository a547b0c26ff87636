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

// A box's taps by pixel.
template <typename W>
class BoxPixelTapsBuilder {
 public:
  template <typename B>
  void Build(const Params& params, const Sizes& sizes, const BoxAxes<B>& axes,
             BoxTapsBuilder<W>* builder) {
    const BoxTaps<W> taps = builder->Build(params, sizes, axes);
    y_.Build(taps.y, params.pooled_height);
    x_.Build(taps.x, params.pooled_width);
  }

  BoxPixelTaps<W> view(const Params& params) const {
    return {params.pooled_width, y_.view(), x_.view()};
  }

 private:
  PixelTaps<W> y_;
  PixelTaps<W> x_;
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

// Pixels of one axis, first <= i < last.
struct Span {
  int64_t first = 0;
  int64_t last = 0;

  int64_t length() const { return last - first; }
};

// Pixels that the samples of an axis may touch; none: an empty span.
template <typename B>
Span TouchedPixels(const Axis<B>& axis, int64_t pooled, int64_t length) {
  if (axis.grid <= 0) return {};
  // The coordinates of all samples lie between those of the first and the last,
  // up to rounding, for which a pixel is added on either side.
  const B a = SampleCoordinate(axis, 0, 0);
  const B b = SampleCoordinate(axis, pooled - 1, axis.grid - 1);
  const B slack = B(1) + (std::abs(a) + std::abs(b)) * 4 *
                             std::numeric_limits<B>::epsilon();
  const B low = std::min(a, b) - slack;
  const B high = std::max(a, b) + slack + B(1);
  if (!(low <= B(length)) || !(high >= B(-1))) return {};
  return {low > B(0) ? static_cast<int64_t>(low) : 0,
          high < B(length - 1) ? static_cast<int64_t>(high) + 1 : length};
}

// For each image its boxes, in the order given, with the part of the map that
// they touch. Boxes that are not finite are left out.
class BoxesByImage {
 public:
  struct Entry {
    int64_t box;
    Span rows;
    Span columns;

    bool touches_map() const {
      return rows.length() > 0 && columns.length() > 0;
    }
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
      if (!axes.finite()) continue;
      entries_[end_[boxes.image[k]]++] = {
          k, TouchedPixels(axes.y, params.pooled_height, sizes.height),
          TouchedPixels(axes.x, params.pooled_width, sizes.width)};
    }
  }

  const Entry* begin(int64_t image) const {
    return entries_.data() + begin_[image];
  }
  const Entry* end(int64_t image) const {
    return entries_.data() + end_[image];
  }

  // Heights and widths of the windows of all boxes.
  double edge_pixels() const {
    double pixels = 0;
    for (size_t n = 0; n < end_.size(); ++n) {
      for (const Entry* entry = begin(n); entry != end(n); ++entry) {
        pixels += double(entry->rows.length() + entry->columns.length());
      }
    }
    return pixels;
  }

  // Pixels in the windows of all boxes.
  double window_pixels() const {
    double pixels = 0;
    for (size_t n = 0; n < end_.size(); ++n) {
      for (const Entry* entry = begin(n); entry != end(n); ++entry) {
        pixels += double(entry->rows.length()) * entry->columns.length();
      }
    }
    return pixels;
  }

 private:
  std::vector<int64_t> begin_;
  std::vector<int64_t> end_;
  std::vector<Entry> entries_;
};

// The taps of the boxes of a feature gradient. Every owner of a part of the map
// asks for all boxes that touch it, so they are made once for all owners,
// unless they would take more memory than this; then each makes its own.
constexpr double kTapTableBytes = 64 << 20;

template <typename W, typename B>
class TapTable {
 public:
  TapTable(const CpuContext& context, const Params& params, const Sizes& sizes,
           const BoxTable<B>& boxes, const BoxesByImage& by_image)
      : params_(params), sizes_(sizes), boxes_(boxes) {
    // A tap takes about 40 bytes, and a pixel has one or two.
    const double bytes =
        80.0 * (by_image.edge_pixels() +
                double(boxes.count) *
                    double(params.pooled_height + params.pooled_width));
    if (bytes > kTapTableBytes) return;
    table_.resize(boxes.count);
    context.parallel_for(boxes.count, 2000, [&](int64_t first, int64_t last) {
      BoxTapsBuilder<W> builder;
      for (int64_t k = first; k < last; ++k) Build(k, &builder, &table_[k]);
    });
  }

  // One for each thread.
  class Reader {
   public:
    explicit Reader(const TapTable& table) : table_(table) {}

    BoxPixelTaps<W> Get(int64_t box) {
      if (!table_.table_.empty()) {
        return table_.table_[box].view(table_.params_);
      }
      table_.Build(box, &builder_, &taps_);
      return taps_.view(table_.params_);
    }

   private:
    const TapTable& table_;
    BoxTapsBuilder<W> builder_;
    BoxPixelTapsBuilder<W> taps_;
  };

 private:
  void Build(int64_t k, BoxTapsBuilder<W>* builder,
             BoxPixelTapsBuilder<W>* taps) const {
    taps->Build(params_, sizes_, MakeBoxAxes(params_, boxes_.coordinates(k)),
                builder);
  }

  const Params& params_;
  const Sizes& sizes_;
  const BoxTable<B>& boxes_;
  std::vector<BoxPixelTapsBuilder<W>> table_;
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
  const TapTable<W, B> table(context, params, sizes, boxes, by_image);
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
        typename TapTable<W, B>::Reader taps(table);
        std::vector<W> summed(params.pooled_width * kMaxBlockChannels);
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
            if (!entry->touches_map() || entry->rows.first >= row_last ||
                entry->rows.last <= row_first) {
              continue;
            }
            kernels.feature_grad(taps.Get(entry->box),
                                 grad_output + entry->box * box_stride,
                                 sizes.channels, row_first, row_last,
                                 row_stride, band, summed.data());
          }
          if constexpr (!std::is_same_v<T, W>) kernels.round(band, count, out);
        }
      });
}

// NCHW has no vectors over channels. So a block of channels is brought into the
// order of NHWC, as accumulators, run through the same kernels and brought
// back. Blocks are wide enough to fill vectors, and the map of one stays in
// cache.
constexpr int64_t kBlockChannels = 32;

// The channel blocks of all images: what owners share out.
struct ChannelBlocks {
  explicit ChannelBlocks(const Sizes& sizes)
      : channels(sizes.channels),
        per_image((sizes.channels + kBlockChannels - 1) / kBlockChannels),
        count(sizes.batch * per_image) {}

  int64_t image(int64_t unit) const { return unit / per_image; }
  int64_t first(int64_t unit) const {
    return unit % per_image * kBlockChannels;
  }
  int64_t size(int64_t unit) const {
    return std::min(kBlockChannels, channels - first(unit));
  }

  int64_t channels;
  int64_t per_image;
  int64_t count;
};

// A thread's scratch for NCHW.
template <typename T>
class BlockScratch {
 public:
  using W = Accumulator<T>;

  BlockScratch(const CpuContext& context, const Params& params,
               const Sizes& sizes)
      : layout_(GetCpuKernels<T>(context.level)),
        kernels(GetCpuKernels<W>(context.level)),
        plane_(sizes.height * sizes.width),
        width_(sizes.width),
        bins_(params.pooled_height * params.pooled_width) {}

  // The whole map of `channels` planes, channels last.
  const W* LoadMap(const T* planes, int64_t channels) {
    map_.resize(plane_ * channels);
    layout_.channels_last(planes, plane_, channels, plane_, map_.data());
    return map_.data();
  }

  // A window of it. Returns where the map's pixel (0, 0) would be, were there
  // more than the window; `row_stride` is the window's.
  const W* LoadWindow(const T* planes, int64_t channels,
                      const BoxesByImage::Entry& entry, int64_t* row_stride) {
    const int64_t width = entry.columns.length();
    *row_stride = width * channels;
    map_.resize(entry.rows.length() * *row_stride);
    for (int64_t y = entry.rows.first; y < entry.rows.last; ++y) {
      layout_.channels_last(planes + y * width_ + entry.columns.first, plane_,
                            channels, width,
                            map_.data() + (y - entry.rows.first) * *row_stride);
    }
    // As an integer: the address may lie outside the buffer.
    return reinterpret_cast<const W*>(
        reinterpret_cast<uintptr_t>(map_.data()) -
        (entry.rows.first * *row_stride + entry.columns.first * channels) *
            sizeof(W));
  }

  // Zeros in the map's place.
  W* ZeroMap(int64_t channels) {
    map_.assign(plane_ * channels, W(0));
    return map_.data();
  }
  void StoreMap(int64_t channels, T* planes) {
    layout_.channels_first(map_.data(), plane_, channels, planes, plane_);
  }

  // A box's bins.
  W* bins(int64_t channels) {
    pooled_.resize(bins_ * channels);
    return pooled_.data();
  }
  const W* LoadBins(const T* grad_output, int64_t channels) {
    layout_.channels_last(grad_output, bins_, channels, bins_, bins(channels));
    return pooled_.data();
  }
  void StoreBins(int64_t channels, T* output) {
    layout_.channels_first(pooled_.data(), bins_, channels, output, bins_);
  }

 private:
  const CpuKernels<T>& layout_;

 public:
  const CpuKernels<W>& kernels;
  BoxTapsBuilder<W> taps;

 private:
  int64_t plane_;
  int64_t width_;
  int64_t bins_;
  std::vector<W> map_;
  std::vector<W> pooled_;
};

// Calls visit(scratch, entry, image, row_stride, channel, channels) for every
// box and channel block, the block's features channels last. Boxes that are
// not finite are left out.
template <typename T, typename B, typename Visit>
void ForEachBlockOfBoxes(const CpuContext& context, const Params& params,
                         const Sizes& sizes, const BoxTable<B>& boxes,
                         const T* features, const Visit& visit) {
  const BoxesByImage by_image(params, sizes, boxes);
  const ChannelBlocks blocks(sizes);
  const int64_t plane = sizes.height * sizes.width;
  const double windows = by_image.window_pixels();
  // Whichever moves less: each box's window, or each map once.
  if (windows < 0.5 * double(sizes.batch) * double(plane)) {
    const int64_t box_cost =
        BoxCost(params, sizes) +
        int64_t(windows / boxes.count) * sizes.channels / 4;
    std::vector<const BoxesByImage::Entry*> entries;
    std::vector<int64_t> image;
    for (int64_t n = 0; n < sizes.batch; ++n) {
      for (auto* entry = by_image.begin(n); entry != by_image.end(n); ++entry) {
        entries.push_back(entry);
        image.push_back(n);
      }
    }
    context.parallel_for(
        entries.size(), box_cost, [&](int64_t first, int64_t last) {
          BlockScratch<T> scratch(context, params, sizes);
          for (int64_t i = first; i < last; ++i) {
            for (int64_t unit = image[i] * blocks.per_image;
                 unit < (image[i] + 1) * blocks.per_image; ++unit) {
              const int64_t channel = blocks.first(unit);
              int64_t row_stride = 0;
              const auto* window = scratch.LoadWindow(
                  features + (image[i] * sizes.channels + channel) * plane,
                  blocks.size(unit), *entries[i], &row_stride);
              visit(scratch, *entries[i], window, row_stride, channel,
                    blocks.size(unit));
            }
          }
        });
    return;
  }
  const int64_t unit_cost =
      kBlockChannels *
      (plane / 4 +
       boxes.count / sizes.batch * BoxCost(params, sizes) / sizes.channels);
  context.parallel_for(
      blocks.count, unit_cost, [&](int64_t first, int64_t last) {
        BlockScratch<T> scratch(context, params, sizes);
        for (int64_t unit = first; unit < last; ++unit) {
          const int64_t n = blocks.image(unit), channel = blocks.first(unit);
          if (by_image.begin(n) == by_image.end(n)) continue;
          const auto* map =
              scratch.LoadMap(features + (n * sizes.channels + channel) * plane,
                              blocks.size(unit));
          for (auto* entry = by_image.begin(n); entry != by_image.end(n);
               ++entry) {
            visit(scratch, *entry, map, sizes.width * blocks.size(unit),
                  channel, blocks.size(unit));
          }
        }
      });
}

template <typename T, typename B>
void ForwardNchw(const CpuContext& context, const Params& params,
                 const Sizes& sizes, const BoxTable<B>& boxes,
                 const T* features, T* output) {
  using W = Accumulator<T>;
  const int64_t bins = params.pooled_height * params.pooled_width;
  for (int64_t k = 0; k < boxes.count; ++k) {
    if (!MakeBoxAxes(params, boxes.coordinates(k)).finite()) {
      std::fill_n(output + k * sizes.channels * bins, sizes.channels * bins,
                  NaN<T>());
    }
  }
  ForEachBlockOfBoxes<T>(
      context, params, sizes, boxes, features,
      [&](BlockScratch<T>& scratch, const BoxesByImage::Entry& entry,
          const W* image, int64_t row_stride, int64_t channel,
          int64_t channels) {
        const BoxTaps<W> taps = scratch.taps.Build(
            params, sizes, MakeBoxAxes(params, boxes.coordinates(entry.box)));
        scratch.kernels.forward(taps, image, row_stride, channels,
                                scratch.bins(channels));
        scratch.StoreBins(
            channels, output + (entry.box * sizes.channels + channel) * bins);
      });
}

template <typename T, typename B>
void FeatureGradNchw(const CpuContext& context, const Params& params,
                     const Sizes& sizes, const BoxTable<B>& boxes,
                     const T* grad_output, T* grad_features) {
  using W = Accumulator<T>;
  const BoxesByImage by_image(params, sizes, boxes);
  const TapTable<W, B> table(context, params, sizes, boxes, by_image);
  const ChannelBlocks blocks(sizes);
  const int64_t plane = sizes.height * sizes.width;
  const int64_t bins = params.pooled_height * params.pooled_width;
  const int64_t unit_cost =
      kBlockChannels *
      (plane / 2 +
       boxes.count / sizes.batch * BoxCost(params, sizes) / sizes.channels);
  context.parallel_for(
      blocks.count, unit_cost, [&](int64_t first, int64_t last) {
        BlockScratch<T> scratch(context, params, sizes);
        typename TapTable<W, B>::Reader taps(table);
        std::vector<W> summed(params.pooled_width * kBlockChannels);
        for (int64_t unit = first; unit < last; ++unit) {
          const int64_t n = blocks.image(unit), channel = blocks.first(unit);
          const int64_t channels = blocks.size(unit);
          W* map = scratch.ZeroMap(channels);
          for (auto* entry = by_image.begin(n); entry != by_image.end(n);
               ++entry) {
            if (!entry->touches_map()) continue;
            const W* upstream = scratch.LoadBins(
                grad_output + (entry->box * sizes.channels + channel) * bins,
                channels);
            scratch.kernels.feature_grad(
                taps.Get(entry->box), upstream, channels, 0, sizes.height,
                sizes.width * channels, map, summed.data());
          }
          scratch.StoreMap(
              channels, grad_features + (n * sizes.channels + channel) * plane);
        }
      });
}

// The sum over channel blocks, each block's part in a place of its own, so that
// it does not depend on who computes which.
template <typename T, typename B>
void BoxGradNchw(const CpuContext& context, const Params& params,
                 const Sizes& sizes, const BoxTable<B>& boxes,
                 const T* features, const T* grad_output,
                 std::vector<double>* grads) {
  using W = Accumulator<T>;
  const int64_t bins = params.pooled_height * params.pooled_width;
  const int64_t blocks = ChannelBlocks(sizes).per_image;
  std::vector<double> parts(boxes.count * blocks * 4, 0.0);
  ForEachBlockOfBoxes<T>(
      context, params, sizes, boxes, features,
      [&](BlockScratch<T>& scratch, const BoxesByImage::Entry& entry,
          const W* image, int64_t row_stride, int64_t channel,
          int64_t channels) {
        const BoxTaps<W> taps = scratch.taps.BuildWithSlopes(
            params, sizes, MakeBoxAxes(params, boxes.coordinates(entry.box)));
        const W* upstream = scratch.LoadBins(
            grad_output + (entry.box * sizes.channels + channel) * bins,
            channels);
        scratch.kernels.box_grad(
            taps, upstream, image, row_stride, channels,
            &parts[(entry.box * blocks + channel / kBlockChannels) * 4]);
      });
  for (int64_t k = 0; k < boxes.count; ++k) {
    for (int64_t i = 0; i < blocks * 4; ++i) {
      (*grads)[k * 4 + i % 4] += parts[k * blocks * 4 + i];
    }
  }
}

template <typename T, typename B>
void ForwardNhwc(const CpuContext& context, const Params& params,
                 const Sizes& sizes, const BoxTable<B>& boxes,
                 const T* features, T* output) {
  using W = Accumulator<T>;
  const CpuKernels<T>& kernels = GetCpuKernels<T>(context.level);
  const int64_t row_stride = sizes.width * sizes.channels;
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
          kernels.forward(builder.Build(params, sizes, axes),
                          features + boxes.image[k] * sizes.height * row_stride,
                          row_stride, sizes.channels, out);
        }
      });
}

template <typename T, typename B>
void BoxGradNhwc(const CpuContext& context, const Params& params,
                 const Sizes& sizes, const BoxTable<B>& boxes,
                 const T* features, const T* grad_output,
                 std::vector<double>* grads) {
  using W = Accumulator<T>;
  const CpuKernels<T>& kernels = GetCpuKernels<T>(context.level);
  const int64_t row_stride = sizes.width * sizes.channels;
  const int64_t box_stride =
      params.pooled_height * params.pooled_width * sizes.channels;
  context.parallel_for(
      boxes.count, 2 * BoxCost(params, sizes),
      [&](int64_t first, int64_t last) {
        BoxTapsBuilder<W> builder;
        for (int64_t k = first; k < last; ++k) {
          const BoxAxes<B> axes = MakeBoxAxes(params, boxes.coordinates(k));
          if (!axes.finite()) continue;
          kernels.box_grad(
              builder.BuildWithSlopes(params, sizes, axes),
              grad_output + k * box_stride,
              features + boxes.image[k] * sizes.height * row_stride, row_stride,
              sizes.channels, &(*grads)[k * 4]);
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
  if (params.layout == Layout::kNHWC) {
    ForwardNhwc(context, params, sizes, boxes, features, output);
  } else {
    ForwardNchw(context, params, sizes, boxes, features, output);
  }
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

}  // namespace tf_roialign
