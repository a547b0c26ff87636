// What Python asks about the GPUs of this machine.

#include <string>

#include "cc/core/cuda/driver.h"

extern "C" __attribute__((visibility("default"))) const char*
TfRoialignCudaProblem() {
  static const std::string problem = tf_roialign::CudaProblem();
  return problem.c_str();
}
