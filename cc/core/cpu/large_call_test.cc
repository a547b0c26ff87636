// What only large calls reach: many tiles, streaming stores, boxes enlarged so
// much that bins share their pixels, and more taps than are kept.

#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "cc/core/cpu/aligned_vector.h"
#include "cc/core/cpu/roi_align_cpu.h"
#include "cc/core/cpu/tuning.h"
#include "cc/core/dtypes/dtypes.h"
#include "cc/core/testing/any_dtype.h"
#include "cc/core/testing/expect.h"
#include "cc/core/testing/naive_roi_align.h"
#include "gtest/gtest.h"

namespace tf_roialign {
namespace {

template <typename T>
struct LargeCall {
  Params params;
  Sizes sizes;
  int64_t height;
  int64_t width;
  std::vector<float> rows;  // [K, 5]
  AlignedVector<T> features;
  AlignedVector<T> grad_output;

  Boxes<float> boxes() const {
    return {BoxForm::kIndexed, rows.data(), 5, sizes.boxes};
  }
  template <typename U>
  FeatureMap<U> map(U* data) const {
    return {data, height, width, 1, 1};
  }
  int64_t image(int64_t k) const { return k * sizes.batch / sizes.boxes; }
  // Strides over channels and places.
  int64_t feature(int64_t n, int64_t place, int64_t c) const {
    return Index(n, place, c, height * width);
  }
  int64_t bins() const {
    return params.pooled_height() * params.pooled_width();
  }
  int64_t bin(int64_t k, int64_t place, int64_t c) const {
    return Index(k, place, c, bins());
  }

