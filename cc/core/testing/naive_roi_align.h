// RoIAlign sample by sample, in double, straight from its formulas: what the
// tests hold the kernels against. Shares no code with them.

#ifndef TF_ROIALIGN_CC_CORE_TESTING_NAIVE_ROI_ALIGN_H_
#define TF_ROIALIGN_CC_CORE_TESTING_NAIVE_ROI_ALIGN_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>

#include "cc/core/call/params.h"

namespace tf_roialign {

// A sample of a bin [p, q].
struct NaiveSample {
  int64_t p, q;
  bool is_inside;  // else nothing of the rest counts
  int64_t y_low, y_high, x_low, x_high;
  double fy, fx;  // weights of the high pixels
  double mean;    // 1 / samples of the bin
  // By which its coordinates follow the box's, x1, y1, x2, y2.
  double slope[4];
};

// Calls visit(sample) for each, row by row. Coordinates are computed in T.
// AnyMap has the size and the scales of FeatureMap.
template <typename T, typename AnyMap>
void VisitSamples(const Params& params, const AnyMap& map, const T box[4],
                  const std::function<void(const NaiveSample&)>& visit) {
  const int64_t height = map.height, width = map.width;
  const int64_t pooled_height = params.output_size.height;
  const int64_t pooled_width = params.output_size.width;
  const T scale_y = static_cast<T>(map.scale_y);
  const T scale_x = static_cast<T>(map.scale_x);
  const T offset = params.aligned ? T(0.5) : T(0);
  const T x1 = box[0] * scale_x - offset, y1 = box[1] * scale_y - offset;
  const T x2 = box[2] * scale_x - offset, y2 = box[3] * scale_y - offset;
  T box_height = y2 - y1, box_width = x2 - x1;
  const bool raised_y = !params.aligned && box_height < T(1);
  const bool raised_x = !params.aligned && box_width < T(1);
  if (raised_y) box_height = T(1);
  if (raised_x) box_width = T(1);
  const T bin_height = box_height / pooled_height;
  const T bin_width = box_width / pooled_width;
  const int64_t ratio = params.sampling_ratio;
  const int64_t grid_y = ratio > 0 ? ratio : int64_t(std::ceil(bin_height));
  const int64_t grid_x = ratio > 0 ? ratio : int64_t(std::ceil(bin_width));
  if (grid_y <= 0 || grid_x <= 0) return;

  NaiveSample sample;
  sample.mean = 1.0 / (double(grid_y) * double(grid_x));
  for (int64_t p = 0; p < pooled_height; ++p) {
    for (int64_t q = 0; q < pooled_width; ++q) {
      for (int64_t i = 0; i < grid_y; ++i) {
        for (int64_t j = 0; j < grid_x; ++j) {
          sample.p = p, sample.q = q;
          T y = y1 + p * bin_height + (i + T(0.5)) * bin_height / grid_y;
          T x = x1 + q * bin_width + (j + T(0.5)) * bin_width / grid_x;
          sample.is_inside = !(y < -1 || y > height || x < -1 || x > width);
          if (!sample.is_inside) {
            visit(sample);
            continue;
          }
          bool moves_y = y >= 0, moves_x = x >= 0;
          y = std::max(y, T(0));
          x = std::max(x, T(0));
          int64_t y_low = int64_t(y), x_low = int64_t(x);
          int64_t y_high = y_low + 1, x_high = x_low + 1;
          double fy = double(y) - y_low, fx = double(x) - x_low;
          if (y_low >= height - 1) {
            y_low = y_high = height - 1, fy = 0, moves_y = false;
          }
          if (x_low >= width - 1) {
            x_low = x_high = width - 1, fx = 0, moves_x = false;
          }
          sample.y_low = y_low, sample.y_high = y_high, sample.fy = fy;
          sample.x_low = x_low, sample.x_high = x_high, sample.fx = fx;
          const double along_y =
              raised_y ? 0 : (p + (i + 0.5) / grid_y) / pooled_height;
          const double along_x =
              raised_x ? 0 : (q + (j + 0.5) / grid_x) / pooled_width;
          sample.slope[0] = moves_x ? scale_x * (1 - along_x) : 0;
          sample.slope[1] = moves_y ? scale_y * (1 - along_y) : 0;
          sample.slope[2] = moves_x ? scale_x * along_x : 0;
          sample.slope[3] = moves_y ? scale_y * along_y : 0;
          visit(sample);
        }
      }
    }
  }
}

using VisitPixel = std::function<void(int64_t p, int64_t q, int64_t y,
                                      int64_t x, double weight)>;

// Calls visit(p, q, y, x, weight) for each pixel that each sample of each bin
// reads; weights include the average.
template <typename T, typename AnyMap>
void VisitPixels(const Params& params, const AnyMap& map, const T box[4],
                 const VisitPixel& visit) {
  VisitSamples(params, map, box, [&](const NaiveSample& s) {
    if (!s.is_inside) return;
    visit(s.p, s.q, s.y_low, s.x_low, (1 - s.fy) * (1 - s.fx) * s.mean);
    visit(s.p, s.q, s.y_low, s.x_high, (1 - s.fy) * s.fx * s.mean);
    visit(s.p, s.q, s.y_high, s.x_low, s.fy * (1 - s.fx) * s.mean);
    visit(s.p, s.q, s.y_high, s.x_high, s.fy * s.fx * s.mean);
  });
}

// The same with what the weights change by as the box moves along `direction`.
template <typename T, typename AnyMap>
void VisitWeightTangents(const Params& params, const AnyMap& map,
                         const T box[4], const double direction[4],
                         const VisitPixel& visit) {
  VisitSamples(params, map, box, [&](const NaiveSample& s) {
    if (!s.is_inside) return;
    // Terms apart: a sum of magnitudes is to have all.
    for (int corner = 0; corner < 2; ++corner) {
      const int i = 2 * corner;
      const double dx = s.slope[i] * direction[i] * s.mean;
      const double dy = s.slope[i + 1] * direction[i + 1] * s.mean;
      visit(s.p, s.q, s.y_low, s.x_low, -dy * (1 - s.fx));
      visit(s.p, s.q, s.y_low, s.x_low, -dx * (1 - s.fy));
      visit(s.p, s.q, s.y_low, s.x_high, -dy * s.fx);
      visit(s.p, s.q, s.y_low, s.x_high, dx * (1 - s.fy));
      visit(s.p, s.q, s.y_high, s.x_low, dy * (1 - s.fx));
      visit(s.p, s.q, s.y_high, s.x_low, -dx * s.fy);
      visit(s.p, s.q, s.y_high, s.x_high, dy * s.fx);
      visit(s.p, s.q, s.y_high, s.x_high, dx * s.fy);
    }
  });
}

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_TESTING_NAIVE_ROI_ALIGN_H_
