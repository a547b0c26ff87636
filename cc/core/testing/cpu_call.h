// Calls of the core on CPU with all their data, for tests.

#ifndef TF_ROIALIGN_CC_CORE_TESTING_CPU_CALL_H_
#define TF_ROIALIGN_CC_CORE_TESTING_CPU_CALL_H_

#include <cstdint>
#include <functional>
#include <limits>
#include <random>
#include <vector>

#include "cc/core/base/parallel.h"
#include "cc/core/base/status.h"
#include "cc/core/call/boxes.h"
#include "cc/core/call/feature_maps.h"
#include "cc/core/call/params.h"
#include "cc/core/cpu/box_tangent.h"
#include "cc/core/cpu/roi_align_cpu.h"
#include "cc/core/cpu/simd/level.h"
#include "cc/core/dtypes/quantization.h"
#include "cc/core/testing/any_dtype.h"
#include "cc/core/testing/expect.h"

namespace tf_roialign {

struct MapSize {
  int64_t height;
  int64_t width;
  double scale_y;
  double scale_x;

  int64_t pixels() const { return height * width; }
};

template <typename T, typename B>
struct Call {
  Params params;
  Sizes sizes;
  std::vector<MapSize> maps;
  std::vector<B> rows;                   // [K, 5]
  std::vector<int32_t> map_indices;      // [K], or none: all boxes read maps[0]
  std::vector<std::vector<T>> features;  // of each map
  std::vector<T> grad_output;
  std::vector<B> direction;  // [K, 5]

  Boxes<B> boxes() const {
    return {BoxForm::kIndexed,
            rows.data(),
            5,
            sizes.boxes,
            nullptr,
            false,
            map_indices.empty() ? nullptr : map_indices.data()};
  }
  int64_t image(int64_t k) const { return static_cast<int64_t>(rows[k * 5]); }
  int map(int64_t k) const { return map_indices.empty() ? 0 : map_indices[k]; }

  // Places of a channel of a pixel in a map, and of a bin in what is pooled.
  int64_t pixel(int map, int64_t n, int64_t y, int64_t x, int64_t c) const {
    return Index(n, y * maps[map].width + x, maps[map].pixels(), c);
  }
  int64_t bins() const {
    return params.pooled_height() * params.pooled_width();
  }
  int64_t bin(int64_t k, int64_t p, int64_t q, int64_t c) const {
    return Index(k, p * params.pooled_width() + q, bins(), c);
  }

