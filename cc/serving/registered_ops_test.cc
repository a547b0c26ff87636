// A program that is linked as TensorFlow Serving's is: no library is loaded,
// nothing is called, and the ops and kernels are there. It lists them.

#include <algorithm>
#include <iostream>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "gtest/gtest.h"
#include "tensorflow/core/framework/kernel_def.pb.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_def.pb.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace tf_roialign {
namespace {

std::vector<std::string> RegisteredOps() {
  std::vector<tensorflow::OpDef> all;
  tensorflow::OpRegistry::Global()->GetRegisteredOps(&all);
  std::vector<std::string> ours;
  for (const tensorflow::OpDef& op : all) {
    if (absl::StartsWith(op.name(), "TfRoialign>")) ours.push_back(op.name());
  }
  std::sort(ours.begin(), ours.end());
  return ours;
}

int CpuKernels(const std::string& op) {
  const auto kernels = tensorflow::GetRegisteredKernelsForOp(op).kernel();
  return std::count_if(kernels.begin(), kernels.end(), [](const auto& kernel) {
    return kernel.device_type() == "CPU";
  });
}

TEST(RegisteredOpsTest, AllOpsHaveTheirKernels) {
  const std::vector<std::string> ops = RegisteredOps();
  for (const std::string& op : ops) {
    std::cout << op << ": " << CpuKernels(op) << " CPU kernels\n";
  }
  for (const char* op :
       {"TfRoialign>QuantizedRoiAlign", "TfRoialign>RoiAlign",
        "TfRoialign>RoiAlignBoxesGrad", "TfRoialign>RoiAlignBoxesTangent",
        "TfRoialign>RoiAlignBoxesTangentGrad", "TfRoialign>RoiAlignGrad"}) {
    EXPECT_EQ(std::count(ops.begin(), ops.end(), op), 1) << op;
    // Dtypes of features, four or those of codes, and two of boxes.
    const int dtypes =
        op == std::string("TfRoialign>QuantizedRoiAlign") ? 6 : 4;
    EXPECT_EQ(CpuKernels(op), dtypes * 2) << op;
  }
}

}  // namespace
}  // namespace tf_roialign
