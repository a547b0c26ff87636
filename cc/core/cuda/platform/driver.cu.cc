#include "cc/core/cuda/driver.h"

#include <cuda_runtime.h>

#include <string>

namespace tf_roialign {
namespace {

constexpr int kOldest = TF_ROIALIGN_OLDEST_ARCHITECTURE;

// 75: "7.5".
std::string Capability(int number) {
  return std::to_string(number / 10) + "." + std::to_string(number % 10);
}

// 11080: "11.8".
std::string Version(int number) {
  return std::to_string(number / 1000) + "." +
         std::to_string(number % 1000 / 10);
}

int CapabilityOf(int device) {
  int major = 0, minor = 0;
  cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
  cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device);
  return 10 * major + minor;
}

std::string DriverProblem() {
  int driver = 0;
  cudaDriverGetVersion(&driver);
  if (driver == 0) {
    return "RoIAlign's GPU kernels need an NVIDIA driver, and there is none";
  }
  return "RoIAlign's GPU kernels need an NVIDIA driver for CUDA " +
         Version(CUDART_VERSION) + " or later, and this one is for CUDA " +
         Version(driver) + ": update the driver";
}

std::string NoKernelFor(int capability) {
  const std::string gpu =
      "this GPU (compute capability " + Capability(capability) + ")";
  if (capability < kOldest) {
    return "RoIAlign's GPU kernels are for compute capability " +
           Capability(kOldest) + " and later, and " + gpu + " is older";
  }
  return "RoIAlign has no GPU kernels for " + gpu +
         ", and the driver cannot compile them: update the driver, or build "
         "tf_roialign for this GPU";
}

}  // namespace

std::string CudaErrorText(int error) {
  int device = 0;
  switch (error) {
    case cudaErrorInsufficientDriver:
      return DriverProblem();
    case cudaErrorNoKernelImageForDevice:
    case cudaErrorInvalidDeviceFunction:
    case cudaErrorUnsupportedPtxVersion:
    case cudaErrorInvalidPtx:
    case cudaErrorJitCompilerNotFound:
      if (cudaGetDevice(&device) == cudaSuccess) {
        return NoKernelFor(CapabilityOf(device));
      }
      break;
    default:
      break;
  }
  return std::string("CUDA could not launch a RoIAlign kernel: ") +
         cudaGetErrorString(static_cast<cudaError_t>(error));
}

std::string CudaProblem() {
  int devices = 0;
  const cudaError_t error = cudaGetDeviceCount(&devices);
  cudaGetLastError();  // or a launch would find it
  if (error == cudaErrorNoDevice) return "there is no NVIDIA GPU";
  if (error == cudaErrorInsufficientDriver) return DriverProblem();
  if (error != cudaSuccess) {
    return std::string("CUDA does not start: ") + cudaGetErrorString(error);
  }
  for (int device = 0; device < devices; ++device) {
    const int capability = CapabilityOf(device);
    if (capability < kOldest) {
      return NoKernelFor(capability);
    }
  }
  return "";
}

}  // namespace tf_roialign