 private:
  int64_t Index(int64_t n, int64_t place, int64_t places, int64_t c) const {
    return params.data_format == Layout::kNHWC
               ? (n * places + place) * sizes.channels + c
               : (n * sizes.channels + c) * places + place;
  }
};

// Rows of boxes inside, on the border, outside, tiny, reversed and large, of
// images of about 18 x 26 pixels.
template <typename B>
std::vector<B> RandomRows(int64_t boxes, int64_t batch, std::mt19937* random) {
  std::uniform_real_distribution<double> unit(0, 1);
  std::vector<B> rows;
  for (int64_t k = 0; k < boxes; ++k) {
    const double x = unit(*random) * 40 - 7, y = unit(*random) * 30 - 6;
    const double side = k % 4 == 0 ? 1 : k % 4 == 1 ? 60 : 14;
    const double w = (unit(*random) - (k % 5 == 0 ? 0.7 : 0)) * side;
    const double h = (unit(*random) - (k % 7 == 0 ? 0.7 : 0)) * side;
    for (const double number : {double(k % batch), x, y, x + w, y + h}) {
      rows.push_back(static_cast<B>(number));
    }
  }
  return rows;
}

// Numbers in [-1, 1], or any codes.
template <typename T>
std::vector<T> RandomNumbers(int64_t count, std::mt19937* random) {
  std::vector<T> numbers(count);
  for (T& number : numbers) {
    if constexpr (kIsCode<T>) {
      number = static_cast<T>(std::uniform_int_distribution<int64_t>(
          std::numeric_limits<T>::min(),
          std::numeric_limits<T>::max())(*random));
    } else {
      number =
          FromDouble<T>(std::uniform_real_distribution<double>(-1, 1)(*random));
    }
  }
  return numbers;
}

template <typename T, typename B>
Call<T, B> RandomCall(int seed, const Params& params, const Sizes& sizes,
                      const std::vector<MapSize>& maps) {
  std::mt19937 random(seed);
  Call<T, B> call;
  call.params = params;
  call.sizes = sizes;
  call.maps = maps;
  call.rows = RandomRows<B>(sizes.boxes, sizes.batch, &random);
  for (const MapSize& map : maps) {
    call.features.push_back(
        RandomNumbers<T>(sizes.batch * map.pixels() * sizes.channels, &random));
  }
  call.grad_output =
      RandomNumbers<T>(sizes.boxes * call.bins() * sizes.channels, &random);
  call.direction = RandomNumbers<B>(sizes.boxes * 5, &random);
  return call;
}

// More than any that are there, so that calls are cut as small as they may be.
constexpr int64_t kManyThreads = 32;

// How a call with other threads than its own is cut.
inline int64_t CountFor(const ParallelFor& threads) {
  using Function =
      void (*)(int64_t, int64_t, const std::function<void(int64_t, int64_t)>&);
  const Function* function = threads.target<Function>();
  return function != nullptr && *function == Serial ? 1 : kManyThreads;
}

// What of `from` belongs to `boxes`, of `count` numbers a box.
template <typename Number>
std::vector<Number> RowsOf(const std::vector<Number>& from,
                           const std::vector<int64_t>& boxes, int64_t count) {
  std::vector<Number> rows;
  for (const int64_t k : boxes) {
    rows.insert(rows.end(), from.begin() + k * count,
                from.begin() + (k + 1) * count);
  }
  return rows;
}

// The call with these boxes only.
template <typename T, typename B>
Call<T, B> Only(Call<T, B> call, const std::vector<int64_t>& boxes) {
  call.sizes.boxes = static_cast<int64_t>(boxes.size());
  call.rows = RowsOf(call.rows, boxes, 5);
  call.direction = RowsOf(call.direction, boxes, 5);
  call.grad_output =
      RowsOf(call.grad_output, boxes, call.bins() * call.sizes.channels);
  if (!call.map_indices.empty()) {
    call.map_indices = RowsOf(call.map_indices, boxes, 1);
  }
  return call;
}

// Calls run(feature maps) with the data of each map. Without `status`, success
// is expected.
template <typename T, typename Data, typename Run>
void WithMaps(const std::vector<MapSize>& sizes, Data* data, Status* status,
              const Run& run) {
  std::vector<FeatureMap<T>> maps;
  for (size_t m = 0; m < sizes.size(); ++m) {
    maps.push_back({(*data)[m].data(), sizes[m].height, sizes[m].width,
                    sizes[m].scale_y, sizes[m].scale_x});
  }
  Status result;
  EXPECT_NO_THROW(
      result = run(FeatureMaps<T>(maps.data(), static_cast<int>(maps.size()))));
  if (status == nullptr) {
    ExpectOk(result);
  } else {
    *status = result;
  }
}

template <typename T, typename B, typename Run>
void WithFeatures(const Call<T, B>& call, Status* status, const Run& run) {
  WithMaps<const T>(call.maps, &call.features, status, run);
}

// The gradient is not zero before: every element has to be written.
template <typename T, typename B, typename Run>
std::vector<std::vector<T>> MakeFeatureGrad(const Call<T, B>& call,
                                            Status* status, const Run& run) {
  std::vector<std::vector<T>> grad;
  for (const std::vector<T>& features : call.features) {
    grad.emplace_back(features.size(), FromDouble<T>(77));
  }
  WithMaps<T>(call.maps, &grad, status, run);
  return grad;
}

template <typename T, typename B>
std::vector<T> Forward(const Call<T, B>& call, SimdLevel level,
                       const ParallelFor& threads = Serial,
                       Status* status = nullptr) {
  std::vector<T> output(call.grad_output.size(), FromDouble<T>(77));
  WithFeatures(call, status, [&](const FeatureMaps<const T>& features) {
    return RoiAlignForward({threads, level, CountFor(threads)}, call.params,
                           call.sizes, call.boxes(), features, output.data());
  });
  return output;
}

template <typename T, typename B>
std::vector<T> ForwardQuantized(const Call<T, B>& call, float scale,
                                int32_t zero_point, SimdLevel level,
                                const ParallelFor& threads = Serial,
                                Status* status = nullptr) {
  std::vector<T> output(call.grad_output.size(), T(77));
  WithFeatures(call, status, [&](const FeatureMaps<const T>& features) {
    return RoiAlignForwardQuantized({threads, level, CountFor(threads)},
                                    call.params, call.sizes, call.boxes(),
                                    scale, zero_point, features, output.data());
  });
  return output;
}

// Of each map.
template <typename T, typename B>
std::vector<std::vector<T>> FeatureGrad(const Call<T, B>& call, SimdLevel level,
                                        const ParallelFor& threads = Serial,
                                        Status* status = nullptr) {
  return MakeFeatureGrad(call, status, [&](const FeatureMaps<T>& grad) {
    return RoiAlignFeatureGrad({threads, level, CountFor(threads)}, call.params,
                               call.sizes, call.boxes(),
                               call.grad_output.data(), grad);
  });
}

template <typename T, typename B>
std::vector<B> BoxGrad(const Call<T, B>& call, SimdLevel level,
                       const ParallelFor& threads = Serial,
                       Status* status = nullptr) {
  std::vector<B> grad(call.rows.size(), B(77));
  WithFeatures(call, status, [&](const FeatureMaps<const T>& features) {
    return RoiAlignBoxGrad({threads, level, CountFor(threads)}, call.params,
                           call.sizes, call.boxes(), features,
                           call.grad_output.data(), grad.data());
  });
  return grad;
}

template <typename T, typename B>
std::vector<T> BoxTangent(const Call<T, B>& call, SimdLevel level,
                          const ParallelFor& threads = Serial,
                          Status* status = nullptr) {
  std::vector<T> output(call.grad_output.size(), FromDouble<T>(77));
  WithFeatures(call, status, [&](const FeatureMaps<const T>& features) {
    return RoiAlignBoxTangent({threads, level, CountFor(threads)}, call.params,
                              call.sizes, call.boxes(), call.direction.data(),
                              features, output.data());
  });
  return output;
}

// Of each map.
template <typename T, typename B>
std::vector<std::vector<T>> BoxTangentGrad(const Call<T, B>& call,
                                           SimdLevel level,
                                           const ParallelFor& threads = Serial,
                                           Status* status = nullptr) {
  return MakeFeatureGrad(call, status, [&](const FeatureMaps<T>& grad) {
    return RoiAlignBoxTangentGrad(
        {threads, level, CountFor(threads)}, call.params, call.sizes,
        call.boxes(), call.direction.data(), call.grad_output.data(), grad);
  });
}

// Calls visit(name, run) for every function of the core; run(threads) says what
// it returns. The two calls are alike but for their dtype.
template <typename B, typename Visit>
void ForEachFunction(const Call<float, B>& call, const Call<int8_t, B>& codes,
                     const Visit& visit) {
  const SimdLevel level = CurrentSimdLevel();
  const auto visit_function = [&](const char* name, const auto& function) {
    visit(name, [&](const ParallelFor& threads) {
      Status status;
      function(threads, &status);
      return status;
    });
  };
  using Threads = const ParallelFor&;
  visit_function("forward", [&](Threads threads, Status* status) {
    Forward(call, level, threads, status);
  });
  visit_function("forward of codes", [&](Threads threads, Status* status) {
    ForwardQuantized(codes, 0.5f, 3, level, threads, status);
  });
  visit_function("feature gradient", [&](Threads threads, Status* status) {
    FeatureGrad(call, level, threads, status);
  });
  visit_function("box gradient", [&](Threads threads, Status* status) {
    BoxGrad(call, level, threads, status);
  });
  visit_function("box tangent", [&](Threads threads, Status* status) {
    BoxTangent(call, level, threads, status);
  });
  visit_function("box tangent's gradient",
                 [&](Threads threads, Status* status) {
                   BoxTangentGrad(call, level, threads, status);
                 });
}

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_TESTING_CPU_CALL_H_
