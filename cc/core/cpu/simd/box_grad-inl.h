// The gradient to the boxes.

#ifndef TF_ROIALIGN_CC_CORE_CPU_SIMD_BOX_GRAD_INL_H_
#define TF_ROIALIGN_CC_CORE_CPU_SIMD_BOX_GRAD_INL_H_

#include <cstdint>

#include "cc/core/cpu/simd/blocks-inl.h"
#include "cc/core/cpu/simd/kernels.h"
#include "cc/core/cpu/simd/taps_view.h"
#include "cc/core/cpu/simd/vectors-inl.h"

namespace tf_roialign {
namespace TF_ROIALIGN_LEVEL {
namespace {

// g^T (dA / d box) f. The products of a bin's upstream with the pixels that it
// touches stay vectors, weighed along x and then along y, until the bin is
// done.
template <typename T>
void BoxGrad(const BoxTaps<Accumulator<T>>& taps, const T* grad_output,
             const T* image, int64_t row_stride, int64_t channels,
             double grad[4]) {
  using W = Accumulator<T>;
  const TapsView<W>& y = taps.y;
  const TapsView<W>& x = taps.x;
  double x1 = 0, y1 = 0, x2 = 0, y2 = 0;
  ForEachBlock<T>(channels, [&](auto block, int64_t c) {
    using B = decltype(block);
    using V = typename B::V;
    // Chains of sums: an addition takes as many cycles.
    constexpr int kSums = B::vectors < 4 ? B::vectors : 4;
    const T* bin = grad_output + c;
    for (int64_t p = 0; p < taps.pooled_height; ++p) {
      for (int64_t q = 0; q < taps.pooled_width; ++q, bin += channels) {
        Prefetch<B>(bin + 2 * channels);
        // Written out, as the products below: by how a single channel is
        // loaded GCC 12 decides what it fuses, and with that the last bit.
        V upstream[B::vectors];
#pragma GCC unroll 16
        for (int v = 0; v < B::vectors; ++v) {
          upstream[v] = B::L::Load(bin + v * B::lanes);
        }
        V bin_x1 = {}, bin_x2 = {}, bin_y1 = {}, bin_y2 = {};
        for (int64_t i = y.begin[p]; i < y.begin[p + 1]; ++i) {
          const T* row = image + y.pixel[i] * row_stride + c;
          V row_x1 = {}, row_x2 = {}, row_y = {};
          for (int64_t j = x.begin[q]; j < x.begin[q + 1]; ++j) {
            const T* pixel = row + x.pixel[j] * channels;
            V products[kSums] = {};
#pragma GCC unroll 16
            for (int v = 0; v < B::vectors; ++v) {
              products[v % kSums] +=
                  upstream[v] * B::L::Load(pixel + v * B::lanes);
            }
#pragma GCC unroll 4
            for (int s = 1; s < kSums; ++s) products[0] += products[s];
            row_x1 += x.slope1[j] * products[0];
            row_x2 += x.slope2[j] * products[0];
            row_y += x.weight[j] * products[0];
          }
          bin_x1 += y.weight[i] * row_x1;
          bin_x2 += y.weight[i] * row_x2;
          bin_y1 += y.slope1[i] * row_y;
          bin_y2 += y.slope2[i] * row_y;
        }
        x1 += Sum<W, B::lanes>(bin_x1);
        y1 += Sum<W, B::lanes>(bin_y1);
        x2 += Sum<W, B::lanes>(bin_x2);
        y2 += Sum<W, B::lanes>(bin_y2);
      }
    }
  });
  grad[0] = x1;
  grad[1] = y1;
  grad[2] = x2;
  grad[3] = y2;
}

}  // namespace
}  // namespace TF_ROIALIGN_LEVEL
}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CPU_SIMD_BOX_GRAD_INL_H_
