// Blocks of channels, in which NCHW is worked through.

#ifndef TF_ROIALIGN_CC_CORE_CPU_CHANNEL_BLOCKS_H_
#define TF_ROIALIGN_CC_CORE_CPU_CHANNEL_BLOCKS_H_

#include <algorithm>
#include <cstdint>
#include <vector>

#include "cc/core/base/span.h"
#include "cc/core/call/feature_maps.h"
#include "cc/core/call/params.h"
#include "cc/core/cpu/tuning.h"

namespace tf_roialign {

// NCHW has no vectors over channels. So a block of channels is brought into the
// order of NHWC, as accumulators, run through the same kernels and brought
// back. Blocks are wide enough to fill vectors, and the map of one stays in
// cache.
class ChannelBlocks {
 public:
  // Of an image of a map.
  struct Block {
    int64_t index;
    Span channels;
  };
  struct Unit {
    int map;
    int64_t image;
    Block block;
  };

  template <typename T>
  ChannelBlocks(const Sizes& sizes, const FeatureMaps<T>& maps)
      : channels_(sizes.channels) {
    begin_.push_back(0);
    for (const FeatureMap<T>& map : maps) {
      widths_.push_back(map.pixels() <= kSmallPlane ? kBlockChannels
                                                    : kBlockChannels / 2);
      const int64_t count = this->count(int(widths_.size()) - 1);
      begin_.push_back(begin_.back() + sizes.batch * count);
      most_ = std::max(most_, count);
      widest_ = std::max(widest_, widths_.back());
      // About what a unit has of a map.
      elements_ =
          std::max(elements_, double(widths_.back()) * double(map.pixels()));
    }
  }

  // Of an image of map `map`.
  int64_t count(int map) const {
    return (channels_ + widths_[map] - 1) / widths_[map];
  }
  Block block(int map, int64_t i) const {
    const int64_t begin = i * widths_[map];
    return {i, {begin, std::min(begin + widths_[map], channels_)}};
  }
  // The most that an image of a map has.
  int64_t most() const { return most_; }
  // Channels of the widest block.
  int64_t widest() const { return widest_; }
  double elements() const { return elements_; }

  // The blocks of all images of all maps are what owners share out.
  int64_t units() const { return begin_.back(); }
  Unit unit(int64_t i) const {
    int map = 0;
    while (i >= begin_[map + 1]) ++map;
    i -= begin_[map];
    return {map, i / count(map), block(map, i % count(map))};
  }

 private:
  int64_t channels_;
  std::vector<int64_t> widths_;
  std::vector<int64_t> begin_;
  int64_t most_ = 0;
  int64_t widest_ = 0;
  double elements_ = 0;
};

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CPU_CHANNEL_BLOCKS_H_
