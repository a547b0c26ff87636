// The samples of both axes of a box, for mode "max".

#ifndef TF_ROIALIGN_CC_CORE_CPU_BOX_SAMPLES_H_
#define TF_ROIALIGN_CC_CORE_CPU_BOX_SAMPLES_H_

#include <algorithm>
#include <cstdint>
#include <vector>

#include "cc/core/call/feature_maps.h"
#include "cc/core/call/params.h"
#include "cc/core/cpu/arena.h"
#include "cc/core/cpu/axis_on_map.h"
#include "cc/core/cpu/simd/samples_view.h"
#include "cc/core/geometry/box_axes.h"
#include "cc/core/geometry/max_samples.h"

namespace tf_roialign {

// Reused from box to box: after the first few it allocates nothing.
template <typename W>
class AxisSamples {
 public:
  template <typename B>
  void Build(const AxisOnMap<B, int64_t>& box) {
    begin_.assign(1, 0);
    samples_.clear();
    most_ = 0;
    for (int64_t p = 0; p < box.pooled; ++p) {
      MaxSamples<B, int64_t> of_bin(box, p);
      MaxSample<B> sample;
      while (of_bin.Next(&sample)) {
        samples_.push_back(WeighSample<W>(box, p, sample));
      }
      begin_.push_back(static_cast<int64_t>(samples_.size()));
      most_ = std::max(most_, begin_[p + 1] - begin_[p]);
    }
  }

  // Of one bin.
  int64_t most() const { return most_; }

  SamplesView<W> view() const {
    return {begin_.data(), samples_.data(), most_};
  }

  // For longer than until the next Build.
  SamplesView<W> CopyTo(Arena* arena) const {
    return {arena->Copy(begin_.data(), static_cast<int64_t>(begin_.size())),
            arena->Copy(samples_.data(), static_cast<int64_t>(samples_.size())),
            most_};
  }

 private:
  std::vector<int64_t> begin_;
  std::vector<AxisSample<W, int64_t>> samples_;
  int64_t most_ = 0;
};

template <typename W>
class BoxSamplesBuilder {
 public:
  template <typename Any, typename B>
  BoxSamples<W> Build(const Params& params, const FeatureMap<Any>& map,
                      const BoxAxes<B>& axes) {
    pooled_ = params.output_size;
    y_.Build(AxisOnMapY(params, map, axes));
    x_.Build(AxisOnMapX(params, map, axes));
    return view();
  }

  BoxSamples<W> view() const {
    return {pooled_.height, pooled_.width, y_.view(), x_.view()};
  }

  // For longer than until the next Build.
  BoxSamples<W> CopyTo(Arena* arena) const {
    return {pooled_.height, pooled_.width, y_.CopyTo(arena), x_.CopyTo(arena)};
  }

  // Of one bin.
  int64_t most() const { return y_.most() * x_.most(); }

 private:
  OutputSize pooled_;
  AxisSamples<W> y_;
  AxisSamples<W> x_;
};

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CPU_BOX_SAMPLES_H_
