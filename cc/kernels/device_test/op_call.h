// Calls of ops for tests, run by their OpKernels on the CPU or on an
// InterpretedGpu.

#ifndef TF_ROIALIGN_CC_KERNELS_DEVICE_TEST_OP_CALL_H_
#define TF_ROIALIGN_CC_KERNELS_DEVICE_TEST_OP_CALL_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "cc/core/call/op.h"
#include "cc/kernels/device_test/interpreted_gpu.h"
#include "tensorflow/core/framework/node_def.pb.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/tensor.h"

namespace tf_roialign {

struct CallOptions {
  tensorflow::DataType features = tensorflow::DT_FLOAT;
  tensorflow::DataType boxes = tensorflow::DT_FLOAT;
  bool nchw = false;
  bool indices_in_rows = false;  // boxes [K, 5]
  bool levels_by_rule = false;   // of many maps
  int64_t batch = 2, channels = 5, count = 9;
  int seed = 1;
};

// An op with all its inputs, on the host.
struct OpCall {
  OpInfo info;
  int map_count = 1;
  tensorflow::NodeDef node;
  std::vector<tensorflow::Tensor> inputs;

  // The first of those that an input is.
  tensorflow::Tensor& operator[](Input input);
};

// Random numbers, on one map, or on two.
OpCall RandomCall(Op op, Maps maps, const CallOptions& options = {});

// The node again, after inputs were changed.
void MakeNode(const std::string& data_format, OpCall* call);

struct Result {
  absl::Status status;
  std::vector<tensorflow::Tensor> outputs;
  // Of the GPU.
  std::string faults;
  int64_t launches = 0;
  int64_t allocations = 0;
};

Result RunOnCpu(const OpCall& call);

// `allocations_left`: of memory on the device; -1: any number.
Result RunOnGpu(const OpCall& call, int64_t allocations_left = -1);

std::unique_ptr<tensorflow::OpKernel> MakeKernel(
    const OpCall& call, tensorflow::DeviceBase* device);

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_KERNELS_DEVICE_TEST_OP_CALL_H_
