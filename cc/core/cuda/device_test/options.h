// What main was told.

#ifndef TF_ROIALIGN_CC_CORE_CUDA_DEVICE_TEST_OPTIONS_H_
#define TF_ROIALIGN_CC_CORE_CUDA_DEVICE_TEST_OPTIONS_H_

#include <string>

namespace tf_roialign {

struct Options {
  std::string golden;  // tests/golden/torchvision.npz, unpacked
  bool coverage = false;
  bool missed = false;

  static Options& Get() {
    static Options options;
    return options;
  }
};

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CUDA_DEVICE_TEST_OPTIONS_H_
