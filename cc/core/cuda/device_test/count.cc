// Counts what the kernels issue for the benchmarks' workloads, per element of
// their output, as a table:
//
//   count [W1 ...] [--op=forward] [--layout=NCHW] [--architecture=N]
//         [--boxes=N] [--kernels]
//
// Of one image. The forward and the gradient to the boxes take N boxes, evenly
// out of all; the gradient to the features takes all of the image's, for its
// cost depends on how dense they lie. Blocks are as large as the whole workload
// gets them. --kernels: a row for each kernel, too.

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "cc/core/cuda/device_test/arrays.h"
#include "cc/core/cuda/device_test/interpreted_device.h"
#include "cc/core/cuda/ptx/fake_runtime.h"
#include "cc/core/cuda/tuning.h"

namespace tf_roialign {
namespace {

using ptx::Class;

struct Arguments {
  std::vector<std::string> workloads;
  std::string op, layout;
  int architecture = 0;
  int64_t boxes = 48;
  bool kernels = false;
};

struct Workload {
  Params params;
  Sizes sizes;  // of one image
  int64_t height, width;
  double scale;
  std::vector<float> rows;  // [K, 5]
  int64_t all_images;
  int64_t all_boxes;
};

Workload Read(const std::string& name) {
  const auto arrays =
      ReadArrays("cc/core/cuda/device_test/" + name + ".arrays");
  const auto number = [&](const char* key, int i = 0) {
    return arrays.at(key).At(i);
  };
  Workload w;
  w.params.output_size = {int64_t(number("output_size", 0)),
                          int64_t(number("output_size", 1))};
  w.params.sampling_ratio = int64_t(number("sampling_ratio"));
  w.params.aligned = number("aligned") != 0;
  w.sizes.batch = 1;
  w.sizes.channels = int64_t(number("input_shape", 1));
  w.height = int64_t(number("input_shape", 2));
  w.width = int64_t(number("input_shape", 3));
  w.scale = number("spatial_scale");
  const Array& rois = arrays.at("rois");
  w.all_images = int64_t(number("input_shape", 0));
  w.all_boxes = rois.shape[0];
  for (int64_t k = 0; k < rois.shape[0]; ++k) {
    if (rois.At(k * 5) != 0) continue;  // of another image
    for (int i = 0; i < 5; ++i) {
      w.rows.push_back(static_cast<float>(rois.At(k * 5 + i)));
    }
  }
  return w;
}

std::vector<float> SomeOf(const std::vector<float>& rows, int64_t count) {
  const int64_t all = static_cast<int64_t>(rows.size()) / 5;
  count = std::min(count, all);
  std::vector<float> some;
  for (int64_t i = 0; i < count; ++i) {
    const float* const row = &rows[i * all / count * 5];
    some.insert(some.end(), row, row + 5);
  }
  return some;
}

// Numbers of no meaning, in [-1, 1). Aligned as cudaMalloc does, for the
// sectors that are counted depend on it.
class Numbers {
 public:
  explicit Numbers(int64_t count)
      : count_(count),
        values_(static_cast<float*>(std::aligned_alloc(
                    kAlignment, (count * sizeof(float) + kAlignment - 1) /
                                    kAlignment * kAlignment)),
                &std::free) {
    uint32_t state = 12345;
    for (int64_t i = 0; i < count; ++i) {
      state = state * 1664525u + 1013904223u;
      values_.get()[i] = static_cast<float>(state >> 8) / (1 << 23) - 1;
    }
  }

  float* data() { return values_.get(); }
  int64_t size() const { return count_; }

 private:
  static constexpr size_t kAlignment = 256;
  int64_t count_;
  std::unique_ptr<float, void (*)(void*)> values_;
};

// Of a kernel, or of several.
struct Totals {
  uint64_t warps[static_cast<int>(Class::kCount)] = {};
  uint64_t loaded = 0, stored = 0, local = 0, waves = 0;

