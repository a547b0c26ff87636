// What the RoIAlign OpKernels share: attributes, checked inputs, threads.

#ifndef TF_ROIALIGN_CC_KERNELS_OP_INPUTS_H_
#define TF_ROIALIGN_CC_KERNELS_OP_INPUTS_H_

#include <cstdint>

#include "absl/status/status.h"
#include "cc/core/call/boxes.h"
#include "cc/core/call/checked_boxes.h"
#include "cc/core/dtypes/float16.h"
#include "cc/core/base/parallel.h"
#include "cc/core/call/params.h"
#include "cc/core/call/signature.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/tensor.h"

namespace tf_roialign {

// TensorFlow's dtype and the core's, of the same bits.
template <typename T>
struct CoreTypeOf {
  using type = T;
};
template <>
struct CoreTypeOf<Eigen::half> {
  using type = Half;
};
template <>
struct CoreTypeOf<tensorflow::bfloat16> {
  using type = BFloat16;
};
template <typename T>
using CoreType = typename CoreTypeOf<T>::type;

// Not Tensor::flat: it aborts the process unless the buffer is aligned for
// Eigen, and a tensor that shares another library's memory need not be.
template <typename T>
const CoreType<T>* CoreData(const tensorflow::Tensor& tensor) {
  return static_cast<const CoreType<T>*>(tensor.data());
}

template <typename T>
CoreType<T>* MutableCoreData(tensorflow::Tensor* tensor) {
  return static_cast<CoreType<T>*>(tensor->data());
}

// Whether the inputs' shapes fit together, and what they say. grad_output: null
// for the forward op.
absl::Status CheckShapes(const Params& params, const Shape& features,
                         const tensorflow::Tensor& boxes,
                         const tensorflow::Tensor& box_indices,
                         const tensorflow::Tensor* grad_output,
                         Signature* signature);

// The inputs of a call on CPU, once they are known to fit together.
template <typename B>
class CheckedInputs {
 public:
  // grad_output: null for the forward op.
  absl::Status Init(const Params& params, const Shape& features,
                    const tensorflow::Tensor& boxes,
                    const tensorflow::Tensor& box_indices,
                    const tensorflow::Tensor* grad_output);

  const Signature& signature() const { return signature_; }
  const Sizes& sizes() const { return signature_.sizes; }
  const BoxTable<B>& boxes() const { return boxes_.table(); }

 private:
  Signature signature_;
  CheckedBoxes<B> boxes_;
};

// Reads the attributes, and turns a lack of memory into a Status.
class RoiAlignOpBase : public tensorflow::OpKernel {
 public:
  explicit RoiAlignOpBase(tensorflow::OpKernelConstruction* context);

  void Compute(tensorflow::OpKernelContext* context) final;

 protected:
  virtual absl::Status Run(tensorflow::OpKernelContext* context) = 0;

  const Params& params() const { return params_; }

 private:
  Params params_;
};

// Output 0, in host memory that is written at once.
absl::Status AllocateOutput(tensorflow::OpKernelContext* context,
                            const Shape& shape, tensorflow::Tensor** output);

// Output 0, in memory of the device that the op runs on.
absl::Status AllocateDeviceOutput(tensorflow::OpKernelContext* context,
                                  const Shape& shape,
                                  tensorflow::Tensor** output);

// TensorFlow's own thread pool.
ParallelFor DeviceThreads(tensorflow::OpKernelContext* context);

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_KERNELS_OP_INPUTS_H_
