// What the OpKernels of all ops, dtypes and devices do alike: read attributes,
// check shapes, allocate the output.

#ifndef TF_ROIALIGN_CC_KERNELS_OP_BASE_H_
#define TF_ROIALIGN_CC_KERNELS_OP_BASE_H_

#include "absl/status/status.h"
#include "cc/core/call/op.h"
#include "cc/core/call/params.h"
#include "cc/core/call/signature.h"
#include "cc/core/run_op.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/tensor_shape.h"

namespace tf_roialign {

class RoiAlignOpBase : public tensorflow::OpKernel {
 public:
  RoiAlignOpBase(const OpInfo& info, tensorflow::OpKernelConstruction* context);

  void Compute(tensorflow::OpKernelContext* context) final;

 protected:
  struct Call {
    Signature signature;
    InputData inputs;
    OutputData outputs;
  };

  virtual absl::Status AllocateOutput(tensorflow::OpKernelContext* context,
                                      int index,
                                      const tensorflow::TensorShape& shape,
                                      void** data) const = 0;

  virtual absl::Status Run(const Call& call,
                           tensorflow::OpKernelContext* context) = 0;

  const OpParams& params() const { return params_; }

 private:
  absl::Status Read(tensorflow::OpKernelContext* context, Call* call) const;
  absl::Status Allocate(tensorflow::OpKernelContext* context, Call* call) const;

  const OpInfo info_;
  OpParams params_;
  int map_count_ = 1;
};

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_KERNELS_OP_BASE_H_
