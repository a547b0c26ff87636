// Every path of the kernels of the box tangent, of its transpose and of codes,
// for each dtype of features and of boxes: what box_tangent_test.cc and
// quantized_test.cc have for some of them.

#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "cc/core/call/level_rule.h"
#include "cc/core/cuda/device_test/paths.h"
#include "cc/core/cuda/testing/box_tangent_call.h"
#include "cc/core/cuda/testing/device_call.h"
#include "cc/core/cuda/testing/quantized_call.h"
#include "cc/core/cuda/tuning.h"
#include "cc/core/dtypes/dtypes.h"
#include "gtest/gtest.h"

namespace tf_roialign {
namespace {

template <typename Types>
class TangentPaths : public testing::Test {};
template <typename Types>
class CodePaths : public testing::Test {};
TYPED_TEST_SUITE(TangentPaths, FloatDtypes);
TYPED_TEST_SUITE(CodePaths, CodeDtypes);

// A call on one map, without boxes yet.
template <typename T, typename B>
Call<T, B> Empty(const Params& params, int64_t channels, int64_t height,
                 int64_t width) {
  return RandomCall<T, B>(51, params, {1, channels, 0},
                          {{height, width, 1, 1}});
}

template <typename T, typename B>
void ExpectSameAsCpu(const Call<T, B>& call, const DeviceBoxes<B>& boxes,
                     const Call<T, B>& on_cpu) {
  if constexpr (kIsCode<T>) {
    ExpectCodesNear(CodesOnDevice(call, boxes, 0.3f, 9, ThreadOrder::kShuffled),
                    ForwardQuantized(on_cpu, 0.3f, 9, CurrentSimdLevel()));
  } else {
    ExpectTangentIsCpu(call, boxes, on_cpu, ThreadOrder::kShuffled);
  }
}

template <typename T, typename B>
void ExpectSameAsCpu(Call<T, B> call) {
  std::mt19937 random(52);
  call.direction = RandomNumbers<B>(call.sizes.boxes * 5, &random);
  call.grad_output = RandomNumbers<T>(
      call.sizes.boxes * call.bins() * call.sizes.channels, &random);
  ExpectSameAsCpu(call, DeviceBoxes<B>(call, BoxForm::kIndexed), call);
}

// In each form, on two maps, with indices of either width.
template <typename T, typename B>
void ExpectFormsAreCpu(const Params& params, int64_t channels) {
  for (const BoxForm form : kBoxForms) {
    for (const bool wide_indices : {false, true}) {
      Call<T, B> call = CallOnMaps<T, B>(53, params, channels);
      if (form == BoxForm::kDense) call = InOrderOfImages(call);
      const Call<T, B> on_cpu = AddBadIndices(form, &call);
      const DeviceBoxes<B> boxes(call, form, wide_indices);
      ExpectSameAsCpu(call, boxes, on_cpu);
      if (testing::Test::HasFailure()) return;
    }
  }
}

// A number of boxes that only the device knows: the others have no meaning.
template <typename T, typename B>
void ExpectCountIsReadOnDevice(Layout layout, int64_t channels) {
  for (const int ratio : {-1, 2}) {
    const Call<T, B> call =
        CallOnMaps<T, B>(56, {{3, 5}, ratio, true, layout}, channels);
    const int32_t count = 13;
    DeviceBoxes<B> boxes(call, BoxForm::kIndexed);
    boxes.SetCountOnDevice(&count);
    Call<T, B> on_cpu = call;
    for (int64_t k = count; k < call.sizes.boxes; ++k) {
      on_cpu.rows[k * 5 + 1] = static_cast<B>(NAN);
    }
    ExpectSameAsCpu(call, boxes, on_cpu);
    if (testing::Test::HasFailure()) return;
  }
}

// Maps that the areas of the boxes choose.
template <typename T, typename B>
void ExpectLevelRuleIsCpu(Layout layout, int64_t channels) {
  const Scale scales[] = {{0.5, 0.5}, {0.25, 0.25}};
  const LevelRule rule = MakeLevelRule<B>(6, 2, scales, 2);
  const Call<T, B> call =
      CallOnMaps<T, B>(55, {{3, 5}, -1, true, layout}, channels);
  DeviceBoxes<B> boxes(call, BoxForm::kIndexed);
  boxes.SetLevelRule(&rule);
  Call<T, B> on_cpu = call;
  for (int64_t k = 0; k < call.sizes.boxes; ++k) {
    on_cpu.map_indices[k] = MapOfBox(boxes.boxes(), &rule, k, 2);
  }
  ExpectSameAsCpu(call, boxes, on_cpu);
}

// Lists of taps that are long and fit, and lists that do not: dense samples,
// sparse ones, and so many that they are summed in closed form.
template <typename T, typename B>
void ExpectLongListsAreCpu(Layout layout, int64_t channels) {
  for (const int length :
       {cuda::kMaxListTaps + 60, cuda::kMaxListTaps / 2 - 12}) {
    for (const bool wide : {false, true}) {
      for (const int ratio : {-1, length / 2 - 10, 1500}) {
        Call<T, B> call =
            Empty<T, B>({{wide ? 1 : 2, wide ? 5 : 1}, ratio, true, layout},
                        channels, wide ? 1 : length, wide ? length : 1);
        // The first bin is most of the map.
        const double end = 0.99 * length * (wide ? 5 : 2);
        AddBox({0, -3, -2, wide ? end : 2, wide ? 1 : end}, &call);
        ExpectSameAsCpu(call);
        if (testing::Test::HasFailure()) return;
      }
    }
  }
}

// A box without meaning of more outputs than a block has threads.
template <typename T, typename B>
void ExpectNoMeaningIsCpu(Layout layout, int64_t channels) {
  Call<T, B> call = Empty<T, B>({{1, cuda::kBinsInHand + 3}, -1, true, layout},
                                channels == 3 ? 13 : 60, 5, 6);
  AddBox({0, 1, NAN, 5, 1}, &call);
  ExpectSameAsCpu(call);
}

// More bins than a block has in hand, and more on a pixel than a record of the
// transpose keeps the weights of.
template <typename T, typename B>
void ExpectLargeOutputsAreCpu(Layout layout, int64_t channels) {
  constexpr int kMany = cuda::kBinsInHand + 3;
  for (const bool wide : {false, true}) {
    for (const int ratio : {-1, 2, 1500}) {
      Call<T, B> call = Empty<T, B>(
          {{wide ? 2 : kMany, wide ? kMany : 2}, ratio, true, layout}, channels,
          5, 6);
      AddBox({0, 1, 4, 5, 1}, &call);
      AddBox({0, 4.6, 3.6, 6.9, 5.9}, &call);    // the map ends in a bin
      AddBox({0, 1.4, 1.4, -1.2, -1.2}, &call);  // the last begins outside
      ExpectSameAsCpu(call);
      if (testing::Test::HasFailure()) return;
    }
  }
}

// Few samples far apart: taps by sample.
template <typename T, typename B>
void ExpectSparseSamplesAreCpu(Layout layout, int64_t channels) {
  for (const int ratio : {1, 2, 6}) {
    Call<T, B> call =
        Empty<T, B>({{2, 3}, ratio, true, layout}, channels, 40, 50);
    AddBox({0, 1, 1, 48, 37}, &call);
    AddBox({0, 45, 39, -8, -9}, &call);
    AddBox({0, -1e4, -1e4, 1e4, 1e4}, &call);
    ExpectSameAsCpu(call);
    if (testing::Test::HasFailure()) return;
  }
}

#define TF_ROIALIGN_PATH(Name, ...)                                      \
  TYPED_TEST(TangentPaths, Name) {                                       \
    TF_ROIALIGN_DTYPES_OF_TEST;                                          \
    ForEachLayout([](Layout layout, int64_t channels) { __VA_ARGS__; }); \
  }                                                                      \
  TYPED_TEST(CodePaths, Name) {                                          \
    TF_ROIALIGN_DTYPES_OF_TEST;                                          \
    ForEachLayout([](Layout layout, int64_t channels) { __VA_ARGS__; }); \
  }
TF_ROIALIGN_PATH(FormsOfBoxes,
                 ExpectFormsAreCpu<T, B>({{3, 5}, -1, true, layout}, channels))
TF_ROIALIGN_PATH(TwoSamples,
                 ExpectFormsAreCpu<T, B>({{3, 5}, 2, false, layout}, channels))
TF_ROIALIGN_PATH(ListsThatDoNotFit,
                 ExpectLongListsAreCpu<T, B>(layout, channels))
TF_ROIALIGN_PATH(NumberOfBoxesOnDevice,
                 ExpectCountIsReadOnDevice<T, B>(layout, channels))
TF_ROIALIGN_PATH(LevelRule, ExpectLevelRuleIsCpu<T, B>(layout, channels))
TF_ROIALIGN_PATH(NoMeaning, ExpectNoMeaningIsCpu<T, B>(layout, channels))
TF_ROIALIGN_PATH(LargeOutputs, ExpectLargeOutputsAreCpu<T, B>(layout, channels))
TF_ROIALIGN_PATH(SparseSamples,
                 ExpectSparseSamplesAreCpu<T, B>(layout, channels))

// The transpose: more boxes than a block looks at in one round, and more to add
// to a pixel than its list holds; and more channels than a block has.
TYPED_TEST(TangentPaths, ManyBoxesOnOnePixel) {
  TF_ROIALIGN_DTYPES_OF_TEST;
  for (const Layout layout : {Layout::kNHWC, Layout::kNCHW}) {
    for (const int64_t channels : {16, 3, 137}) {
      Call<T, B> call = Empty<T, B>({{7, 7}, -1, true, layout}, channels, 6, 7);
      std::mt19937 random(54);
      std::uniform_real_distribution<double> unit(0, 1);
      const int boxes = channels == 3 ? cuda::kBlockThreads + 12 : 40;
      for (int k = 0; k < boxes; ++k) {
        const double x = 3 + unit(random), y = 3 + unit(random);
        AddBox({0, x, y, x + unit(random), y + unit(random)}, &call);
      }
      call.grad_output =
          RandomNumbers<T>(call.sizes.boxes * call.bins() * channels, &random);
      const DeviceBoxes<B> device_boxes(call, BoxForm::kIndexed);
      // All weights of a box on a pixel add up to about 49.
      ExpectTangentsNear(TangentGrad(call, device_boxes)[0],
                         BoxTangentGrad(call, CurrentSimdLevel())[0],
                         49.0 * boxes);
      // In blocks that make the lists again for other channels.
      const FewBlocks few;
      ExpectTangentsNear(TangentGrad(call, device_boxes)[0],
                         BoxTangentGrad(call, CurrentSimdLevel())[0],
                         49.0 * boxes);
      if (testing::Test::HasFailure()) return;
    }
  }
}

// Long lists that fit, and are used again for other channels.
TYPED_TEST(TangentPaths, ListsForSeveralSlices) {
  TF_ROIALIGN_DTYPES_OF_TEST;
  const FewBlocks few;
  for (const Layout layout : {Layout::kNHWC, Layout::kNCHW}) {
    for (const int64_t channels : {1056, 143}) {
      Call<T, B> call = Empty<T, B>({{5, 3}, -1, true, layout}, channels, 6, 7);
      AddBox({0, 3.1, 3.2, 3.6, 3.7}, &call);
      ExpectSameAsCpu(call);
      if (testing::Test::HasFailure()) return;
    }
  }
}

// More channels than a block has at a time, and blocks of several slices.
TYPED_TEST(TangentPaths, ManyChannels) {
  TF_ROIALIGN_DTYPES_OF_TEST;
  for (const Layout layout : {Layout::kNHWC, Layout::kNCHW}) {
    for (const int64_t channels : {1056, 143}) {
      Call<T, B> call = Empty<T, B>({{2, 1}, -1, true, layout}, channels, 5, 4);
      AddBox({0, 0.3, 0.2, 3.4, 4.1}, &call);
      AddBox({0, NAN, 0.2, 3.4, 4.1}, &call);
      ExpectSameAsCpu(call);
      const FewBlocks few;
      ExpectSameAsCpu(call);
      if (testing::Test::HasFailure()) return;
    }
  }
}

}  // namespace
}  // namespace tf_roialign
