// GoogleTest's main for tests of device code:
//
//   --architecture=N  which PTX is run; otherwise the lowest that is there
//   --coverage        says what ran, and fails where it is not enough
//   --missed          says each instruction that did not run, too
//   --golden=FILE     the cases of golden_test.cc

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "cc/core/cuda/device_test/coverage.h"
#include "cc/core/cuda/device_test/options.h"
#include "cc/core/cuda/ptx/device.h"
#include "cc/core/cuda/ptx/fake_runtime.h"
#include "gtest/gtest.h"

namespace tf_roialign {
namespace {

bool ReportCoverage(bool missed) {
  ptx::LoadAll();
  bool enough = true;
  std::printf("%7s %8s  kernel\n", "ran", "of");
  for (const Coverage& kernel : MeasureCoverage(ptx::TheDevice())) {
    const bool too_few = !kernel.is_enough();
    enough = enough && !too_few;
    std::printf("%6.1f%% %8d  %s%s\n", 100 * kernel.share(),
                kernel.instructions, kernel.name.c_str(),
                too_few ? "  <- TOO FEW" : "");
    for (const std::string& line : kernel.missed) {
      if (missed || too_few) std::printf("    %s\n", line.c_str());
    }
  }
  return enough;
}

}  // namespace
}  // namespace tf_roialign

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  tf_roialign::Options& options = tf_roialign::Options::Get();
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    std::string value;
    const auto has_value = [&](const std::string& name) {
      if (argument.compare(0, name.size(), name) != 0) return false;
      value = argument.substr(name.size());
      return true;
    };
    if (has_value("--architecture=")) {
      tf_roialign::ptx::ChooseArchitecture(std::atoi(value.c_str()));
    } else if (has_value("--golden=")) {
      options.golden = value;
    } else if (argument == "--coverage") {
      options.coverage = true;
    } else if (argument == "--missed") {
      options.coverage = options.missed = true;
    } else {
      std::fprintf(stderr, "unknown: %s\n", argument.c_str());
      return 2;
    }
  }
#if defined(__x86_64__)
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) {
    std::fprintf(stderr, "The interpreter needs a CPU with AVX2 and FMA.\n");
    return 2;
  }
#endif
  int result = RUN_ALL_TESTS();
  const bool filtered = testing::GTEST_FLAG(filter) != "*";
  if (options.coverage && !tf_roialign::ReportCoverage(options.missed) &&
      !filtered) {
    result = 1;
  }
  return result;
}
