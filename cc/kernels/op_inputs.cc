#include "cc/kernels/op_inputs.h"

#include <string>
#include <utility>

#include "cc/ops/attributes.h"
#include "tensorflow/core/framework/device_base.h"
#include "tensorflow/core/util/work_sharder.h"

namespace tf_roialign {

RoiAlignOpBase::RoiAlignOpBase(tensorflow::OpKernelConstruction* context)
    : OpKernel(context) {
  OP_REQUIRES_OK(context, ReadParams(context, &params_));
}

Shape ToShape(const tensorflow::TensorShape& shape) {
  Shape result;
  result.rank = 0;
  for (int i = 0; i < shape.dims(); ++i) result.Append(shape.dim_size(i));
  return result;
}

absl::Status ReadFeaturesShape(const tensorflow::Tensor& tensor,
                               Shape* features) {
  std::vector<int64_t> sizes;
  for (int64_t i = 0; i < tensor.NumElements(); ++i) {
    sizes.push_back(tensor.dtype() == tensorflow::DT_INT32
                        ? tensor.flat<int32_t>()(i)
                        : tensor.flat<int64_t>()(i));
  }
  return InvalidUnlessEmpty(
      CheckFeaturesShape(sizes.data(), sizes.size(), features));
}

template <typename B>
absl::Status CheckedBoxes<B>::Init(const Signature& signature,
                                   const tensorflow::Tensor& boxes,
                                   const tensorflow::Tensor& box_indices) {
  const int64_t count = signature.sizes.boxes;
  image_.resize(count);
  table_.rows = boxes.flat<B>().data();
  table_.stride = signature.form == BoxForm::kIndexed ? 5 : 4;
  table_.count = count;
  table_.image = image_.data();

  const auto resolve = [&](const auto* indices) -> absl::Status {
    const int64_t bad =
        ResolveImages(signature.form, table_.rows, count, indices,
                      signature.sizes.batch, image_.data());
    if (bad < 0) return absl::OkStatus();
    const std::string value = signature.form == BoxForm::kIndexed
                                  ? absl::StrCat(table_.rows[bad * 5])
                                  : absl::StrCat(indices[bad]);
    return absl::InvalidArgumentError(
        BadImageIndex(signature.form, bad, value, signature.sizes.batch));
  };
  if (box_indices.dtype() == tensorflow::DT_INT32) {
    return resolve(box_indices.flat<int32_t>().data());
  }
  return resolve(box_indices.flat<int64_t>().data());
}

template class CheckedBoxes<float>;
template class CheckedBoxes<double>;

ParallelFor DeviceThreads(tensorflow::OpKernelContext* context) {
  const auto* threads = context->device()->tensorflow_cpu_worker_threads();
  return [threads](int64_t units, int64_t unit_cost,
                   const std::function<void(int64_t, int64_t)>& run) {
    tensorflow::Shard(threads->num_threads, threads->workers, units, unit_cost,
                      run);
  };
}

}  // namespace tf_roialign
