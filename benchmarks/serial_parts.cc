// Predicts how the CPU path scales to more threads than this machine has.
//
//   serial_parts [--csv] [workloads...]       default: all
//
// Runs every call on one thread, as the blocks that ShareWork would make for
// more, and times each block and what lies between the parallel parts. Each
// time is the shortest of several rounds. The model:
//
//   time(N) = serial + the sum over parallel parts of: blocks, in their order,
//             go to the thread that is free first; the time of the last one
//   efficiency(N) = time of the call in one piece / (N * time(N))
//
// So it shows serial code, too few blocks, uneven blocks and what each block
// costs more than its units. It knows nothing of memory that threads share.
// "predicted" is the time that the core reckons with when it shares the call
// out. "woken": efficiency with threads that begin kWake after the first, in
// each parallel part.
//
// Boxes are random, of the sizes of benchmarks/workloads. --csv: workload,
// layout, op, threads and milliseconds, woken, for threads.py.

#include <time.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <numeric>
#include <queue>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "cc/core/base/parallel.h"
#include "cc/core/base/status.h"
#include "cc/core/call/boxes.h"
#include "cc/core/call/feature_maps.h"
#include "cc/core/call/level_rule.h"
#include "cc/core/call/params.h"
#include "cc/core/cpu/roi_align_cpu.h"
#include "cc/core/cpu/shared_work.h"
#include "cc/core/cpu/simd/level.h"

namespace tf_roialign {
namespace {

constexpr int kRounds = 5;
constexpr double kWake = 10;  // microseconds
constexpr int kThreads[] = {8, 32, 96};
constexpr int kCsvThreads[] = {2, 4, 8, 16, 32, 64, 96};
constexpr double kImageHeight = 800, kImageWidth = 1088;

// Of this thread alone, in microseconds: whatever else runs takes none of it.
double Now() {
  timespec time;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return double(time.tv_sec) * 1e6 + double(time.tv_nsec) * 1e-3;
}

void Check(const Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "serial_parts: %s\n", status.text().c_str());
  std::exit(1);
}

struct Workload {
  const char* name;
  Sizes sizes;
  std::vector<int> strides;  // of each map
  OutputSize output_size;
  int64_t sampling_ratio;
  bool aligned;
  double least_side;  // of a box, in pixels of the image
  double most_side;
};

const Workload kWorkloads[] = {
    {"W1", {2, 256, 1000}, {4}, {7, 7}, 2, true, 16, 128},
    {"W2", {2, 256, 200}, {4}, {14, 14}, 2, true, 16, 128},
    {"W3", {1, 1024, 300}, {16}, {14, 14}, 0, true, 32, 600},
    {"W4", {1, 256, 256}, {4}, {7, 7}, 0, false, 64, 800},
    {"P7", {2, 256, 1000}, {4, 8, 16, 32}, {7, 7}, 2, true, 16, 600},
    {"S1", {1, 256, 1}, {4}, {7, 7}, 2, true, 16, 128},
    {"S20", {1, 256, 20}, {4}, {7, 7}, 2, true, 16, 128},
};

// The data of a workload's calls.
class Problem {
 public:
  Problem(const Workload& workload, Layout layout) : sizes_(workload.sizes) {
    params_.output_size = workload.output_size;
    params_.sampling_ratio = workload.sampling_ratio;
    params_.aligned = workload.aligned;
    params_.data_format = layout;
    std::mt19937 random(1);
    MakeRows(workload, &random);
    std::vector<Scale> scales;
    for (const int stride : workload.strides) {
      const int64_t height = int64_t(std::ceil(kImageHeight / stride));
      const int64_t width = int64_t(std::ceil(kImageWidth / stride));
      features_.push_back(
          Numbers(sizes_.batch * height * width * sizes_.channels, &random));
      grads_.emplace_back(features_.back().size());
      const double scale = 1.0 / stride;
      scales.push_back({scale, scale});
      maps_.push_back({features_.back().data(), height, width, scale, scale});
      grad_maps_.push_back({grads_.back().data(), height, width, scale, scale});
    }
    if (scales.size() > 1) {
      rule_ = MakeLevelRule<float>(224, 4, scales.data(), int(scales.size()));
      boxes_.level_rule = &rule_;
    }
    upstream_ = Numbers(sizes_.boxes * params_.pooled_height() *
                            params_.pooled_width() * sizes_.channels,
                        &random);
    output_.resize(upstream_.size());
    grad_boxes_.resize(rows_.size());
  }
  Problem(const Problem&) = delete;

