// Every path of every kernel, for each dtype of features and of boxes, in both
// layouts and modes, with channels that are loaded 16 bytes at a time and one
// by one: what kernels_test.cc has for some of them. Small calls, as many as it
// takes.

#include "cc/core/cuda/device_test/paths.h"

#include <cmath>
#include <cstdint>
#include <random>
#include <type_traits>
#include <vector>

#include "cc/core/call/level_rule.h"
#include "cc/core/cuda/testing/kernel_call.h"
#include "cc/core/cuda/testing/test_device.h"
#include "cc/core/cuda/tuning.h"
#include "cc/core/dtypes/dtypes.h"
#include "gtest/gtest.h"

namespace tf_roialign {
namespace {

// A call without boxes yet.
template <typename T, typename B>
KernelCall<T, B> Empty(Layout layout, const OutputSize& size, int64_t ratio,
                       int64_t height, int64_t width, int64_t channels) {
  KernelCall<T, B> call;
  call.params.output_size = size;
  call.params.sampling_ratio = ratio;
  call.params.aligned = true;
  call.params.data_format = layout;
  call.sizes = {1, channels, 0};
  call.height = height;
  call.width = width;
  return call;
}

template <typename Types>
class Paths : public testing::Test {};
TYPED_TEST_SUITE(Paths, FloatDtypes);

TYPED_TEST(Paths, BoxesOfEveryKind) {
  TF_ROIALIGN_DTYPES_OF_TEST;
  ForEachLayout([](Layout layout, int64_t channels) {
    for (const int ratio : {-1, 2, 5}) {
      ExpectModesAreCpu(
          MakeCall<T, B>(21, layout, /*aligned=*/ratio != 2, ratio, channels),
          ThreadOrder::kShuffled);
    }
  });
}

TYPED_TEST(Paths, FormsOfBoxes) {
  TF_ROIALIGN_DTYPES_OF_TEST;
  ForEachLayout([](Layout layout, int64_t channels) {
    KernelCall<T, B> call = MakeCall<T, B>(22, layout, false, -1, channels);
    // The forward of two samples is a kernel of its own.
    const auto expect_forward_is_cpu = [&](bool wide_indices) {
      KernelCall<T, B> two_samples = call;
      two_samples.params.sampling_ratio = 2;
      ExpectForwardIsCpu(
          two_samples,
          Forward(two_samples, ThreadOrder::kDescending, wide_indices));
    };
    call.form = BoxForm::kSeparate;
    for (const bool wide_indices : {false, true}) {
      ExpectModesAreCpu(call, ThreadOrder::kDescending, wide_indices);
      expect_forward_is_cpu(wide_indices);
    }
    call.form = BoxForm::kDense;
    while (call.sizes.boxes % call.sizes.batch != 0) {
      call.column.pop_back();
      call.rows.resize(call.rows.size() - 4);
      --call.sizes.boxes;
    }
    for (int64_t k = 0; k < call.sizes.boxes; ++k) {
      call.column[k] = k / (call.sizes.boxes / call.sizes.batch);
    }
    call.Draw(23);
    ExpectModesAreCpu(call);
    expect_forward_is_cpu(/*wide_indices=*/false);
  });
}

TYPED_TEST(Paths, NumberOfBoxesOnDevice) {
  TF_ROIALIGN_DTYPES_OF_TEST;
  ForEachLayout([](Layout layout, int64_t channels) {
    for (const int ratio : {-1, 2}) {
      KernelCall<T, B> call = MakeCall<T, B>(42, layout, true, ratio, channels);
      call.count_on_device = 13;
      ExpectModesAreCpu(call);
    }
  });
}

// Boxes of more pixels than the lists of taps have entries: dense samples,
// sparse ones, and so many that they are summed in closed form.
TYPED_TEST(Paths, ListsThatDoNotFit) {
  TF_ROIALIGN_DTYPES_OF_TEST;
  ForEachLayout([](Layout layout, int64_t channels) {
    constexpr int kLong = cuda::kMaxListTaps + 60;
    for (const bool wide : {false, true}) {
      for (const int ratio : {-1, kLong / 2 - 10, 1500}) {
        KernelCall<T, B> call =
            Empty<T, B>(layout, {wide ? 1 : 2, wide ? 5 : 1}, ratio,
                        wide ? 1 : kLong, wide ? kLong : 1, channels);
        // The first bin is most of the map.
        const double end = 0.99 * kLong * (wide ? 5 : 2);
        call.AddBox(0, -3, -2, wide ? end : 2, wide ? 1 : end);
        call.Draw(24);
        for (const Mode mode : kModes) {
          call.params.mode = mode;
          ExpectForwardIsCpu(call, Forward(call, ThreadOrder::kAscending));
          ExpectBoxGradIsCpu(call, BoxGrad(call, ThreadOrder::kAscending));
          if (testing::Test::HasFailure()) return;
        }
        // The winners of mode "max"; the gather has its own tests.
        if (wide == (ratio < 0)) {
          ExpectFeatureGradIsCpu(call,
                                 FeatureGrad(call, ThreadOrder::kAscending));
        }
      }
    }
  });
}

// The same of the lists of samples of mode "max", between rows and columns.
TYPED_TEST(Paths, SamplesThatDoNotFit) {
  TF_ROIALIGN_DTYPES_OF_TEST;
  ForEachLayout([](Layout layout, int64_t channels) {
    constexpr int kLong = cuda::kMaxListSamples / 2 + 20;
    for (const bool wide : {false, true}) {
      KernelCall<T, B> call = Empty<T, B>(layout, {1, 1}, -1, wide ? 3 : kLong,
                                          wide ? kLong : 3, channels);
      call.AddBox(0, 0.3, 0.4, wide ? kLong - 0.8 : 1.7,
                  wide ? 1.7 : kLong - 0.8);
      call.Draw(44);
      call.params.mode = Mode::kMax;
      ExpectAllIsCpu(call);
    }
  });
}

// More bins than a block has in hand; and as many rows as leave 7 where a loop
// over them takes 8 at a time.
TYPED_TEST(Paths, LargeOutputs) {
  TF_ROIALIGN_DTYPES_OF_TEST;
  ForEachLayout([](Layout layout, int64_t channels) {
    constexpr int kMany = cuda::kBinsInHand + 7;
    for (const bool wide : {false, true}) {
      for (const int ratio : {-1, 2}) {
        KernelCall<T, B> call =
            Empty<T, B>(layout, {wide ? 2 : kMany, wide ? kMany : 2}, ratio, 5,
                        6, channels);
        call.AddBox(0, 1, 4, 5, 1);
        call.AddBox(0, 1, NAN, 6, 5);
        call.Draw(25);
        ExpectModesAreCpu(call);
      }
    }
  });
}

// More bins on a pixel than its record keeps the weights of.
TYPED_TEST(Paths, ManyBinsOnOnePixel) {
  TF_ROIALIGN_DTYPES_OF_TEST;
  ForEachLayout([](Layout layout, int64_t channels) {
    for (const int ratio : {2, 6, 1500}) {
      KernelCall<T, B> call =
          Empty<T, B>(layout, {9, 10}, ratio, 5, 6, channels);
      call.AddBox(0, 1.2, 2.9, 2.1, 2.3);
      call.AddBox(0, -1.8, -1.6, 0.7, 0.9);
      call.AddBox(0, 4.6, 3.6, 6.9, 5.9);    // the map ends in a bin
      call.AddBox(0, 1.4, 1.4, -1.2, -1.2);  // the last one begins outside
      call.Draw(34);
      for (const Mode mode : kModes) {
        call.params.mode = mode;
        ExpectFeatureGradIsCpu(call,
                               FeatureGrad(call, ThreadOrder::kAscending));
      }
    }
  });
}

// All samples on the only row or column of the map, or outside it.
TYPED_TEST(Paths, MapsOfOneRowOrColumn) {
  TF_ROIALIGN_DTYPES_OF_TEST;
  ForEachLayout([](Layout layout, int64_t channels) {
    for (const bool wide : {false, true}) {
      for (const int ratio : {-1, 2, 6}) {
        KernelCall<T, B> call = Empty<T, B>(layout, {2, 2}, ratio, wide ? 1 : 9,
                                            wide ? 9 : 1, channels);
        call.AddBox(0, -0.4, -0.3, 8.6, 8.7);
        call.AddBox(0, 9.8, 9.6, -2, -1.5);
        call.AddBox(0, 0.1, 0.2, 0.7, 0.9);
        call.Draw(43);
        ExpectModesAreCpu(call);
      }
    }
  });
}

// So many samples that runs of them are summed in closed form.
TYPED_TEST(Paths, RunsOfSamples) {
  TF_ROIALIGN_DTYPES_OF_TEST;
  ForEachLayout([](Layout layout, int64_t channels) {
    KernelCall<T, B> call = Empty<T, B>(layout, {2, 2}, 1500, 9, 8, channels);
    call.AddBox(0, 1, 1, 6.3, 7.7);
    call.AddBox(0, 6, 8.5, -1.5, 0.2);
    call.AddBox(0, -30, -40, 50, 30);
    call.AddBox(0, 3, 3, 3, 3);
    call.Draw(26);
    ExpectModesAreCpu(call);
  });
}

// Few samples far apart: taps by sample.
TYPED_TEST(Paths, SparseSamples) {
  TF_ROIALIGN_DTYPES_OF_TEST;
  ForEachLayout([](Layout layout, int64_t channels) {
    for (const int ratio : {1, 2, 6}) {
      KernelCall<T, B> call =
          Empty<T, B>(layout, {2, 3}, ratio, 40, 50, channels);
      call.AddBox(0, 1, 1, 48, 37);
      call.AddBox(0, 45, 39, -8, -9);
      call.AddBox(0, -1e4, -1e4, 1e4, 1e4);
      call.Draw(27);
      ExpectModesAreCpu(call);
    }
  });
}

// More boxes than a block looks at in one round, several images, and more to
// add to a pixel than its list holds.
TYPED_TEST(Paths, ManyBoxesOnOnePixel) {
  TF_ROIALIGN_DTYPES_OF_TEST;
  ForEachLayout([](Layout layout, int64_t channels) {
    KernelCall<T, B> call = Empty<T, B>(layout, {7, 7}, -1, 6, 7, channels);
    call.sizes.batch = 2;
    std::mt19937 random(5);
    std::uniform_real_distribution<double> unit(0, 1);
    for (int k = 0; k < 150; ++k) {
      const double x = 3 + unit(random), y = 3 + unit(random);
      call.AddBox(double(random() % 2), x, y, x + unit(random),
                  y + unit(random));
    }
    call.Draw(28);
    for (const Mode mode : kModes) {
      call.params.mode = mode;
      ExpectFeatureGradIsCpu(call, FeatureGrad(call, ThreadOrder::kAscending));
    }
    // Longer lists of fewer pixels.
    call.sizes.channels = channels == 3 ? 65 : 8 * channels;
    call.rows.resize(4 * 40);
    call.column.resize(40);
    call.sizes.boxes = 40;
    call.Draw(35);
    for (const Mode mode : kModes) {
      call.params.mode = mode;
      ExpectFeatureGradIsCpu(call, FeatureGrad(call, ThreadOrder::kAscending));
    }
  });
}

// Lists that do not fit, in blocks of several slices of the channels: they are
// made again for each.
TYPED_TEST(Paths, ListsForSeveralSlices) {
  TF_ROIALIGN_DTYPES_OF_TEST;
  const FewBlocks few;
  for (const Layout layout : {Layout::kNHWC, Layout::kNCHW}) {
    for (const int64_t channels : {1056, 143}) {
      KernelCall<T, B> call = Empty<T, B>(layout, {7, 7}, -1, 6, 7, channels);
      std::mt19937 random(36);
      std::uniform_real_distribution<double> unit(0, 1);
      for (int k = 0; k < 6; ++k) {
        const double x = 3 + unit(random), y = 3 + unit(random);
        call.AddBox(0, x, y, x + unit(random), y + unit(random));
      }
      call.Draw(37);
      for (const Mode mode : kModes) {
        call.params.mode = mode;
        ExpectFeatureGradIsCpu(call, FeatureGrad(call, ThreadOrder::kShuffled));
      }
      // Long ones that do fit, and are used again.
      call.params.output_size = {5, 3};
      call.sizes.boxes = 1;
      call.rows.resize(4);
      call.column.resize(1);
      call.Draw(37);
      for (const Mode mode : kModes) {
        call.params.mode = mode;
        ExpectFeatureGradIsCpu(call, FeatureGrad(call, ThreadOrder::kShuffled));
      }
    }
  }
}

// More boxes than the block that groups them looks at in one round, or in four,
// of three images; the second one has none.
TEST(BoxPaths, MoreThanAreGroupedAtOnce) {
  KernelCall<float, float> call =
      Empty<float, float>(Layout::kNHWC, {1, 1}, 1, 5, 4, 1);
  call.sizes.batch = 3;
  std::mt19937 random(38);
  std::uniform_real_distribution<double> place(-1, 5);
  for (int k = 0; k < 5 * cuda::kGroupingThreads + 7; ++k) {
    const double x = place(random), y = place(random);
    call.AddBox(k % 3 == 0 ? 0 : 2, x, y, x + 1, y + 1);
  }
  call.Draw(39);
  ExpectFeatureGradIsCpu(call, FeatureGrad(call, ThreadOrder::kShuffled));
}

// More channels than a block has at a time.
TYPED_TEST(Paths, ManyChannels) {
  TF_ROIALIGN_DTYPES_OF_TEST;
  for (const Layout layout : {Layout::kNHWC, Layout::kNCHW}) {
    for (const int64_t channels : {1056, 143}) {
      for (const int ratio : {2, -1}) {
        KernelCall<T, B> call =
            Empty<T, B>(layout, {2, 1}, ratio, 5, 4, channels);
        call.AddBox(0, 0.3, 0.2, 3.4, 4.1);
        call.AddBox(0, NAN, 0.2, 3.4, 4.1);
        call.Draw(29);
        ExpectModesAreCpu(call);
        const FewBlocks few;
        ExpectModesAreCpu(call);
      }
    }
  }
}

// NaN in features and in upstream gradients: what is made of it is rounded by a
// rule of its own to 16 bits, and is the largest.
TYPED_TEST(Paths, NotANumber) {
  TF_ROIALIGN_DTYPES_OF_TEST;
  ForEachLayout([](Layout layout, int64_t channels) {
    for (const int ratio : {-1, 2}) {
      KernelCall<T, B> call = MakeCall<T, B>(40, layout, true, ratio, channels);
      std::mt19937 random(41);
      for (T& value : call.features) {
        if (random() % 30 == 0) value = FromDouble<T>(NAN);
      }
      for (T& value : call.grad_output) {
        if (random() % 200 == 0) value = FromDouble<T>(NAN);
      }
      for (const Mode mode : kModes) {
        call.params.mode = mode;
        ExpectForwardIsCpu(call, Forward(call, ThreadOrder::kAscending));
        ExpectFeatureGradIsCpu(call,
                               FeatureGrad(call, ThreadOrder::kAscending));
      }
    }
  });
}

TYPED_TEST(Paths, NothingToDo) {
  TF_ROIALIGN_DTYPES_OF_TEST;
  ForEachLayout([](Layout layout, int64_t channels) {
    KernelCall<T, B> call = Empty<T, B>(layout, {2, 2}, 2, 5, 6, channels);
    call.Draw(30);
    for (const T value : FeatureGrad(call, ThreadOrder::kAscending)) {
      ASSERT_EQ(ToDouble(value), 0);
    }
    call.sizes.channels = 0;
    call.AddBox(0, 1, 1, 3, 3);
    call.AddBox(0, 1, NAN, 3, 3);
    call.Draw(31);
    ExpectBoxGradIsCpu(call, BoxGrad(call, ThreadOrder::kAscending));
  });
}

// ---- Several maps.

// Boxes that read one of three maps: by an index of either width, or by a rule.
template <typename T, typename B>
struct MapsCall {
  static constexpr int kMaps = 3;

