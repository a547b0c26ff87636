// The inner loops on CPU: one box, all its channels. one_level.cc is compiled
// once for each SIMD level; this is what a level offers.

#ifndef TF_ROIALIGN_CC_CORE_CPU_SIMD_KERNELS_H_
#define TF_ROIALIGN_CC_CORE_CPU_SIMD_KERNELS_H_

#include <cstdint>

#include "cc/core/base/span.h"
#include "cc/core/cpu/simd/ahead.h"
#include "cc/core/cpu/simd/level.h"
#include "cc/core/cpu/simd/samples_view.h"
#include "cc/core/cpu/simd/taps_view.h"
#include "cc/core/dtypes/float16.h"
#include "cc/core/dtypes/quantization.h"

namespace tf_roialign {

// Taps of one box.
template <typename W>
struct BoxTaps {
  int64_t pooled_height;
  int64_t pooled_width;
  TapsView<W> y;
  TapsView<W> x;
  BoxAhead ahead = {};
};

// The same by pixel.
template <typename W>
struct BoxPixelTaps {
  int64_t pooled_width;
  PixelTapsView<W> y;
  PixelTapsView<W> x;
};

// Pixels of an image, from where its pixel (0, 0) is or would be.
template <typename T>
struct Pixels {
  const T* at(int64_t y, int64_t x) const {
    return origin + y * row_stride + x * pixel_stride;
  }

  const T* origin;
  int64_t row_stride;
  int64_t pixel_stride;
};

// What a box adds to a part of the map.
template <typename T>
struct TilePart {
  BoxPixelTaps<Accumulator<T>> taps;
  const T* grad_output;
  // Of the entries of the taps.
  Span rows;
  Span columns;
  // The bins that touch these columns.
  Span bins;
  MemoryAhead ahead = {};
};

// Channels that a kernel holds in registers at once, at most.
constexpr int64_t kMaxBlockChannels = 256;

constexpr int64_t kStreamAlignment = 64;

// T: the dtype of features. Channels come last: features [H, W, C], output
// [PH, PW, C]. Features of another layout are brought into this one first.
//
// Quantized features are codes, T = int8_t, uint8_t or int32_t. Their taps are
// those of sums (BoxTapsBuilder::BuildFor), and `to_codes` says how such sums
// become codes. Codes have no gradients: those kernels are null.
template <typename T>
struct CpuKernels {
  using W = Accumulator<T>;

  // `stream`: store past the caches. Then `output` and a pixel's bytes have to
  // be multiples of kStreamAlignment.
  void (*forward)(const BoxTaps<W>& taps, const T* image, int64_t row_stride,
                  int64_t channels, const Requantization<W>& to_codes,
                  bool stream, T* output);

  // The forward of bin row p for `rows` of its taps along y, and for `channels`
  // channels. The first rows of a bin row start its sums, the last ones store
  // them to its bins, the first of which is `bin`; between them they wait in
  // `kept`, which holds pooled_width * (channels + 1) elements.
  void (*forward_rows)(const BoxTaps<W>& taps, int64_t p, const Span& rows,
                       const Pixels<T>& pixels, int64_t channels,
                       const Requantization<W>& to_codes, bool stream, W* kept,
                       T* bin, int64_t bin_stride);

  // Adds a box's gradient to a tile of the map. `map`: where the map's pixel
  // (0, 0) would be, with rows `row_stride` apart. `next`: prefetched; may be
  // null. `scratch` holds pooled_width * min(channels, kMaxBlockChannels)
  // elements.
  void (*feature_grad)(const TilePart<T>& part, const TilePart<T>* next,
                       int64_t channels, int64_t row_stride, W* map,
                       W* scratch);

  // grad: d / d(x1, y1, x2, y2). The taps need slopes.
  void (*box_grad)(const BoxTaps<W>& taps, const T* grad_output, const T* image,
                   int64_t row_stride, int64_t channels, double grad[4]);

  // Adds what these taps along y and channels of a row of bins are to it.
  // `bin`: the first of the row.
  void (*box_grad_rows)(const BoxTaps<W>& taps, const Span& rows,
                        const Pixels<T>& pixels, int64_t channels, const T* bin,
                        int64_t bin_stride, double grad[4]);

  // Mode "max". Winners are numbers of samples (BoxSamples).
  void (*max_forward)(const BoxSamples<W>& samples, const T* image,
                      int64_t row_stride, int64_t channels, bool stream,
                      T* output);
  void (*winners8)(const BoxSamples<W>& samples, const T* image,
                   int64_t row_stride, int64_t channels, uint8_t* winners);
  void (*winners32)(const BoxSamples<W>& samples, const T* image,
                    int64_t row_stride, int64_t channels, int32_t* winners);
  // As feature_grad.
  void (*max_feature_grad8)(const BoxSamples<W>& samples, const Tile& tile,
                            const T* grad_output, const uint8_t* winners,
                            int64_t channels, int64_t row_stride, W* map);
  void (*max_feature_grad32)(const BoxSamples<W>& samples, const Tile& tile,
                             const T* grad_output, const int32_t* winners,
                             int64_t channels, int64_t row_stride, W* map);
  void (*max_box_grad)(const BoxSamples<W>& samples, const T* grad_output,
                       const T* image, int64_t row_stride, int64_t channels,
                       double grad[4]);

  // Rounds accumulators to features. `stream` as above.
  void (*pack)(const W* from, int64_t count, bool stream, T* to);

  // [channels, pixels], rows `from_stride` apart, to [pixels, channels].
  void (*channels_last)(const T* from, int64_t from_stride, int64_t channels,
                        int64_t pixels, W* to);
  // [pixels, channels] to [channels, pixels], rows `to_stride` apart. Rounds;
  // for codes, `from` are a bin's sums as `forward` of W makes them.
  void (*channels_first)(const W* from, int64_t pixels, int64_t channels,
                         const Requantization<W>& to_codes, T* to,
                         int64_t to_stride);

  // Streaming stores are not ordered with others until this.
  void (*stream_fence)();
};

template <typename T>
const CpuKernels<T>& GetCpuKernels(SimdLevel level);

// Defined by one_level.cc for each T, once a level.
#define TF_ROIALIGN_DECLARE_LEVEL(level) \
  namespace level {                      \
  template <typename T>                  \
  const CpuKernels<T>& Kernels();        \
  }
TF_ROIALIGN_DECLARE_LEVEL(baseline)
TF_ROIALIGN_DECLARE_LEVEL(avx2)
TF_ROIALIGN_DECLARE_LEVEL(avx512)
#undef TF_ROIALIGN_DECLARE_LEVEL

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CPU_SIMD_KERNELS_H_