  void Forward(const CpuContext& context) {
    Check(RoiAlignForward<float, float>(context, params_, sizes_, boxes_,
                                        maps(), output_.data()));
  }
  void FeatureGrad(const CpuContext& context) {
    Check(RoiAlignFeatureGrad<float, float>(
        context, params_, sizes_, boxes_, upstream_.data(),
        FeatureMaps<float>(grad_maps_.data(), int(grad_maps_.size()))));
  }
  void BoxGrad(const CpuContext& context) {
    Check(RoiAlignBoxGrad<float, float>(context, params_, sizes_, boxes_,
                                        maps(), upstream_.data(),
                                        grad_boxes_.data()));
  }

 private:
  FeatureMaps<const float> maps() const {
    return FeatureMaps<const float>(maps_.data(), int(maps_.size()));
  }

  // As many of each octave of sizes.
  void MakeRows(const Workload& workload, std::mt19937* random) {
    std::uniform_real_distribution<double> unit(0, 1);
    const auto side = [&](double image_side) {
      const double octaves =
          std::log2(workload.most_side / workload.least_side);
      return std::min(image_side,
                      workload.least_side * std::exp2(octaves * unit(*random)));
    };
    for (int64_t k = 0; k < sizes_.boxes; ++k) {
      const double width = side(kImageWidth), height = side(kImageHeight);
      const double x = unit(*random) * (kImageWidth - width);
      const double y = unit(*random) * (kImageHeight - height);
      const int64_t image = k * sizes_.batch / sizes_.boxes;
      for (double number : {double(image), x, y, x + width, y + height}) {
        rows_.push_back(float(number));
      }
    }
    boxes_ = {BoxForm::kIndexed, rows_.data(), 5, sizes_.boxes};
  }

  static std::vector<float> Numbers(int64_t count, std::mt19937* random) {
    std::vector<float> numbers(count);
    for (float& number : numbers) number = float((*random)()) * 0x1p-32f;
    return numbers;
  }

  Params params_;
  Sizes sizes_;
  std::vector<float> rows_;
  Boxes<float> boxes_;
  LevelRule rule_;
  std::vector<std::vector<float>> features_;
  std::vector<std::vector<float>> grads_;
  std::vector<FeatureMap<const float>> maps_;
  std::vector<FeatureMap<float>> grad_maps_;
  std::vector<float> upstream_;
  std::vector<float> output_;
  std::vector<float> grad_boxes_;
};

using Op = void (Problem::*)(const CpuContext&);

struct Part {
  double predicted;  // what the core takes it for (cpu/tuning.h)
  int64_t threads;   // that take blocks
  std::vector<double> blocks;
};

// What a call on one thread takes, in microseconds.
struct Times {
  std::vector<double> between;  // before, between and after the parallel parts
  std::vector<Part> parts;

  void KeepLess(const Times& other) {
    if (between.empty()) *this = other;
    for (size_t i = 0; i < between.size(); ++i) {
      between[i] = std::min(between[i], other.between[i]);
    }
    for (size_t i = 0; i < parts.size(); ++i) {
      for (size_t j = 0; j < parts[i].blocks.size(); ++j) {
        parts[i].blocks[j] =
            std::min(parts[i].blocks[j], other.parts[i].blocks[j]);
      }
    }
  }