  MapsCall(Layout layout, int64_t channels, int ratio)
      : call(MakeCall<T, B>(32, layout, true, ratio, channels)) {
    // Of the boxes that MakeCall has for others' sake, none without an image:
    // a CPU refuses them.
    for (int64_t k = 0; k < call.sizes.boxes; ++k) {
      if (!call.HasImage(k)) call.column[k] = 0;
    }
    const int64_t heights[] = {9, 21, 4}, widths[] = {13, 5, 30};
    std::mt19937 random(33);
    std::uniform_real_distribution<double> value(-1, 1);
    for (int m = 0; m < kMaps; ++m) {
      const int64_t count =
          call.sizes.batch * heights[m] * widths[m] * call.sizes.channels;
      for (int64_t i = 0; i < count; ++i) {
        features[m].push_back(FromDouble<T>(value(random)));
      }
      grads[m].assign(count, FromDouble<T>(77));
      expected_grads[m].assign(count, FromDouble<T>(77));
      const double scale = 0.5 / (1 << m);
      maps[m] = {features[m].data(), heights[m], widths[m], scale, scale};
      grad_maps[m] = {grads[m].data(), heights[m], widths[m], scale, scale};
      expected_grad_maps[m] = grad_maps[m];
      expected_grad_maps[m].data = expected_grads[m].data();
    }
    for (int64_t k = 0; k < call.sizes.boxes; ++k) {
      narrow.push_back(static_cast<int32_t>(random() % kMaps));
      wide.push_back(narrow.back());
    }
  }

