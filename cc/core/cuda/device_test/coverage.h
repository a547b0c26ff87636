// Which instructions of the kernels' PTX the tests ran.

#ifndef TF_ROIALIGN_CC_CORE_CUDA_DEVICE_TEST_COVERAGE_H_
#define TF_ROIALIGN_CC_CORE_CUDA_DEVICE_TEST_COVERAGE_H_

#include <string>
#include <vector>

#include "cc/core/cuda/ptx/device.h"

namespace tf_roialign {

// Of the instructions of each kernel and each function that kernels call, so
// many have to run in some lane; by how the name begins.
struct LeastCoverage {
  const char* prefix;
  double share;
};
constexpr LeastCoverage kLeastCoverage[] = {
    // 26 of its 351 to 455 instructions would take more than 2^24 bins
    // (docs/notes/cuda-kernels.md).
    {"bool WeightAgain", 0.92},
    {"", 0.95},
};

struct Coverage {
  std::string name;
  int instructions = 0;
  int ran = 0;
  // Those that did not, with their lines: "812: add.s32 ...".
  std::vector<std::string> missed;

  double share() const { return double(ran) / instructions; }
  bool is_enough() const;
};

// Of everything that is loaded, by name.
std::vector<Coverage> MeasureCoverage(const ptx::Device& device);

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CUDA_DEVICE_TEST_COVERAGE_H_