 private:
  int64_t Index(int64_t n, int64_t place, int64_t c, int64_t places) const {
    return params.data_format == Layout::kNHWC
               ? (n * places + place) * sizes.channels + c
               : (n * sizes.channels + c) * places + place;
  }
};

template <typename T>
LargeCall<T> MakeCall(const Params& params, const Sizes& sizes, int64_t height,
                      int64_t width, double side) {
  std::mt19937 random(3);
  std::uniform_real_distribution<float> unit(0, 1);
  LargeCall<T> call = {params, sizes, height, width, {}, {}, {}};
  for (int64_t k = 0; k < sizes.boxes; ++k) {
    const float x = unit(random) * width - 1;
    const float y = unit(random) * height - 1;
    const float w = unit(random) * side, h = unit(random) * side;
    for (const float v : {float(call.image(k)), x, y, x + w, y + h}) {
      call.rows.push_back(v);
    }
  }
  const auto fill = [&](int64_t count, AlignedVector<T>* to) {
    for (int64_t i = 0; i < count; ++i) {
      to->push_back(FromDouble<T>(unit(random) * 2 - 1));
    }
  };
  fill(sizes.batch * height * width * sizes.channels, &call.features);
  fill(sizes.boxes * call.bins() * sizes.channels, &call.grad_output);
  return call;
}

// Aligned to a cache line, or `shift` elements off.
template <typename T>
AlignedVector<T> Forward(const LargeCall<T>& call, SimdLevel level,
                         int64_t shift = 0) {
  AlignedVector<T> output(call.grad_output.size() + shift);
  ExpectOk(RoiAlignForward({Serial, level}, call.params, call.sizes,
                           call.boxes(),
                           FeatureMaps<const T>(call.map(call.features.data())),
                           output.data() + shift));
  output.erase(output.begin(), output.begin() + shift);
  return output;
}

template <typename T>
AlignedVector<T> FeatureGrad(const LargeCall<T>& call, SimdLevel level,
                             int64_t shift = 0) {
  AlignedVector<T> grad(call.features.size() + shift, FromDouble<T>(77));
  ExpectOk(RoiAlignFeatureGrad({Serial, level}, call.params, call.sizes,
                               call.boxes(), call.grad_output.data(),
                               FeatureMaps<T>(call.map(grad.data() + shift))));
  grad.erase(grad.begin(), grad.begin() + shift);
  return grad;
}

// Some channels of all bins and pixels against the formulas.
template <typename T>
void ExpectNaive(const LargeCall<T>& call, double tolerance) {
  const SimdLevel level = UsableSimdLevels().back();
  const AlignedVector<T> output = Forward(call, level);
  const AlignedVector<T> grad = FeatureGrad(call, level);
  const int64_t plane = call.height * call.width;
  for (int64_t c = 0; c < call.sizes.channels;
       c += 1 + call.sizes.channels / 3) {
    std::vector<double> expected_grad(call.sizes.batch * plane, 0);
    std::vector<double> scale(expected_grad.size(), 1);
    for (int64_t k = 0; k < call.sizes.boxes; ++k) {
      std::vector<double> expected(call.bins(), 0);
      VisitPixels(
          call.params, call.map(call.features.data()), &call.rows[k * 5 + 1],
          [&](int64_t p, int64_t q, int64_t y, int64_t x, double weight) {
            const int64_t bin = p * call.params.pooled_width() + q;
            const int64_t place = y * call.width + x;
            const int64_t n = call.image(k);
            expected[bin] +=
                weight * ToDouble(call.features[call.feature(n, place, c)]);
            const double term =
                weight * ToDouble(call.grad_output[call.bin(k, bin, c)]);
            const int64_t at = n * plane + place;
            expected_grad[at] += term;
            scale[at] += std::abs(term);
          });
      for (int64_t i = 0; i < call.bins(); ++i) {
        ASSERT_NEAR(ToDouble(output[call.bin(k, i, c)]), expected[i], tolerance)
            << "box " << k << " bin " << i;
      }
    }
    for (size_t i = 0; i < expected_grad.size(); ++i) {
      ASSERT_NEAR(ToDouble(grad[call.feature(i / plane, i % plane, c)]),
                  expected_grad[i], tolerance * scale[i])
          << i;
    }
  }
}

template <typename T>
void ExpectManyTilesAreNaive(Layout layout) {
  ExpectNaive(MakeCall<T>({{7, 7}, 2, true, layout}, {2, 256, 300}, 64, 66, 20),
              Tolerance<T>());
  ExpectNaive(
      MakeCall<T>({{7, 7}, -1, true, layout}, {1, 512, 150}, 64, 66, 20),
      Tolerance<T>());
}

TEST(LargeCall, ManyTiles) {
  for (const Layout layout : {Layout::kNHWC, Layout::kNCHW}) {
#define TF_ROIALIGN_EXPECT(T, ...) ExpectManyTilesAreNaive<T>(layout);
    TF_ROIALIGN_FOR_EACH_FLOAT(TF_ROIALIGN_EXPECT)
#undef TF_ROIALIGN_EXPECT
  }
}

template <typename T>
void ExpectEnlargedBoxesAreNaive(Layout layout) {
  ExpectNaive(MakeCall<T>({{14, 14}, 2, true, layout}, {1, 70, 90}, 40, 50, 4),
              Tolerance<T>());
  ExpectNaive(MakeCall<T>({{14, 14}, 3, false, layout}, {1, 70, 90}, 40, 50, 4),
              Tolerance<T>());
}

TEST(LargeCall, EnlargedBoxes) {
  for (const Layout layout : {Layout::kNHWC, Layout::kNCHW}) {
#define TF_ROIALIGN_EXPECT(T, ...) ExpectEnlargedBoxesAreNaive<T>(layout);
    TF_ROIALIGN_FOR_EACH_FLOAT(TF_ROIALIGN_EXPECT)
#undef TF_ROIALIGN_EXPECT
  }
}

TEST(LargeCall, MoreTapsThanAreKept) {
  ExpectNaive(MakeCall<float>({{14, 14}, 2, true, Layout::kNHWC}, {1, 2, 24000},
                              70, 300, 30),
              1e-5);
}

// They add to it in several turns.
TEST(LargeCall, MoreBoxesInATileThanWaitForEachOther) {
  constexpr int64_t kBoxes = 4 * kTilePartsHeld + 3;
  ExpectNaive(MakeCall<float>({{2, 2}, 2, true, Layout::kNHWC}, {1, 3, kBoxes},
                              18, 26, 9),
              1e-5);
}

TEST(LargeCall, StreamingStoresTheSameBits) {
  const LargeCall<float> call = MakeCall<float>(
      {{7, 7}, 2, true, Layout::kNHWC}, {2, 256, 300}, 64, 66, 20);
  for (const SimdLevel level : UsableSimdLevels()) {
    ExpectSameBits(Forward(call, level), Forward(call, level, 1));
    ExpectSameBits(FeatureGrad(call, level), FeatureGrad(call, level, 1));
  }
}

}  // namespace
}  // namespace tf_roialign