  FeatureMaps<const T> features_of() const { return {maps, kMaps}; }

  KernelCall<T, B> call;
  std::vector<T> features[kMaps], grads[kMaps], expected_grads[kMaps];
  FeatureMap<const T> maps[kMaps];
  FeatureMap<T> grad_maps[kMaps], expected_grad_maps[kMaps];
  std::vector<int32_t> narrow;
  std::vector<int64_t> wide;
};

template <typename T, typename B>
void ExpectMapsAreCpu(MapsCall<T, B>* maps, const Boxes<B>& boxes) {
  const KernelCall<T, B>& call = maps->call;
  const Params& params = call.params;
  const Sizes& sizes = call.sizes;
  const T* const upstream = call.grad_output.data();
  const FeatureMaps<const T> features = maps->features_of();
  const FeatureMaps<T> grads(maps->grad_maps, maps->kMaps);
  const FeatureMaps<T> expected_grads(maps->expected_grad_maps, maps->kMaps);
  const CpuContext cpu{Serial};
  std::vector<T> output(call.grad_output.size()), expected(output.size());
  std::vector<B> box_grad(boxes.count * boxes.columns);
  std::vector<B> expected_box_grad(box_grad.size());
  TestDevice device(ThreadOrder::kShuffled);

  ExpectOk(cuda::Forward<T, B>(device, params, sizes, boxes, features,
                               output.data()));
  ExpectOk(
      RoiAlignForward(cpu, params, sizes, boxes, features, expected.data()));
  ExpectOk(cuda::BoxGrad<T, B>(device, params, sizes, boxes, features, upstream,
                               box_grad.data()));
  ExpectOk(RoiAlignBoxGrad(cpu, params, sizes, boxes, features, upstream,
                           expected_box_grad.data()));
  if (params.mode == Mode::kMax) {
    ExpectOk(cuda::MaxFeatureGrad<T, B>(device, params, sizes, boxes, features,
                                        upstream, grads));
    ExpectOk(RoiAlignMaxFeatureGrad(cpu, params, sizes, boxes, features,
                                    upstream, expected_grads));
  } else {
    ExpectOk(
        cuda::FeatureGrad<T, B>(device, params, sizes, boxes, upstream, grads));
    ExpectOk(RoiAlignFeatureGrad(cpu, params, sizes, boxes, upstream,
                                 expected_grads));
  }
  for (size_t i = 0; i < output.size(); ++i) {
    ExpectNear(ToDouble(output[i]), ToDouble(expected[i]), CudaTolerance<T>(),
               i);
    if (testing::Test::HasFatalFailure()) return;
  }
  for (size_t i = 0; i < box_grad.size(); ++i) {
    const double magnitude = std::fmax(1, std::abs(expected_box_grad[i]));
    ExpectNear(box_grad[i], expected_box_grad[i], 1e-3 * magnitude, i);
    if (testing::Test::HasFatalFailure()) return;
  }
  for (int m = 0; m < maps->kMaps; ++m) {
    for (size_t i = 0; i < maps->grads[m].size(); ++i) {
      const double want = ToDouble(maps->expected_grads[m][i]);
      ExpectNear(ToDouble(maps->grads[m][i]), want,
                 20 * CudaTolerance<T>() * (1 + std::abs(want)), i);
      if (testing::Test::HasFatalFailure()) return;
    }
  }
}

TYPED_TEST(Paths, SeveralMaps) {
  TF_ROIALIGN_DTYPES_OF_TEST;
  ForEachLayout([](Layout layout, int64_t channels) {
    for (const int ratio : {-1, 2, 0}) {
      // Two samples have a kernel of their own; 0 is for mode "max" here.
      const Mode mode = ratio == 0 ? Mode::kMax : Mode::kAvg;
      MapsCall<T, B> maps(layout, channels, ratio);
      maps.call.params.mode = mode;
      BoxInputs<B> inputs(maps.call);
      inputs.boxes.map_indices = maps.narrow.data();
      ExpectMapsAreCpu(&maps, inputs.boxes);
      inputs.boxes.map_indices = maps.wide.data();
      inputs.boxes.map_indices_are_64_bit = true;
      ExpectMapsAreCpu(&maps, inputs.boxes);
      Scale scales[MapsCall<T, B>::kMaps];
      for (int m = 0; m < MapsCall<T, B>::kMaps; ++m) {
        scales[m] = {maps.maps[m].scale_y, maps.maps[m].scale_x};
      }
      const LevelRule rule =
          MakeLevelRule<B>(6, 2, scales, MapsCall<T, B>::kMaps);
      inputs.boxes.map_indices = nullptr;
      inputs.boxes.level_rule = &rule;
      ExpectMapsAreCpu(&maps, inputs.boxes);
    }
  });
}

// Nothing to add up, but boxes without meaning are told from others.
TYPED_TEST(Paths, SeveralMapsWithoutChannels) {
  TF_ROIALIGN_DTYPES_OF_TEST;
  MapsCall<T, B> maps(Layout::kNHWC, 0, -1);
  Scale scales[MapsCall<T, B>::kMaps];
  for (int m = 0; m < MapsCall<T, B>::kMaps; ++m) {
    scales[m] = {maps.maps[m].scale_y, maps.maps[m].scale_x};
  }
  const LevelRule rule = MakeLevelRule<B>(6, 2, scales, MapsCall<T, B>::kMaps);
  for (const BoxForm form : {BoxForm::kIndexed, BoxForm::kSeparate}) {
    maps.call.form = form;
    for (const int indices : {32, 64, 0}) {
      BoxInputs<B> inputs(maps.call, /*wide_indices=*/indices == 64);
      if (indices == 32) inputs.boxes.map_indices = maps.narrow.data();
      if (indices == 64) inputs.boxes.map_indices = maps.wide.data();
      inputs.boxes.map_indices_are_64_bit = indices == 64;
      if (indices == 0) inputs.boxes.level_rule = &rule;
      ExpectMapsAreCpu(&maps, inputs.boxes);
    }
  }
}

// An index that is not one of the maps, which a CPU refuses.
TYPED_TEST(Paths, MapsThatAreNotThere) {
  TF_ROIALIGN_DTYPES_OF_TEST;
  ForEachLayout([](Layout layout, int64_t channels) {
    for (const Mode mode : kModes) {
      MapsCall<T, B> maps(layout, channels, -1);
      maps.call.params.mode = mode;
      const int64_t per_box = maps.call.BoxElements();
      BoxInputs<B> inputs(maps.call);
      maps.narrow[1] = -1;
      maps.narrow[2] = maps.kMaps;
      maps.maps[0].height = 0;
      maps.narrow[3] = 0;
      inputs.boxes.map_indices = maps.narrow.data();
      std::vector<T> output(maps.call.grad_output.size());
      std::vector<B> box_grad(inputs.rows.size());
      TestDevice device(ThreadOrder::kAscending);
      ExpectOk(cuda::Forward<T, B>(device, maps.call.params, maps.call.sizes,
                                   inputs.boxes, maps.features_of(),
                                   output.data()));
      ExpectOk(cuda::BoxGrad<T, B>(
          device, maps.call.params, maps.call.sizes, inputs.boxes,
          maps.features_of(), maps.call.grad_output.data(), box_grad.data()));
      for (const int k : {1, 2, 3}) {
        ASSERT_TRUE(std::isnan(ToDouble(output[k * per_box])));
        ASSERT_TRUE(std::isnan(double(box_grad[k * 5 + 1])));
      }
    }
  });
}

}  // namespace
}  // namespace tf_roialign
