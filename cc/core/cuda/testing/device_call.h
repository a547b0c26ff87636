// The calls of testing/cpu_call.h as a GPU gets them.

#ifndef TF_ROIALIGN_CC_CORE_CUDA_TESTING_DEVICE_CALL_H_
#define TF_ROIALIGN_CC_CORE_CUDA_TESTING_DEVICE_CALL_H_

#include <cmath>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "cc/core/call/boxes.h"
#include "cc/core/call/feature_maps.h"
#include "cc/core/call/level_rule.h"
#include "cc/core/testing/cpu_call.h"

namespace tf_roialign {

constexpr BoxForm kBoxForms[] = {BoxForm::kIndexed, BoxForm::kSeparate,
                                 BoxForm::kDense};

// Adds a box, with a direction to move in.
template <typename T, typename B>
void AddBox(const std::vector<double>& row, Call<T, B>* call) {
  for (const double number : row) {
    call->rows.push_back(static_cast<B>(number));
    call->direction.push_back(static_cast<B>(0.3 * double(row.size()) - 1));
  }
  if (!call->map_indices.empty()) call->map_indices.push_back(0);
  ++call->sizes.boxes;
}

// On two maps, of two images: boxes inside, on the border, outside, tiny,
// reversed, large, huge, on the rim of the map, and not finite.
template <typename T, typename B>
Call<T, B> CallOnMaps(int seed, const Params& params, int64_t channels) {
  Call<T, B> call = RandomCall<T, B>(seed, params, {2, channels, 23},
                                     {{9, 13, 0.5, 0.45}, {17, 6, 0.75, 0.3}});
  for (int64_t k = 0; k < call.sizes.boxes; ++k) {
    call.map_indices.push_back(k % 3 == 0);
  }
  AddBox({0, -1e9, -3e7, 1e9, 4e7}, &call);
  AddBox({1, 3e8, 20, -3e8, -20}, &call);
  AddBox({0, -0.7, -0.7, 0.3, 26.9}, &call);
  AddBox({1, 8, 8, 8, 8}, &call);
  AddBox({0, NAN, 1, 9, 9}, &call);
  AddBox({1, 1, 1, INFINITY, 9}, &call);
  AddBox({1, 25.1, 17.2, 26.9, 18.8}, &call);
  std::mt19937 random(seed + 1);
  call.direction = RandomNumbers<B>(call.sizes.boxes * 5, &random);
  call.grad_output = RandomNumbers<T>(
      call.sizes.boxes * call.bins() * call.sizes.channels, &random);
  return call;
}

// As dense boxes have them: as many of each image, in the order of the images.
template <typename T, typename B>
Call<T, B> InOrderOfImages(Call<T, B> call) {
  const int64_t of_image = call.sizes.boxes / call.sizes.batch;
  for (int64_t k = 0; k < call.sizes.boxes; ++k) {
    call.rows[k * 5] = static_cast<B>(k / of_image);
  }
  return call;
}

// Boxes of image and map indices that are not there have no meaning on a GPU.
// `call` gets them (not those of a form without indices); what is returned is
// the same for a CPU, which would refuse them: a NaN in a coordinate.
template <typename T, typename B>
Call<T, B> AddBadIndices(BoxForm form, Call<T, B>* call) {
  Call<T, B> on_cpu = *call;
  const auto leave_out = [&](int64_t k) {
    on_cpu.rows[k * 5 + 1] = static_cast<B>(NAN);
  };
  if (form != BoxForm::kDense) {
    for (const auto& [k, image] : {std::pair<int64_t, int>{2, -1}, {9, 2}}) {
      call->rows[k * 5] = static_cast<B>(image);
      leave_out(k);
    }
  }
  for (const auto& [k, map] : {std::pair<int64_t, int>{4, -1}, {11, 2}}) {
    call->map_indices[k] = map;
    leave_out(k);
  }
  return on_cpu;
}

// The boxes of a call in the form asked for, in memory that AddressSanitizer
// watches.
template <typename B>
class DeviceBoxes {
 public:
  template <typename T>
  DeviceBoxes(const Call<T, B>& call, BoxForm form, bool wide_indices = false) {
    const int64_t columns = form == BoxForm::kIndexed ? 5 : 4;
    for (int64_t k = 0; k < call.sizes.boxes; ++k) {
      const int64_t end = k * 5 + 5;
      for (int64_t i = end - columns; i < end; ++i) {
        rows_.push_back(call.rows[i]);
        direction_.push_back(call.direction[i]);
      }
      narrow_.push_back(static_cast<int32_t>(call.rows[k * 5]));
    }
    wide_.assign(narrow_.begin(), narrow_.end());
    narrow_maps_ = call.map_indices;
    wide_maps_.assign(narrow_maps_.begin(), narrow_maps_.end());
    boxes_ = {form, rows_.data(), columns, call.sizes.boxes};
    if (form == BoxForm::kSeparate) {
      boxes_.box_indices = wide_indices ? static_cast<void*>(wide_.data())
                                        : static_cast<void*>(narrow_.data());
      boxes_.indices_are_64_bit = wide_indices;
    }
    if (!narrow_maps_.empty()) {
      boxes_.map_indices = wide_indices
                               ? static_cast<void*>(wide_maps_.data())
                               : static_cast<void*>(narrow_maps_.data());
      boxes_.map_indices_are_64_bit = wide_indices;
    }
  }
  DeviceBoxes(const DeviceBoxes&) = delete;

  // The number is read where the kernels run.
  void SetCountOnDevice(const int32_t* count) {
    boxes_.count_on_device = count;
  }

  // Maps are chosen by it.
  void SetLevelRule(const LevelRule* rule) {
    boxes_.map_indices = nullptr;
    boxes_.map_indices_are_64_bit = false;
    boxes_.level_rule = rule;
  }

  const Boxes<B>& boxes() const { return boxes_; }
  const B* direction() const { return direction_.data(); }
  int64_t numbers() const { return int64_t(rows_.size()); }

 private:
  std::vector<B> rows_;
  std::vector<B> direction_;
  std::vector<int32_t> narrow_;
  std::vector<int64_t> wide_;
  std::vector<int32_t> narrow_maps_;
  std::vector<int64_t> wide_maps_;
  Boxes<B> boxes_ = {};
};

// Of a call's maps and their gradients.
template <typename T, typename Data>
std::vector<FeatureMap<T>> MapsOf(const std::vector<MapSize>& sizes,
                                  Data* data) {
  std::vector<FeatureMap<T>> maps;
  for (size_t m = 0; m < sizes.size(); ++m) {
    maps.push_back({(*data)[m].data(), sizes[m].height, sizes[m].width,
                    sizes[m].scale_y, sizes[m].scale_x});
  }
  return maps;
}

// Name of a test of a layout, `aligned`, sampling_ratio and channels.
inline std::string NameOfParams(Layout layout, bool aligned, int ratio,
                                int64_t channels) {
  return std::string(layout == Layout::kNHWC ? "Nhwc" : "Nchw") +
         (aligned ? "Aligned" : "NotAligned") +
         (ratio > 0 ? "Ratio" + std::to_string(ratio) : "Adaptive") +
         "Channels" + std::to_string(channels);
}

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CUDA_TESTING_DEVICE_CALL_H_
