// Maps whose pixels are not square in the image: a scale for each axis.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "cc/core/cpu/roi_align_cpu.h"
#include "cc/core/dtypes/dtypes.h"
#include "cc/core/testing/any_dtype.h"
#include "cc/core/testing/cpu_call.h"
#include "cc/core/testing/expect.h"
#include "cc/core/testing/naive_roi_align.h"
#include "gtest/gtest.h"

namespace tf_roialign {
namespace {

template <typename T, typename B>
Call<T, B> CallOfScales(Layout layout, bool aligned, int ratio, double scale_y,
                        double scale_x) {
  return RandomCall<T, B>(6, {{3, 4}, ratio, aligned, layout}, {2, 21, 24},
                          {{15, 13, scale_y, scale_x}});
}

// Calls check(layout, aligned, ratio).
template <typename Check>
void ForEachKind(const Check& check) {
  for (const Layout layout : {Layout::kNHWC, Layout::kNCHW}) {
    for (const bool aligned : {false, true}) {
      for (const int ratio : {-1, 2}) check(layout, aligned, ratio);
    }
  }
}

// The sum of the outputs of box k, each times its upstream.
double NaiveLoss(const Call<double, double>& call, int64_t k,
                 const double box[4]) {
  double loss = 0;
  VisitPixels(call.params, call.maps[0], box,
              [&](int64_t p, int64_t q, int64_t y, int64_t x, double weight) {
                for (int64_t c = 0; c < call.sizes.channels; ++c) {
                  loss +=
                      weight * call.grad_output[call.bin(k, p, q, c)] *
                      call.features[0][call.pixel(0, call.image(k), y, x, c)];
                }
              });
  return loss;
}

void ExpectNaiveForwardAndFeatureGrad(const Call<double, double>& call) {
  std::vector<double> output(call.grad_output.size(), 0);
  std::vector<double> grad(call.features[0].size(), 0);
  for (int64_t k = 0; k < call.sizes.boxes; ++k) {
    VisitPixels(call.params, call.maps[0], &call.rows[k * 5 + 1],
                [&](int64_t p, int64_t q, int64_t y, int64_t x, double weight) {
                  for (int64_t c = 0; c < call.sizes.channels; ++c) {
                    const int64_t pixel = call.pixel(0, call.image(k), y, x, c);
                    const int64_t bin = call.bin(k, p, q, c);
                    output[bin] += weight * call.features[0][pixel];
                    grad[pixel] += weight * call.grad_output[bin];
                  }
                });
  }
  for (const SimdLevel level : UsableSimdLevels()) {
    const std::vector<double> got = Forward(call, level);
    for (size_t i = 0; i < output.size(); ++i) {
      ASSERT_NEAR(got[i], output[i], 1e-13) << SimdLevelName(level);
    }
    const std::vector<double> got_grad = FeatureGrad(call, level)[0];
    for (size_t i = 0; i < grad.size(); ++i) {
      ASSERT_NEAR(got_grad[i], grad[i], 1e-12) << SimdLevelName(level);
    }
  }
}

void ExpectNaiveBoxGrad(const Call<double, double>& call) {
  const double step = 1e-6;
  std::vector<std::vector<double>> grads;
  for (const SimdLevel level : UsableSimdLevels()) {
    grads.push_back(BoxGrad(call, level));
  }
  int compared = 0;
  for (int64_t k = 0; k < call.sizes.boxes; ++k) {
    for (int i = 0; i < 4; ++i) {
      const auto loss = [&](double shift) {
        double box[4];
        std::copy_n(&call.rows[k * 5 + 1], 4, box);
        box[i] += shift;
        return NaiveLoss(call, k, box);
      };
      // Not where the step meets a kink or a jump.
      const double middle = loss(0);
      const double left = (middle - loss(-step)) / step;
      const double right = (loss(step) - middle) / step;
      if (std::abs(left - right) > 1e-3 * (1 + std::abs(left))) continue;
      for (const std::vector<double>& grad : grads) {
        ASSERT_NEAR(grad[k * 5 + 1 + i], (left + right) / 2,
                    1e-5 * (1 + std::abs(left)))
            << "box " << k << " coordinate " << i;
      }
      ++compared;
    }
  }
  EXPECT_GT(compared, call.sizes.boxes * 4 * 8 / 10);
}

TEST(ScalePerAxis, IsNaive) {
  ForEachKind([](Layout layout, bool aligned, int ratio) {
    for (const auto& [y, x] :
         {std::pair<double, double>{0.8, 0.37}, {0.3, 1.7}}) {
      const auto call =
          CallOfScales<double, double>(layout, aligned, ratio, y, x);
      ExpectNaiveForwardAndFeatureGrad(call);
      ExpectNaiveBoxGrad(call);
    }
  });
}

// Powers of two round nothing, so scaled boxes are the same to the last bit.
template <typename T, typename B>
void ExpectScaledBoxes(Layout layout, bool aligned, int ratio) {
  const double scale_y = 0.25, scale_x = 2;
  const auto call =
      CallOfScales<T, B>(layout, aligned, ratio, scale_y, scale_x);
  Call<T, B> scaled = call;
  scaled.maps[0].scale_y = scaled.maps[0].scale_x = 1;
  for (auto* rows : {&scaled.rows, &scaled.direction}) {
    for (int64_t k = 0; k < call.sizes.boxes; ++k) {
      for (int i : {1, 3}) (*rows)[k * 5 + i] *= B(scale_x);
      for (int i : {2, 4}) (*rows)[k * 5 + i] *= B(scale_y);
    }
  }
  for (const SimdLevel level : UsableSimdLevels()) {
    ExpectSameBits(Forward(call, level), Forward(scaled, level));
    ExpectSameBits(FeatureGrad(call, level)[0], FeatureGrad(scaled, level)[0]);
    std::vector<B> box_grad = BoxGrad(scaled, level);
    for (int64_t k = 0; k < call.sizes.boxes; ++k) {
      for (int i : {1, 3}) box_grad[k * 5 + i] *= B(scale_x);
      for (int i : {2, 4}) box_grad[k * 5 + i] *= B(scale_y);
    }
    ExpectSameBits(BoxGrad(call, level), box_grad);
    ExpectSameBits(BoxTangent(call, level), BoxTangent(scaled, level));
    ExpectSameBits(BoxTangentGrad(call, level)[0],
                   BoxTangentGrad(scaled, level)[0]);
  }
}

TEST(ScalePerAxis, IsThatOfTheBoxes) {
  ForEachKind([](Layout layout, bool aligned, int ratio) {
#define TF_ROIALIGN_EXPECT(T, ...)                     \
  ExpectScaledBoxes<T, float>(layout, aligned, ratio); \
  ExpectScaledBoxes<T, double>(layout, aligned, ratio);
    TF_ROIALIGN_FOR_EACH_FLOAT(TF_ROIALIGN_EXPECT)
#undef TF_ROIALIGN_EXPECT
  });
}

}  // namespace
}  // namespace tf_roialign
