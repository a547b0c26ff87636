// The most scratch memory that a call on CPU takes, beside its inputs and
// outputs. scratch_test counts what calls allocate and holds it against this;
// docs/notes/threads-and-memory.md shows the formulas and says what they are
// of.

#ifndef TF_ROIALIGN_CC_CORE_CPU_SCRATCH_BOUND_H_
#define TF_ROIALIGN_CC_CORE_CPU_SCRATCH_BOUND_H_

#include <algorithm>
#include <cstddef>
#include <limits>

#include "cc/core/call/op.h"
#include "cc/core/call/params.h"
#include "cc/core/call/signature.h"
#include "cc/core/cpu/tuning.h"

namespace tf_roialign {

// In bytes, as a double: sizes may be any.
class ScratchBound {
 public:
  // `element`, `accumulator`: bytes of a feature, and of what it is summed in.
  // `threads`: that work on the call at once. `blocks`: in which the host hands
  // out the boxes.
  ScratchBound(const Params& params, const Signature& signature, size_t element,
               size_t accumulator, int threads, int blocks)
      : is_nhwc(params.data_format == Layout::kNHWC),
        is_max(params.mode == Mode::kMax),
        boxes(double(signature.sizes.boxes)),
        channels(double(signature.sizes.channels)),
        images(double(signature.sizes.batch) * signature.map_count),
        pooled_height(double(params.pooled_height())),
        pooled_width(double(params.pooled_width())),
        ratio(params.sampling_ratio > 0
                  ? double(params.sampling_ratio)
                  : std::numeric_limits<double>::infinity()),
        element(double(element)),
        accumulator(double(accumulator)),
        threads(threads),
        blocks(std::min(boxes, double(blocks))) {
    for (int m = 0; m < signature.map_count; ++m) {
      const double of_map =
          double(signature.maps[m].height) * double(signature.maps[m].width);
      height = std::max(height, double(signature.maps[m].height));
      width = std::max(width, double(signature.maps[m].width));
      largest = std::max(largest, of_map);
      pixels += of_map * double(signature.sizes.batch);
    }
  }

  double Of(Op op) const {
    switch (op) {
      case Op::kForward:
      case Op::kForwardQuantized:
        return Forward();
      case Op::kFeatureGrad:
        return FeatureGrad(1);
      case Op::kMaxFeatureGrad:
        return MaxFeatureGrad();
      case Op::kBoxGrad:
        return BoxGrad();
      case Op::kBoxTangent:
        return BoxTangent();
      case Op::kBoxTangentGrad:
        return FeatureGrad(2);
    }
    return 0;
  }

 private:
  static constexpr double kKB = 1024;

  // [formulas] -- From here on they stand in the notes, too.
  double Forward() const {
    return Call() + threads * (Walk(160) + (is_nhwc ? Sweep() : Block())) +
           (is_nhwc ? 0 : Group());
  }
  double BoxGrad() const {
    return Forward() + 32 * boxes *
                           (is_nhwc ? pooled_height * (channels / 64 + 1)
                                    : channels / 32 + 1);
  }
  double FeatureGrad(double products) const {
    return Call() + Table(products * boxes * (256 + 64 * Points())) +
           threads * (Walk(320) + (is_nhwc ? TileOfMap() : Block()));
  }
  double MaxFeatureGrad() const {
    return Call() + Table(boxes * (320 + 112 * Points())) +
           (is_nhwc ? boxes * Bins() * Winner() : 0) +
           threads * (Walk(160) + (is_nhwc ? TileOfMap() : 3 * Block()));
  }
  double BoxTangent() const {
    return Call() + largest * channels * accumulator +
           threads * (Walk(320) + 2 * Bins() * accumulator);
  }

  // The image and map of each box, the schedule and its sort, and the strips
  // that are swept.
  double Call() const {
    return 64 * kKB + 160 * boxes + 192 * images + 8 * height;
  }

  // Taps of a box on both axes, or samples for mode "max".
  double Points() const {
    return is_max ? std::min(2 * height + 10 * pooled_height,
                             ratio * pooled_height) +
                        std::min(2 * width + 10 * pooled_width,
                                 ratio * pooled_width)
                  : std::min(height + 3 * pooled_height,
                             2 * ratio * pooled_height) +
                        std::min(width + 3 * pooled_width,
                                 2 * ratio * pooled_width);
  }
  // What a thread makes of one box.
  double Walk(double bytes) const {
    return 16 * kKB + bytes * (Points() + pooled_height + pooled_width);
  }
  // Taps of all boxes for all owners of a gradient's parts. There are none if
  // they would take more.
  double Table(double bytes) const {
    return std::min(bytes, 8 * kTapTableBytes) + blocks * 33 * kKB;
  }
  // A thread's boxes that go through the map together.
  double Sweep() const {
    if (is_max || largest * channels * element < double(kSweptWindowBytes)) {
      return 0;
    }
    return Walk(160) +
           160 * std::min(boxes * (Points() + kSweptBoxTaps),
                          2.0 * kSweptTapsHeld + Points()) +
           6 * (double(kSweepBytes) + pooled_width * 64 * accumulator) +
           3 * std::min(width, double(kMostSweptColumns)) * 64 * element;
  }
  // A thread's tile of a gradient, and what is added to it.
  double TileOfMap() const {
    return std::max(double(kTileBytes), channels * accumulator) +
           pooled_width * std::min(channels, 256.0) * accumulator +
           600 * double(kTilePartsHeld) + 24 * boxes;
  }
  // A thread's block of channels of NCHW: of a map, or of a window, and of a
  // box's bins. Vectors that grow take up to three times what is in them.
  double Block() const {
    const double of_channels = std::min(channels, double(kBlockChannels));
    return 3 * of_channels * accumulator *
               (largest + pooled_height * pooled_width) +
           pooled_width * double(kBlockChannels) * accumulator;
  }
  // Blocks that threads make together.
  double Group() const {
    return std::min(
        pixels * channels * accumulator,
        std::max(kGroupBytes, double(kBlockChannels) * largest * accumulator));
  }
  // Bins of a box, of all channels.
  double Bins() const { return pooled_height * pooled_width * channels; }
  // The number of a sample of a bin.
  double Winner() const { return ratio * ratio <= 256 ? 1 : 4; }
  // [formulas]

  bool is_nhwc;
  bool is_max;
  double boxes;
  double channels;
  double images;  // of all maps
  double pooled_height;
  double pooled_width;
  double ratio;  // samples of a bin and axis; infinite: any number
  double element;
  double accumulator;
  double threads;
  double blocks;
  double height = 0;   // of the highest map
  double width = 0;    // of the widest
  double largest = 0;  // pixels of the largest
  double pixels = 0;   // of all images of all maps
};

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CPU_SCRATCH_BOUND_H_