  double serial() const {
    return std::accumulate(between.begin(), between.end(), 0.0);
  }
  double sum() const {
    double sum = serial();
    for (const Part& part : parts) {
      sum = std::accumulate(part.blocks.begin(), part.blocks.end(), sum);
    }
    return sum;
  }
  double predicted() const {
    double sum = 0;
    for (const Part& part : parts) sum += part.predicted;
    return sum;
  }
  // Of the part that has the longest block.
  const Part& longest_part() const {
    return *std::max_element(
        parts.begin(), parts.end(),
        [](const Part& a, const Part& b) { return Longest(a) < Longest(b); });
  }
  static double Longest(const Part& part) {
    return *std::max_element(part.blocks.begin(), part.blocks.end());
  }
};

constexpr int kUnitByUnit = 0;

// `threads`: for which the call is cut into blocks.
Times Measure(Problem* problem, Op op, int threads) {
  Times best;
  for (int round = 0; round < kRounds; ++round) {
    Times times;
    double last = 0;
    const ParallelFor in_blocks =
        [&](int64_t units, int64_t unit_cost,
            const std::function<void(int64_t, int64_t)>& run) {
          times.between.push_back(Now() - last);
          const WorkCut cut(threads, units, unit_cost);
          Part part = {
              1e-3 * double(units) * double(unit_cost), cut.threads(), {}};
          part.blocks.reserve(units);
          for (int64_t i = 0; i < units;) {
            const int64_t end = threads == kUnitByUnit ? i + 1 : cut.End(i);
            const double begin = Now();
            run(i, end);
            part.blocks.push_back(Now() - begin);
            i = end;
          }
          times.parts.push_back(std::move(part));
          last = Now();
        };
    last = Now();
    (problem->*op)(
        CpuContext{in_blocks, CurrentSimdLevel(), std::max(threads, 1)});
    times.between.push_back(Now() - last);
    best.KeepLess(times);
  }
  return best;
}

double Predict(const Times& times, double wake) {
  double time = times.serial();
  for (const Part& part : times.parts) {
    std::priority_queue<double, std::vector<double>, std::greater<double>> free;
    free.push(0);
    for (int64_t i = 1; i < part.threads; ++i) free.push(wake);
    double end = 0;
    for (double block : part.blocks) {
      const double done = free.top() + block;
      free.pop();
      free.push(done);
      end = std::max(end, done);
    }
    time += end;
  }
  return time;
}

void Report(const char* workload, const char* layout, const char* name,
            Problem* problem, Op op) {
  const Times whole = Measure(problem, op, 1);
  const Times units = Measure(problem, op, kUnitByUnit);
  double efficiency[2][std::size(kThreads)];
  for (size_t i = 0; i < std::size(kThreads); ++i) {
    const Times times = Measure(problem, op, kThreads[i]);
    for (const bool woken : {false, true}) {
      efficiency[woken][i] =
          100 * whole.sum() / kThreads[i] / Predict(times, woken ? kWake : 0);
    }
  }
  const Part& longest = units.longest_part();
  std::printf("%-4s %s %-16s %9.3f %9.3f %8.1f %7.2f%% %6zu %8.0f  ", workload,
              layout, name, whole.sum() * 1e-3, whole.predicted() * 1e-3,
              whole.serial(), 100 * whole.serial() / whole.sum(),
              longest.blocks.size(), Times::Longest(longest));
  for (const auto& row : efficiency) {
    for (double each : row) std::printf(" %4.0f%%", each);
    std::printf("  ");
  }
  std::printf("\n");
  std::fflush(stdout);
}

void ReportCsv(const char* workload, const char* layout, const char* name,
               Problem* problem, Op op) {
  std::printf("%s,%s,%s,1,%.4f\n", workload, layout, name,
              1e-3 * Measure(problem, op, 1).sum());
  for (const int threads : kCsvThreads) {
    std::printf("%s,%s,%s,%d,%.4f\n", workload, layout, name, threads,
                1e-3 * Predict(Measure(problem, op, threads), kWake));
  }
  std::fflush(stdout);
}

void PrintHeader() {
  std::printf("%s\n%73s  %-16s   woken after %.0f us\n",
              SimdLevelName(CurrentSimdLevel()), "", "efficiency at", kWake);
  std::printf("%-26s %9s %9s %8s %8s %6s %8s  ", "", "total ms", "predicted",
              "serial us", "serial", "units", "longest");
  for (int i = 0; i < 2; ++i) {
    for (int threads : kThreads) std::printf(" %5d", threads);
    std::printf("  ");
  }
  std::printf("\n");
}

int Main(int argc, char** argv) {
  std::vector<std::string> names(argv + 1, argv + argc);
  const bool csv = !names.empty() && names.front() == "--csv";
  if (csv) {
    names.erase(names.begin());
  } else {
    PrintHeader();
  }
  const auto report = csv ? ReportCsv : Report;
  for (const Workload& workload : kWorkloads) {
    if (!names.empty() &&
        std::find(names.begin(), names.end(), workload.name) == names.end()) {
      continue;
    }
    for (const Layout layout : {Layout::kNHWC, Layout::kNCHW}) {
      Problem problem(workload, layout);
      const char* name = layout == Layout::kNHWC ? "NHWC" : "NCHW";
      report(workload.name, name, "forward", &problem, &Problem::Forward);
      report(workload.name, name, "gradient", &problem, &Problem::FeatureGrad);
      report(workload.name, name, "box gradient", &problem, &Problem::BoxGrad);
    }
  }
  return 0;
}

}  // namespace
}  // namespace tf_roialign

int main(int argc, char** argv) { return tf_roialign::Main(argc, argv); }
