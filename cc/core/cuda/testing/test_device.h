// The device that the tests of kernels run on, by the name TestDevice, and the
// launchers for it: an emulation of blocks that runs the kernels' source, or,
// with TF_ROIALIGN_TEST_DEVICE_CODE, an interpreter of what nvcc made of it.

#ifndef TF_ROIALIGN_CC_CORE_CUDA_TESTING_TEST_DEVICE_H_
#define TF_ROIALIGN_CC_CORE_CUDA_TESTING_TEST_DEVICE_H_

#if defined(TF_ROIALIGN_TEST_DEVICE_CODE)

#include "cc/core/cuda/device_test/interpreted_device.h"

namespace tf_roialign {
using TestDevice = InterpretedDevice;
}  // namespace tf_roialign

#else

#include "cc/core/cuda/launch/box_grad.h"
#include "cc/core/cuda/launch/box_tangent.h"
#include "cc/core/cuda/launch/feature_grad.h"
#include "cc/core/cuda/launch/forward.h"
#include "cc/core/cuda/launch/forward_quantized.h"
#include "cc/core/cuda/launch/max_feature_grad.h"
#include "cc/core/cuda/testing/block_emulator.h"

namespace tf_roialign {
using TestDevice = EmulatedDevice;
}  // namespace tf_roialign

#endif

#endif  // TF_ROIALIGN_CC_CORE_CUDA_TESTING_TEST_DEVICE_H_
