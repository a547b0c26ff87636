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

// Calls visit(p, q, y, x, weight) for each pixel that each sample of each bin
// reads; weights include the average. Coordinates are computed in T. AnyMap has
// the size and the scales of FeatureMap.
template <typename T, typename AnyMap>
void VisitPixels(const Params& params, const AnyMap& map, const T box[4],
                 const std::function<void(int64_t, int64_t, int64_t, int64_t,
                                          double)>& visit) {
  const int64_t height = map.height, width = map.width;
  const int64_t pooled_height = params.output_size.height;
  const int64_t pooled_width = params.output_size.width;
  const T scale_y = static_cast<T>(map.scale_y);
  const T scale_x = static_cast<T>(map.scale_x);
  const T offset = params.aligned ? T(0.5) : T(0);
  const T x1 = box[0] * scale_x - offset, y1 = box[1] * scale_y - offset;
  const T x2 = box[2] * scale_x - offset, y2 = box[3] * scale_y - offset;
  T box_height = y2 - y1, box_width = x2 - x1;
  if (!params.aligned) {
    box_height = std::max(box_height, T(1));
    box_width = std::max(box_width, T(1));
  }
  const T bin_height = box_height / pooled_height;
  const T bin_width = box_width / pooled_width;
  const int64_t ratio = params.sampling_ratio;
  const int64_t grid_y = ratio > 0 ? ratio : int64_t(std::ceil(bin_height));
  const int64_t grid_x = ratio > 0 ? ratio : int64_t(std::ceil(bin_width));
  if (grid_y <= 0 || grid_x <= 0) return;

  for (int64_t p = 0; p < pooled_height; ++p) {
    for (int64_t q = 0; q < pooled_width; ++q) {
      for (int64_t i = 0; i < grid_y; ++i) {
        for (int64_t j = 0; j < grid_x; ++j) {
          T y = y1 + p * bin_height + (i + T(0.5)) * bin_height / grid_y;
          T x = x1 + q * bin_width + (j + T(0.5)) * bin_width / grid_x;
          if (y < -1 || y > height || x < -1 || x > width) continue;
          y = std::max(y, T(0));
          x = std::max(x, T(0));
          int64_t y_low = int64_t(y), x_low = int64_t(x);
          int64_t y_high = y_low + 1, x_high = x_low + 1;
          double fy = double(y) - y_low, fx = double(x) - x_low;
          if (y_low >= height - 1) y_low = y_high = height - 1, fy = 0;
          if (x_low >= width - 1) x_low = x_high = width - 1, fx = 0;
          const double mean = 1.0 / (double(grid_y) * double(grid_x));
          visit(p, q, y_low, x_low, (1 - fy) * (1 - fx) * mean);
          visit(p, q, y_low, x_high, (1 - fy) * fx * mean);
          visit(p, q, y_high, x_low, fy * (1 - fx) * mean);
          visit(p, q, y_high, x_high, fy * fx * mean);
        }
      }
    }
  }
}

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_TESTING_NAIVE_ROI_ALIGN_H_
