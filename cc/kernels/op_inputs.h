// What the RoIAlign OpKernels share: attributes, checked inputs, threads.

#ifndef TF_ROIALIGN_CC_KERNELS_OP_INPUTS_H_
#define TF_ROIALIGN_CC_KERNELS_OP_INPUTS_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "cc/core/boxes.h"
#include "cc/core/float16.h"
#include "cc/core/parallel.h"
#include "cc/core/params.h"
#include "cc/core/signature.h"
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

template <typename T>
const CoreType<T>* CoreData(const tensorflow::Tensor& tensor) {
  return reinterpret_cast<const CoreType<T>*>(tensor.flat<T>().data());
}

template <typename T>
CoreType<T>* MutableCoreData(tensorflow::Tensor* tensor) {
  return reinterpret_cast<CoreType<T>*>(tensor->flat<T>().data());
}

class RoiAlignOpBase : public tensorflow::OpKernel {
 public:
  explicit RoiAlignOpBase(tensorflow::OpKernelConstruction* context);

 protected:
  const Params& params() const { return params_; }

 private:
  Params params_;
};

Shape ToShape(const tensorflow::TensorShape& shape);

// Reads a `features_shape` input.
absl::Status ReadFeaturesShape(const tensorflow::Tensor& tensor,
                               Shape* features);

// Boxes whose rows have been checked against the batch.
template <typename B>
class CheckedBoxes {
 public:
  absl::Status Init(const Signature& signature, const tensorflow::Tensor& boxes,
                    const tensorflow::Tensor& box_indices);

  const BoxTable<B>& table() const { return table_; }

 private:
  BoxTable<B> table_;
  std::vector<int64_t> image_;
};

// TensorFlow's own thread pool.
ParallelFor DeviceThreads(tensorflow::OpKernelContext* context);

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_KERNELS_OP_INPUTS_H_
