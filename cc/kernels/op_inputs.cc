#include "cc/kernels/op_inputs.h"

#include <atomic>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <new>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cc/kernels/huge_pages.h"
#include "cc/ops/attributes.h"
#include "tensorflow/core/framework/device_base.h"
#include "tensorflow/core/util/work_sharder.h"

namespace tf_roialign {
namespace {

// With as many digits as tell it from its neighbours.
template <typename B>
std::string Digits(B value) {
  const std::string few = absl::StrFormat("%g", value);
  const bool enough = std::isnan(value) || static_cast<B>(std::strtod(
                                               few.c_str(), nullptr)) == value;
  return enough ? few
                : absl::StrFormat("%.*g", std::numeric_limits<B>::max_digits10,
                                  value);
}

template <typename B, typename Index>
absl::Status Resolve(const Signature& signature, const B* rows,
                     const Index* box_indices, std::vector<int64_t>* image) {
  const int64_t bad =
      ResolveImages(signature.form, rows, signature.sizes.boxes, box_indices,
                    signature.sizes.batch, image->data());
  if (bad < 0) return absl::OkStatus();
  const std::string value = signature.form == BoxForm::kIndexed
                                ? Digits(rows[bad * 5])
                                : absl::StrCat(box_indices[bad]);
  return absl::InvalidArgumentError(
      BadImageIndex(signature.form, bad, value, signature.sizes.batch));
}

}  // namespace

absl::Status CheckShapes(const Params& params, const Shape& features,
                         const tensorflow::Tensor& boxes,
                         const tensorflow::Tensor& box_indices,
                         const tensorflow::Tensor* grad_output,
                         Signature* signature) {
  TF_RETURN_IF_ERROR(
      InvalidUnlessEmpty(CheckInputs(params, features, ToShape(boxes.shape()),
                                     ToShape(box_indices.shape()), signature)));
  if (grad_output == nullptr) return absl::OkStatus();
  return InvalidUnlessEmpty(
      CheckGradOutput(params, ToShape(grad_output->shape()), signature));
}

template <typename B>
absl::Status CheckedInputs<B>::Init(const Params& params, const Shape& features,
                                    const tensorflow::Tensor& boxes,
                                    const tensorflow::Tensor& box_indices,
                                    const tensorflow::Tensor* grad_output) {
  TF_RETURN_IF_ERROR(CheckShapes(params, features, boxes, box_indices,
                                 grad_output, &signature_));
  image_.resize(sizes().boxes);
  boxes_ = {CoreData<B>(boxes), signature_.columns, sizes().boxes,
            image_.data()};
  if (box_indices.dtype() == tensorflow::DT_INT32) {
    return Resolve(signature_, boxes_.rows, CoreData<int32_t>(box_indices),
                   &image_);
  }
  return Resolve(signature_, boxes_.rows, CoreData<int64_t>(box_indices),
                 &image_);
}

template class CheckedInputs<float>;
template class CheckedInputs<double>;

RoiAlignOpBase::RoiAlignOpBase(tensorflow::OpKernelConstruction* context)
    : OpKernel(context) {
  OP_REQUIRES_OK(context, ReadParams(context, &params_));
}

void RoiAlignOpBase::Compute(tensorflow::OpKernelContext* context) {
  try {
    OP_REQUIRES_OK(context, Run(context));
  } catch (const std::bad_alloc&) {
    OP_REQUIRES_OK(
        context,
        absl::ResourceExhaustedError(absl::StrCat(
            "There is not enough memory for the scratch space of RoIAlign with "
            "`output_size` [",
            params_.pooled_height, ", ", params_.pooled_width, "]")));
  }
}

absl::Status AllocateDeviceOutput(tensorflow::OpKernelContext* context,
                                  const Shape& shape,
                                  tensorflow::Tensor** output) {
  tensorflow::TensorShape tensor_shape;
  TF_RETURN_IF_ERROR(tensorflow::TensorShape::BuildTensorShape(
      absl::MakeConstSpan(shape.dims, shape.rank), &tensor_shape));
  return context->allocate_output(0, tensor_shape, output);
}

absl::Status AllocateOutput(tensorflow::OpKernelContext* context,
                            const Shape& shape, tensorflow::Tensor** output) {
  TF_RETURN_IF_ERROR(AllocateDeviceOutput(context, shape, output));
  AdviseHugePages((*output)->data(), (*output)->TotalBytes());
  return absl::OkStatus();
}

ParallelFor DeviceThreads(tensorflow::OpKernelContext* context) {
  const auto* threads = context->device()->tensorflow_cpu_worker_threads();
  return [threads](int64_t units, int64_t unit_cost,
                   const std::function<void(int64_t, int64_t)>& run) {
    // An exception may not leave a thread of the pool.
    std::atomic<bool> out_of_memory{false};
    tensorflow::Shard(threads->num_threads, threads->workers, units, unit_cost,
                      [&](int64_t first, int64_t last) {
                        try {
                          run(first, last);
                        } catch (const std::bad_alloc&) {
                          out_of_memory = true;
                        }
                      });
    if (out_of_memory) throw std::bad_alloc();
  };
}

}  // namespace tf_roialign
