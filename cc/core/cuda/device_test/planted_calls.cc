// The calls that planted faults are looked for with.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <utility>
#include <vector>

#include "cc/core/cuda/device_test/paths.h"
#include "cc/core/cuda/device_test/planted_faults.h"
#include "cc/core/cuda/testing/box_tangent_call.h"
#include "cc/core/cuda/testing/device_call.h"
#include "cc/core/cuda/testing/kernel_call.h"
#include "cc/core/cuda/testing/quantized_call.h"
#include "cc/core/cuda/tuning.h"

namespace tf_roialign {
namespace {

constexpr ThreadOrder kOrder = ThreadOrder::kShuffled;
constexpr Layout kLayouts[] = {Layout::kNHWC, Layout::kNCHW};
// More bins along an axis than a block has in hand, and more pixels than a list
// has entries.
constexpr int kManyBins = cuda::kBinsInHand + 6;
constexpr int kLong = cuda::kMaxListTaps + 60;
// Boxes on one pixel, whose lists do not fit a tile at once.
constexpr int kManyBoxes = 12;
// More boxes than a block that groups them looks at in one round, or in four.
constexpr int kBoxesToGroup = 5 * cuda::kGroupingThreads + 7;
// More than a block of the feature gradient has at a time, in either layout.
constexpr int64_t kManyChannels = 137;

// Numbers for the corner of box `k` on one pixel.
std::vector<double> BoxOnOnePixel(std::mt19937* random) {
  std::uniform_real_distribution<double> unit(0, 1);
  const double x = 3 + unit(*random), y = 3 + unit(*random);
  return {0, x, y, x + unit(*random), y + unit(*random)};
}

// ---- Forward and gradients.

using FloatCall = KernelCall<float, float>;

FloatCall OnOneMap(Layout layout, const OutputSize& size, int ratio,
                   int64_t channels, int64_t height, int64_t width) {
  FloatCall call;
  call.params = {size, ratio, true, layout};
  call.sizes = {1, channels, 0};
  call.height = height;
  call.width = width;
  return call;
}

void AddForward(const FloatCall& call, std::vector<SmallCall>* calls) {
  calls->push_back([call] { ExpectForwardIsCpu(call, Forward(call, kOrder)); });
}
void AddBoxGrad(const FloatCall& call, std::vector<SmallCall>* calls) {
  calls->push_back([call] { ExpectBoxGradIsCpu(call, BoxGrad(call, kOrder)); });
}
void AddFeatureGrad(const FloatCall& call, std::vector<SmallCall>* calls) {
  calls->push_back(
      [call] { ExpectFeatureGradIsCpu(call, FeatureGrad(call, kOrder)); });
}

// Boxes of every kind, and few of them with more bins than a block has.
void AddSmall(Layout layout, std::vector<SmallCall>* calls) {
  for (const int ratio : {2, -1}) {
    for (const OutputSize& size : {OutputSize{3, 5}, OutputSize{1, kManyBins},
                                   OutputSize{kManyBins, 2}}) {
      FloatCall call = MakeCall<float, float>(41, layout, true, ratio, 8);
      call.params.output_size = size;
      if (size.height * size.width > 15) {
        call.sizes.boxes = 8;
        call.rows.resize(8 * 4);
        call.column.resize(8);
        call.Draw(42);
      }
      for (const Mode mode : kModes) {
        call.params.mode = mode;
        AddForward(call, calls);
        AddFeatureGrad(call, calls);
        AddBoxGrad(call, calls);
      }
    }
  }
}

// Lists of taps or samples that are made in pieces.
void AddLong(Layout layout, std::vector<SmallCall>* calls) {
  for (const bool wide : {false, true}) {
    FloatCall call = OnOneMap(layout, {wide ? 1 : 2, wide ? 5 : 1}, -1, 8,
                              wide ? 1 : kLong, wide ? kLong : 1);
    const double end = 0.99 * kLong * (wide ? 5 : 2);
    call.AddBox(0, -3, -2, wide ? end : 2, wide ? 1 : end);
    call.Draw(43);
    for (const Mode mode : kModes) {
      call.params.mode = mode;
      AddForward(call, calls);
      AddBoxGrad(call, calls);
    }
  }
  // No samples of y, whose list the threads look at again for other channels.
  FloatCall flat = OnOneMap(layout, {1, 5}, -1, 136, 1, kLong);
  flat.params.mode = Mode::kMax;
  flat.AddBox(0, -3, 0.5, 4.95 * kLong, 0.5);
  flat.Draw(43);
  AddForward(flat, calls);
  AddBoxGrad(flat, calls);
}

// A tile's lists that are filled again and again, by blocks of several slices
// of the channels, too.
void AddManyOnOnePixel(Layout layout, std::vector<SmallCall>* calls) {
  FloatCall call = OnOneMap(layout, {7, 7}, -1, kManyChannels, 6, 7);
  std::mt19937 random(44);
  for (int k = 0; k < kManyBoxes; ++k) {
    const std::vector<double> box = BoxOnOnePixel(&random);
    call.AddBox(box[0], box[1], box[2], box[3], box[4]);
  }
  call.Draw(45);
  for (const Mode mode : kModes) {
    call.params.mode = mode;
    AddFeatureGrad(call, calls);
    calls->push_back([call] {
      const FewBlocks few;
      ExpectFeatureGradIsCpu(call, FeatureGrad(call, kOrder));
    });
  }
}

// Of three images, the second of which has no boxes.
void AddBoxesToGroup(std::vector<SmallCall>* calls) {
  FloatCall call = OnOneMap(Layout::kNHWC, {1, 1}, 1, 1, 5, 4);
  call.sizes.batch = 3;
  std::mt19937 random(46);
  std::uniform_real_distribution<double> place(-1, 5);
  for (int k = 0; k < kBoxesToGroup; ++k) {
    const double x = place(random), y = place(random);
    call.AddBox(k % 3 == 0 ? 0 : 2, x, y, x + 1, y + 1);
  }
  call.Draw(47);
  AddFeatureGrad(call, calls);
}

// ---- Tangents and codes.

template <typename T>
using OpCall = Call<T, float>;

template <typename T>
OpCall<T> OnOneMap(const Params& params, int64_t channels, int64_t height,
                   int64_t width) {
  return RandomCall<T, float>(48, params, {1, channels, 0},
                              {{height, width, 1, 1}});
}

void AddTangent(const OpCall<float>& call, const OpCall<float>& on_cpu,
                std::vector<SmallCall>* calls) {
  calls->push_back([call, on_cpu] {
    const DeviceBoxes<float> boxes(call, BoxForm::kIndexed);
    ExpectTangentsNear(Tangent(call, boxes, kOrder),
                       BoxTangent(on_cpu, CurrentSimdLevel()), 4);
  });
}
// `terms`: for the tolerance.
void AddTangentGrad(const OpCall<float>& call, const OpCall<float>& on_cpu,
                    double terms, std::vector<SmallCall>* calls) {
  calls->push_back([call, on_cpu, terms] {
    const DeviceBoxes<float> boxes(call, BoxForm::kIndexed);
    const auto grad = TangentGrad(call, boxes, kOrder);
    const auto expected = BoxTangentGrad(on_cpu, CurrentSimdLevel());
    for (size_t m = 0; m < grad.size(); ++m) {
      ExpectTangentsNear(grad[m], expected[m], terms);
    }
  });
}
void AddOps(const OpCall<float>& call, const OpCall<float>& on_cpu,
            std::vector<SmallCall>* calls) {
  AddTangent(call, on_cpu, calls);
  AddTangentGrad(call, on_cpu, 60, calls);
}
template <typename T>
void AddOps(const OpCall<T>& call, const OpCall<T>& on_cpu,
            std::vector<SmallCall>* calls) {
  calls->push_back([call, on_cpu] {
    const DeviceBoxes<float> boxes(call, BoxForm::kIndexed);
    ExpectCodesNear(CodesOnDevice(call, boxes, 0.3f, 9, kOrder),
                    ForwardQuantized(on_cpu, 0.3f, 9, CurrentSimdLevel()));
  });
}

// Upstream and direction for boxes that were added.
template <typename T>
void Draw(OpCall<T>* call) {
  std::mt19937 random(49);
  call->direction = RandomNumbers<float>(call->sizes.boxes * 5, &random);
  call->grad_output = RandomNumbers<T>(
      call->sizes.boxes * call->bins() * call->sizes.channels, &random);
}

// What all ops have on these boxes, with channels that are loaded several at a
// time and one by one.
template <typename T>
void AddBoxes(std::vector<SmallCall>* calls) {
  for (const Layout layout : kLayouts) {
    for (const int64_t channels : {8, 3}) {
      OpCall<T> call =
          CallOnMaps<T, float>(50, {{3, 5}, -1, true, layout}, channels);
      // In the first pixels, before which a tap that is none would read.
      AddBox({0, -1, -1, 4, 4}, &call);
      Draw(&call);
      const OpCall<T> on_cpu = AddBadIndices(BoxForm::kIndexed, &call);
      AddOps(call, on_cpu, calls);
      // More bins than a block has in hand; lists that do not fit.
      OpCall<T> bins =
          OnOneMap<T>({{2, kManyBins}, -1, true, layout}, channels, 5, 6);
      AddBox({0, 1, 4, 5, 1}, &bins);
      AddBox({0, 1, NAN, 5, 1}, &bins);
      Draw(&bins);
      AddOps(bins, bins, calls);
      for (const bool wide : {false, true}) {
        OpCall<T> pixels =
            OnOneMap<T>({{wide ? 1 : 2, wide ? 5 : 1}, -1, true, layout},
                        channels, wide ? 1 : kLong, wide ? kLong : 1);
        const double end = 0.99 * kLong * (wide ? 5 : 2);
        AddBox({0, -3, -2, wide ? end : 2, wide ? 1 : end}, &pixels);
        Draw(&pixels);
        AddOps(pixels, pixels, calls);
      }
    }
  }
}

}  // namespace

std::vector<SmallCall> FloatCalls() {
  std::vector<SmallCall> calls;
  for (const Layout layout : kLayouts) {
    AddSmall(layout, &calls);
    AddLong(layout, &calls);
    AddManyOnOnePixel(layout, &calls);
  }
  AddBoxesToGroup(&calls);
  return calls;
}

std::vector<SmallCall> TangentCalls() {
  std::vector<SmallCall> calls;
  AddBoxes<float>(&calls);
  for (const Layout layout : kLayouts) {
    OpCall<float> call =
        OnOneMap<float>({{7, 7}, -1, true, layout}, kManyChannels, 6, 7);
    std::mt19937 random(51);
    for (int k = 0; k < kManyBoxes; ++k) AddBox(BoxOnOnePixel(&random), &call);
    Draw(&call);
    // All weights of a box on a pixel add up to about 49.
    AddTangentGrad(call, call, 49.0 * kManyBoxes, &calls);
  }
  return calls;
}

std::vector<SmallCall> CodeCalls() {
  std::vector<SmallCall> calls;
  AddBoxes<int8_t>(&calls);
  AddBoxes<int32_t>(&calls);
  return calls;
}

}  // namespace tf_roialign
