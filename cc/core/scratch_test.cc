// Scratch memory is what cpu/scratch_bound.h says at most, and all of it is
// given back.

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cc/core/call/feature_maps.h"
#include "cc/core/cpu/box_taps.h"
#include "cc/core/cpu/scratch_bound.h"
#include "cc/core/cpu/sweep.h"
#include "cc/core/cpu/tuning.h"
#include "cc/core/geometry/box_axes.h"
#include "cc/core/testing/counting_new.h"
#include "cc/core/testing/expect.h"
#include "cc/core/testing/op_call.h"
#include "cc/core/testing/threads.h"
#include "gtest/gtest.h"

namespace tf_roialign {
namespace {

// Boxes are about as large as a map of 18 x 26 at scale 1.
const OpSizes kSizes[] = {
    {{1, 1, 1}, {{1, 1, 0.05, 0.05}, {3, 2, 0.1, 0.1}}, {1, 1}, -1},
    {{2, 3, 40}, {{18, 26, 1, 1}, {9, 13, 0.5, 0.5}}, {7, 7}, 2},
    {{1, 70, 40}, {{18, 26, 1, 1}, {90, 130, 5, 5}}, {3, 4}, -1},
    {{1, 5, 1500}, {{18, 26, 1, 1}, {9, 13, 0.5, 0.5}}, {2, 2}, 2},
    {{2, 1, 4000}, {{9, 13, 0.5, 0.5}, {5, 7, 0.2, 0.2}}, {1, 1}, 1},
    // Windows that are worth a sweep.
    {{1, 66, 16}, {{100, 140, 5, 5}, {60, 80, 3, 3}}, {7, 7}, -1},
    // Bins of a great many samples, and a great many bins.
    {{1, 2, 5}, {{100, 150, 5, 5}, {18, 26, 1, 1}}, {5, 6}, 100},
    {{1, 9, 3}, {{18, 26, 1, 1}, {9, 13, 0.5, 0.5}}, {70, 90}, 2},
    // Blocks of NCHW of which few are as many as there are threads.
    {{1, 200, 12}, {{70, 100, 4, 4}, {18, 26, 1, 1}}, {3, 3}, 2},
};

struct Manner {
  ParallelFor parallel_for;
  int at_once;
  int64_t threads;  // for which the call is cut
};

const Manner kManners[] = {
    {Serial, 1, 1},
    {Serial, 1, kManyThreads},
    {Threads(4), 4, 4},
};

// How near it comes to its bound.
double UsedPart(const AnyOpCall& call, size_t element, size_t accumulator) {
  OutputBytes outputs = call.MakeOutputs();
  const std::vector<void*> pointers = AnyOpCall::PointersTo(&outputs);
  double nearest = 0;
  for (const Manner& manner : kManners) {
    SCOPED_TRACE(manner.threads);
    const CpuContext context = {manner.parallel_for, CurrentSimdLevel(),
                                manner.threads};
    const int64_t blocks = LiveBlocks(), before = LiveBytes();
    TakePeakBytes();
    const Status status = call.Run(context, pointers);
    const int64_t used = TakePeakBytes() - before;
    ExpectOk(status);
    EXPECT_EQ(LiveBlocks(), blocks);
    EXPECT_EQ(LiveBytes(), before);
    const double bound =
        ScratchBound(call.params(), call.signature(), element, accumulator,
                     manner.at_once, manner.at_once)
            .Of(call.which().op);
    EXPECT_LE(double(used), bound);
    nearest = std::max(nearest, double(used) / bound);
  }
  return nearest;
}

TEST(Scratch, IsWithinItsBound) {
  for (const OpCase& which : AllOpCases()) {
    SCOPED_TRACE(which.name());
    double nearest = 0;
    for (const OpSizes& sizes : kSizes) {
      SCOPED_TRACE(&sizes - kSizes);
      const size_t code = IsOnCodes(which.op) ? 1 : 4;
      nearest = std::max(nearest,
                         UsedPart(*MakeOpCall<float>(which, sizes), code, 4));
      if (IsOnCodes(which.op) || which.maps == Maps::kMany) continue;
      nearest =
          std::max(nearest, UsedPart(*MakeOpCall<double>(which, sizes), 8, 8));
    }
    std::printf("%-50s %.2f of its bound\n", which.name().c_str(), nearest);
    EXPECT_GT(nearest, 0.2) << "the bound says little";
  }
}

// A sweep's visits, without what they would do.
struct NoVisits {
  struct Box {};
  static int64_t KeptElements(const BoxTaps<float>&, int64_t) { return 0; }
  void Visit(const BoxTaps<float>&, const TapRows<float>&, float*,
             const Box&) const {}
};

// Each time there is one box less, and the last one has a great many taps.
// If each place kept what its largest box took, all places would in the end.
TEST(Scratch, OfASweepDoesNotGrowWithItsBoxes) {
  constexpr int64_t kHeight = 200000, kTimes = 100, kPixel = 4;
  const Params params = {{1, 1}, -1, true, Layout::kNHWC};
  const float image = 0;  // no pixel is read
  const FeatureMap<const float> map = {&image, kHeight, 8, 1, 1};
  const auto axes_of = [&](float height) {
    const float box[] = {0, 0, 8, height};
    return MakeBoxAxes(params, map, box);
  };
  const int64_t before = LiveBytes();
  TakePeakBytes();
  {
    Sweep<float, NoVisits> sweep({}, &image, 8, kPixel, {0, kPixel});
    BoxTapsBuilder<float> builder;
    const auto add = [&](float height) {
      const BoxTaps<float> taps = builder.Build(params, map, axes_of(height));
      sweep.Add({0, 1}, taps, &builder, {});
    };
    for (int64_t time = 0; time < kTimes; ++time) {
      for (int64_t i = time + 1; i < kTimes; ++i) add(9);
      add(float(kHeight));
      sweep.Run();
    }
  }
  EXPECT_LT(TakePeakBytes() - before,
            160 * (2 * kSweptTapsHeld + kHeight + kSweptBoxTaps));
  EXPECT_EQ(LiveBytes(), before);
}

}  // namespace
}  // namespace tf_roialign
