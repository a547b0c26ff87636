// What only large calls reach: many tiles, streaming stores, boxes enlarged so
// much that bins share their pixels, and more taps than are kept.

#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "cc/core/cpu/aligned_vector.h"
#include "cc/core/cpu/roi_align_cpu.h"
#include "cc/core/testing/naive_roi_align.h"
#include "gtest/gtest.h"

namespace tf_roialign {
namespace {

float ToFloat(float value) { return value; }

template <typename T>
T FromFloat(float value) {
  if constexpr (std::is_same_v<T, BFloat16>) {
    return ToBFloat16(value);
  } else {
    return value;
  }
}

template <typename T>
struct LargeCall {
  Params params;
  Sizes sizes;
  std::vector<float> rows;  // [K, 5]
  std::vector<int64_t> image;
  AlignedVector<T> features;
  AlignedVector<T> grad_output;

  BoxTable<float> boxes() const {
    return {rows.data(), 5, sizes.boxes, image.data()};
  }
  // Strides over channels and places.
  int64_t feature(int64_t n, int64_t place, int64_t c) const {
    return Index(n, place, c, sizes.height * sizes.width);
  }
  int64_t bin(int64_t k, int64_t place, int64_t c) const {
    return Index(k, place, c, params.pooled_height * params.pooled_width);
  }