  void Add(const Totals& other) {
    for (int c = 0; c < static_cast<int>(Class::kCount); ++c) {
      warps[c] += other.warps[c];
    }
    loaded += other.loaded;
    stored += other.stored;
    local += other.local;
    waves += other.waves;
  }
};

std::map<std::string, Totals> Collect() {
  std::map<std::string, Totals> all;
  for (const auto& [text, loaded] : ptx::TheDevice().programs()) {
    const ptx::Program& program = loaded->program;
    for (size_t i = 0; i < program.code.size(); ++i) {
      const ptx::Count& count = loaded->counts[i];
      if (count.warps == 0) continue;
      const Class c = program.code[i].counted_as;
      Totals& totals =
          all[ptx::ShortName(program.functions[program.owner[i]].name)];
      totals.warps[static_cast<int>(c)] += count.warps;
      totals.waves += count.waves;
      if (c == Class::kGlobalLoad) totals.loaded += 32 * count.sectors;
      if (c == Class::kGlobalStore) totals.stored += 32 * count.sectors;
    }
  }
  return all;
}

// The table's columns: classes that are shown together.
struct Column {
  const char* name;
  std::vector<Class> classes;
};
const std::vector<Column>& Columns() {
  static const std::vector<Column> columns = {
      {"move", {Class::kMove, Class::kParameter, Class::kConversion}},
      {"fp32", {Class::kFloat32}},
      {"fp64", {Class::kFloat64, Class::kFloatDivision}},
      {"int32", {Class::kInt32}},
      {"int64", {Class::kInt64}},
      {"int div", {Class::kIntDivision}},
      {"compare", {Class::kCompare}},
      {"branch", {Class::kBranch, Class::kCall}},
      {"barrier", {Class::kBarrier}},
      {"shared", {Class::kSharedLoad, Class::kSharedStore}},
      {"global load", {Class::kGlobalLoad}},
      {"global store", {Class::kGlobalStore, Class::kAtomic}},
      {"local", {Class::kLocal}},
  };
  return columns;
}

void PrintHeader() {
  std::printf("| workload, op, layout | total |");
  for (const Column& column : Columns()) std::printf(" %s |", column.name);
  std::printf(" shared waves | B loaded | B stored |\n|---|---|");
  for (size_t i = 0; i < Columns().size() + 3; ++i) std::printf("---|");
  std::printf("\n");
}

// Instructions of a warp are those of 32 threads.
void PrintRow(const std::string& name, const Totals& totals, double elements) {
  const auto per_element = [&](double count) {
    const double value = 32 * count / elements;
    std::printf(value < 10 ? " %.2f |" : " %.0f |", value);
  };
  double total = 0;
  for (const uint64_t count : totals.warps) total += double(count);
  std::printf("| %s |", name.c_str());
  per_element(total);
  for (const Column& column : Columns()) {
    double count = 0;
    for (const Class c : column.classes) {
      count += double(totals.warps[static_cast<int>(c)]);
    }
    per_element(count);
  }
  per_element(double(totals.waves));
  std::printf(" %.1f | %.1f |\n", double(totals.loaded) / elements,
              double(totals.stored) / elements);
  std::fflush(stdout);
}

// Returns false if the checks found something.
bool Count(const std::string& name, const std::string& op, Layout layout,
           const Arguments& arguments) {
  Workload w = Read(name);
  w.params.data_format = layout;
  const bool features_grad = op == "gradient";
  const std::vector<float> rows =
      features_grad ? w.rows : SomeOf(w.rows, arguments.boxes);
  w.sizes.boxes = static_cast<int64_t>(rows.size()) / 5;
  const Boxes<float> boxes = {BoxForm::kIndexed, rows.data(), 5, w.sizes.boxes};
  const int64_t pooled = w.sizes.boxes * w.sizes.channels *
                         w.params.pooled_height() * w.params.pooled_width();
  Numbers features(w.sizes.channels * w.height * w.width), upstream(pooled);
  std::vector<float> grad_boxes(rows.size());
  const FeatureMap<const float> map = {features.data(), w.height, w.width,
                                       w.scale, w.scale};
  const FeatureMap<float> grad_map = {features.data(), w.height, w.width,
                                      w.scale, w.scale};
  InterpretedDevice device(ThreadOrder::kAscending);
  cuda::block_limits().enough = std::max<int64_t>(
      1, features_grad ? cuda::kEnoughBlocks / w.all_images
                       : cuda::kEnoughBlocks * w.sizes.boxes / w.all_boxes);
  ptx::TheDevice().ClearCounts();
  const Status status =
      op == "forward" ? cuda::Forward<float, float>(device, w.params, w.sizes,
                                                    boxes, map, upstream.data())
      : features_grad
          ? cuda::FeatureGrad<float, float>(device, w.params, w.sizes, boxes,
                                            upstream.data(), grad_map)
          : cuda::BoxGrad<float, float>(device, w.params, w.sizes, boxes, map,
                                        upstream.data(), grad_boxes.data());
  if (!status.ok()) {
    std::fprintf(stderr, "%s\n", status.text().c_str());
    return false;
  }
  // The gradient to the boxes reads as much as the forward writes.
  const double elements =
      features_grad ? double(features.size()) : double(pooled);
  Totals all;
  const auto kernels = Collect();
  for (const auto& [kernel, totals] : kernels) all.Add(totals);
  const std::string row =
      name + " " + op + " " + (layout == Layout::kNHWC ? "NHWC" : "NCHW");
  PrintRow(row, all, elements);
  for (const auto& [kernel, totals] : kernels) {
    if (arguments.kernels) PrintRow("- " + kernel, totals, elements);
  }
  return ptx::TheDevice().faults().count() == 0;
}

bool Run(const Arguments& arguments) {
  ptx::ChooseArchitecture(arguments.architecture);
  ptx::TheDevice().options().count_memory = true;
  bool fine = true;
  PrintHeader();
  for (const std::string& workload : arguments.workloads) {
    for (const char* op : {"forward", "gradient", "box gradient"}) {
      if (!arguments.op.empty() && arguments.op != op) continue;
      for (const Layout layout : {Layout::kNHWC, Layout::kNCHW}) {
        const char* const name = layout == Layout::kNHWC ? "NHWC" : "NCHW";
        if (!arguments.layout.empty() && arguments.layout != name) continue;
        fine = Count(workload, op, layout, arguments) && fine;
      }
    }
  }
  return fine;
}

}  // namespace
}  // namespace tf_roialign

int main(int argc, char** argv) {
  tf_roialign::Arguments arguments;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    const size_t equals = argument.find('=');
    const std::string key = argument.substr(0, equals);
    const std::string value =
        equals == std::string::npos ? "" : argument.substr(equals + 1);
    if (key == "--op") {
      arguments.op = value;
    } else if (key == "--layout") {
      arguments.layout = value;
    } else if (key == "--architecture") {
      arguments.architecture = std::atoi(value.c_str());
    } else if (key == "--boxes") {
      arguments.boxes = std::max(1, std::atoi(value.c_str()));
    } else if (key == "--kernels") {
      arguments.kernels = true;
    } else {
      arguments.workloads.push_back(argument);
    }
  }
  if (arguments.workloads.empty()) {
    arguments.workloads = {"W1", "W2", "W3", "W4"};
  }
  return tf_roialign::Run(arguments) ? 0 : 1;
}