 private:
  int64_t Index(int64_t n, int64_t place, int64_t c, int64_t places) const {
    return params.layout == Layout::kNHWC
               ? (n * places + place) * sizes.channels + c
               : (n * sizes.channels + c) * places + place;
  }
};

template <typename T>
LargeCall<T> MakeCall(const Params& params, const Sizes& sizes, double side) {
  std::mt19937 random(3);
  std::uniform_real_distribution<float> unit(0, 1);
  LargeCall<T> call;
  call.params = params;
  call.sizes = sizes;
  for (int64_t k = 0; k < sizes.boxes; ++k) {
    const int64_t n = (k * sizes.batch) / sizes.boxes;
    const float x = unit(random) * sizes.width - 1;
    const float y = unit(random) * sizes.height - 1;
    const float w = unit(random) * side, h = unit(random) * side;
    call.image.push_back(n);
    for (const float v : {float(n), x, y, x + w, y + h}) call.rows.push_back(v);
  }
  const auto fill = [&](int64_t count, AlignedVector<T>* to) {
    for (int64_t i = 0; i < count; ++i) {
      to->push_back(FromFloat<T>(unit(random) * 2 - 1));
    }
  };
  fill(sizes.batch * sizes.height * sizes.width * sizes.channels,
       &call.features);
  fill(
      sizes.boxes * params.pooled_height * params.pooled_width * sizes.channels,
      &call.grad_output);
  return call;
}

// Aligned to a cache line, or `shift` elements off.
template <typename T>
AlignedVector<T> Forward(const LargeCall<T>& call, SimdLevel level,
                         int64_t shift = 0) {
  AlignedVector<T> output(call.grad_output.size() + shift);
  RoiAlignForward({Serial, level}, call.params, call.sizes, call.boxes(),
                  call.features.data(), output.data() + shift);
  output.erase(output.begin(), output.begin() + shift);
  return output;
}

template <typename T>
AlignedVector<T> FeatureGrad(const LargeCall<T>& call, SimdLevel level,
                             int64_t shift = 0) {
  AlignedVector<T> grad(call.features.size() + shift, FromFloat<T>(77));
  RoiAlignFeatureGrad({Serial, level}, call.params, call.sizes, call.boxes(),
                      call.grad_output.data(), grad.data() + shift);
  grad.erase(grad.begin(), grad.begin() + shift);
  return grad;
}

// Some channels of all bins and pixels against the formulas.
template <typename T>
void ExpectNaive(const LargeCall<T>& call, double tolerance) {
  const SimdLevel level = UsableSimdLevels().back();
  const AlignedVector<T> output = Forward(call, level);
  const AlignedVector<T> grad = FeatureGrad(call, level);
  const int64_t bins = call.params.pooled_height * call.params.pooled_width;
  for (int64_t c = 0; c < call.sizes.channels;
       c += 1 + call.sizes.channels / 3) {
    std::vector<double> expected_grad(
        call.sizes.batch * call.sizes.height * call.sizes.width, 0);
    std::vector<double> scale(expected_grad.size(), 1);
    for (int64_t k = 0; k < call.sizes.boxes; ++k) {
      std::vector<double> expected(bins, 0);
      VisitPixels(
          call.params, call.sizes.height, call.sizes.width,
          &call.rows[k * 5 + 1],
          [&](int64_t p, int64_t q, int64_t y, int64_t x, double weight) {
            const int64_t bin = p * call.params.pooled_width + q;
            const int64_t place = y * call.sizes.width + x;
            const int64_t n = call.image[k];
            expected[bin] +=
                weight * ToFloat(call.features[call.feature(n, place, c)]);
            const double term =
                weight * ToFloat(call.grad_output[call.bin(k, bin, c)]);
            const int64_t at = n * call.sizes.height * call.sizes.width + place;
            expected_grad[at] += term;
            scale[at] += std::abs(term);
          });
      for (int64_t i = 0; i < bins; ++i) {
        ASSERT_NEAR(ToFloat(output[call.bin(k, i, c)]), expected[i], tolerance)
            << "box " << k << " bin " << i;
      }
    }
    const int64_t plane = call.sizes.height * call.sizes.width;
    for (size_t i = 0; i < expected_grad.size(); ++i) {
      ASSERT_NEAR(ToFloat(grad[call.feature(i / plane, i % plane, c)]),
                  expected_grad[i], tolerance * scale[i])
          << i;
    }
  }
}

template <typename T>
void ExpectSameBits(const AlignedVector<T>& a, const AlignedVector<T>& b) {
  ASSERT_EQ(a.size(), b.size());
  EXPECT_EQ(std::memcmp(a.data(), b.data(), a.size() * sizeof(T)), 0);
}

constexpr double kFloat = 3e-6, kBFloat16 = 1.6e-2;

TEST(LargeCall, ManyTiles) {
  for (const Layout layout : {Layout::kNHWC, Layout::kNCHW}) {
    ExpectNaive(
        MakeCall<float>({7, 7, 1, 2, true, layout}, {2, 64, 66, 256, 300}, 20),
        kFloat);
    ExpectNaive(MakeCall<BFloat16>({7, 7, 1, -1, true, layout},
                                   {1, 64, 66, 512, 150}, 20),
                kBFloat16);
  }
}

TEST(LargeCall, EnlargedBoxes) {
  for (const Layout layout : {Layout::kNHWC, Layout::kNCHW}) {
    ExpectNaive(
        MakeCall<float>({14, 14, 1, 2, true, layout}, {1, 40, 50, 70, 90}, 4),
        kFloat);
    ExpectNaive(MakeCall<BFloat16>({14, 14, 1, 3, false, layout},
                                   {1, 40, 50, 70, 90}, 4),
                kBFloat16);
  }
}

TEST(LargeCall, MoreTapsThanAreKept) {
  ExpectNaive(MakeCall<float>({14, 14, 1, 2, true, Layout::kNHWC},
                              {1, 70, 300, 2, 24000}, 30),
              1e-5);
}

TEST(LargeCall, StreamingStoresTheSameBits) {
  const LargeCall<float> call = MakeCall<float>(
      {7, 7, 1, 2, true, Layout::kNHWC}, {2, 64, 66, 256, 300}, 20);
  for (const SimdLevel level : UsableSimdLevels()) {
    ExpectSameBits(Forward(call, level), Forward(call, level, 1));
    ExpectSameBits(FeatureGrad(call, level), FeatureGrad(call, level, 1));
  }
}

}  // namespace
}  // namespace tf_roialign
