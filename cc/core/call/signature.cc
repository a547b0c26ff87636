#include "cc/core/call/signature.h"

#include <cmath>
#include <cstdio>
#include <limits>

namespace tf_roialign {
namespace {

std::string SizeName(int64_t size, const char* unknown) {
  return size == kUnknown ? unknown : std::to_string(size);
}

// "[2, M, 4]": sizes that are not known go by their names.
std::string Named(std::initializer_list<std::string> names) {
  std::string text = "[";
  for (const std::string& name : names) {
    if (text.size() > 1) text += ", ";
    text += name;
  }
  return text + "]";
}

std::string Number(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%g", value);
  return text;
}

bool Differ(int64_t a, int64_t b) {
  return a != kUnknown && b != kUnknown && a != b;
}

bool IsOneOf(int64_t size, int64_t a, int64_t b) {
  return size == kUnknown || size == a || size == b;
}

int64_t Product(int64_t a, int64_t b) {
  int64_t product;
  if (a == kUnknown || b == kUnknown ||
      __builtin_mul_overflow(a, b, &product)) {
    return kUnknown;
  }
  return product;
}

}  // namespace

std::string Shape::ToString() const {
  if (rank == kUnknown) return "a shape of unknown rank";
  std::string text = "[";
  for (int i = 0; i < rank && i < kMaxDims; ++i) {
    if (i > 0) text += ", ";
    text += SizeName(dims[i], "?");
  }
  return text + (rank > kMaxDims ? ", ...]" : "]");
}

Shape Signature::Output(const Params& params) const {
  if (!form_known) return Shape();
  Shape shape;
  shape.rank = 0;
  if (form == BoxForm::kDense) {
    shape.Append(sizes.batch);
    shape.Append(boxes_per_image);
  } else {
    shape.Append(sizes.boxes);
  }
  if (params.layout == Layout::kNCHW) shape.Append(sizes.channels);
  shape.Append(params.pooled_height);
  shape.Append(params.pooled_width);
  if (params.layout == Layout::kNHWC) shape.Append(sizes.channels);
  return shape;
}

Shape Signature::Boxes() const {
  if (!form_known) return Shape();
  if (form == BoxForm::kDense) return {sizes.batch, boxes_per_image, 4};
  return {sizes.boxes, columns};
}

std::string CheckParams(const Params& params) {
  constexpr int64_t kMax = std::numeric_limits<int32_t>::max();
  if (params.pooled_height < 1 || params.pooled_width < 1) {
    return BadOutputSize({params.pooled_height, params.pooled_width});
  }
  if (params.pooled_height > kMax || params.pooled_width > kMax) {
    return "`output_size` must be less than 2^31, got " +
           Shape({params.pooled_height, params.pooled_width}).ToString();
  }
  if (!(std::isfinite(params.spatial_scale) && params.spatial_scale > 0)) {
    return "`spatial_scale` must be finite and greater than 0, got " +
           Number(params.spatial_scale);
  }
  if (params.sampling_ratio > kMax) {
    return "`sampling_ratio` must be less than 2^31, got " +
           std::to_string(params.sampling_ratio);
  }
  return "";
}

std::string BadOutputSize(const Shape& output_size) {
  return "`output_size` must be two integers of at least 1, got " +
         output_size.ToString();
}

std::string CheckInputs(const Params& params, const Shape& features,
                        const Shape& boxes, const Shape& box_indices,
                        Signature* signature) {
  Sizes& sizes = signature->sizes;
  const bool nhwc = params.layout == Layout::kNHWC;
  if (features.rank != kUnknown) {
    if (features.rank != 4) {
      return std::string("`features` must have shape ") +
             (nhwc ? "[N, H, W, C]" : "[N, C, H, W]") + ", got " +
             features.ToString();
    }
    sizes.batch = features.dims[0];
    sizes.height = features.dims[nhwc ? 1 : 2];
    sizes.width = features.dims[nhwc ? 2 : 3];
    sizes.channels = features.dims[nhwc ? 3 : 1];
  }

  int64_t indices = kUnknown;
  if (box_indices.rank != kUnknown) {
    if (box_indices.rank != 1) {
      return "`box_indices` must have shape [K], got " + box_indices.ToString();
    }
    indices = box_indices.dims[0];
  }

  if (boxes.rank == kUnknown) {
    // With indices the boxes can only be [K, 4].
    if (indices > 0) {
      signature->form_known = true;
      signature->form = BoxForm::kSeparate;
      signature->columns = 4;
      sizes.boxes = indices;
    }
  } else {
    const bool is_matrix = boxes.rank == 2 && IsOneOf(boxes.dims[1], 4, 5);
    const bool is_dense = boxes.rank == 3 && IsOneOf(boxes.dims[2], 4, 4);
    if (!is_matrix && !is_dense) {
      return "`boxes` must have shape [K, 5], [K, 4] or [N, M, 4], got " +
             boxes.ToString();
    }
    if (indices > 0 && (is_dense || boxes.dims[1] == 5)) {
      return "`boxes` must have shape [K, 4] when `box_indices` is given, "
             "got " +
             boxes.ToString();
    }
    signature->form_known = true;
    if (is_dense) {
      signature->form = BoxForm::kDense;
      signature->columns = 4;
      if (Differ(boxes.dims[0], sizes.batch)) {
        return "`boxes` must have shape " +
               Named({SizeName(sizes.batch, "N"), "M", "4"}) +
               ", one row of boxes per image, got " + boxes.ToString();
      }
      if (sizes.batch == kUnknown) sizes.batch = boxes.dims[0];
      signature->boxes_per_image = boxes.dims[1];
      sizes.boxes = Product(sizes.batch, signature->boxes_per_image);
    } else {
      // Both matrix forms pool alike; which it is need not be known.
      signature->columns = boxes.dims[1];
      if (boxes.dims[1] == kUnknown && indices != kUnknown &&
          boxes.dims[0] > 0) {
        signature->columns = indices > 0 ? 4 : 5;
      }
      const bool separate = signature->columns == 4 || indices > 0;
      signature->form = separate ? BoxForm::kSeparate : BoxForm::kIndexed;
      sizes.boxes = boxes.dims[0];
      if (separate) {
        if (Differ(boxes.dims[0], indices)) {
          if (indices == 0) {
            return "`boxes` of shape " + boxes.ToString() +
                   " need `box_indices` of shape " +
                   Named({std::to_string(boxes.dims[0])}) + ", got [0]";
          }
          return "`box_indices` must have shape " +
                 Named({std::to_string(boxes.dims[0])}) +
                 ", one image index per box, got " + box_indices.ToString();
        }
        if (sizes.boxes == kUnknown) sizes.boxes = indices;
      }
    }
  }

  if (sizes.boxes > 0 && (sizes.height == 0 || sizes.width == 0)) {
    return "`features` must have a height and width of at least 1 when there "
           "are boxes, got " +
           features.ToString();
  }
  return "";
}

std::string CheckGradOutput(const Params& params, const Shape& grad_output,
                            Signature* signature) {
  if (grad_output.rank == kUnknown) return "";
  Sizes& sizes = signature->sizes;
  const bool nhwc = params.layout == Layout::kNHWC;
  const int rank = grad_output.rank;
  const bool dense =
      signature->form_known ? signature->form == BoxForm::kDense : rank == 5;
  const int64_t* pooled = grad_output.dims + (dense ? 2 : 1) + (nhwc ? 0 : 1);
  const int64_t* channels = nhwc ? pooled + 2 : pooled - 1;

  bool right = rank == (dense ? 5 : 4) &&
               !Differ(pooled[0], params.pooled_height) &&
               !Differ(pooled[1], params.pooled_width) &&
               !Differ(*channels, sizes.channels);
  if (right && dense) {
    right = !Differ(grad_output.dims[0], sizes.batch) &&
            !Differ(grad_output.dims[1], signature->boxes_per_image);
  } else if (right) {
    right = !Differ(grad_output.dims[0], sizes.boxes);
  }
  if (!right) {
    const std::string boxes =
        dense ? SizeName(sizes.batch, "N") + ", " +
                    SizeName(signature->boxes_per_image, "M")
              : SizeName(sizes.boxes, "K");
    const std::string bins = std::to_string(params.pooled_height) + ", " +
                             std::to_string(params.pooled_width);
    const std::string name = SizeName(sizes.channels, "C");
    return "`grad_output` must have shape " +
           (nhwc ? Named({boxes, bins, name}) : Named({boxes, name, bins})) +
           ", got " + grad_output.ToString();
  }

  if (sizes.channels == kUnknown) sizes.channels = *channels;
  if (dense) {
    if (sizes.batch == kUnknown) sizes.batch = grad_output.dims[0];
    if (signature->boxes_per_image == kUnknown) {
      signature->boxes_per_image = grad_output.dims[1];
    }
    sizes.boxes = Product(sizes.batch, signature->boxes_per_image);
    signature->form = BoxForm::kDense;
    signature->columns = 4;
  } else if (sizes.boxes == kUnknown) {
    sizes.boxes = grad_output.dims[0];
  }
  signature->form_known = true;
  return "";
}

std::string CheckDirection(const Shape& boxes, const Shape& direction) {
  bool right = true;
  if (boxes.rank != kUnknown && direction.rank != kUnknown) {
    right = boxes.rank == direction.rank;
    for (int i = 0; right && i < boxes.rank; ++i) {
      right = !Differ(boxes.dims[i], direction.dims[i]);
    }
  }
  return right ? ""
               : "`direction` must have the shape of `boxes`, " +
                     boxes.ToString() + ", got " + direction.ToString();
}

std::string CheckFeaturesShape(const Shape& shape, const int64_t* sizes,
                               Shape* features) {
  if (shape.rank != kUnknown && (shape.rank != 1 || Differ(shape.dims[0], 4))) {
    return "`features_shape` must have shape [4], got " + shape.ToString();
  }
  if (sizes == nullptr) return "";
  for (int i = 0; i < 4; ++i) {
    if (sizes[i] < 0) {
      return "`features_shape` must hold 4 non-negative sizes, got " +
             Named({std::to_string(sizes[0]), std::to_string(sizes[1]),
                    std::to_string(sizes[2]), std::to_string(sizes[3])});
    }
  }
  *features = Shape({sizes[0], sizes[1], sizes[2], sizes[3]});
  return "";
}

std::string OutOfMemory(const Params& params) {
  return "There is not enough memory for the scratch space of RoIAlign with "
         "`output_size` " +
         Shape({params.pooled_height, params.pooled_width}).ToString();
}

std::string CheckScalar(const char* name, const Shape& shape) {
  if (shape.rank == kUnknown || shape.rank == 0) return "";
  return std::string("`") + name + "` must be a scalar, got shape " +
         shape.ToString();
}

std::string CheckQuantization(float scale, int64_t zero_point, int64_t lowest,
                              int64_t highest) {
  if (!(std::isfinite(scale) && scale > 0)) {
    return "`scale` must be finite and greater than 0, got " + Number(scale);
  }
  if (zero_point < lowest || zero_point > highest) {
    return "`zero_point` must be in [" + std::to_string(lowest) + ", " +
           std::to_string(highest) + "], got " + std::to_string(zero_point);
  }
  return "";
}

std::string BadImageIndex(BoxForm form, int64_t row, const std::string& value,
                          int64_t batch) {
  const std::string range =
      "must be in [0, " + std::to_string(batch) + "), got " + value;
  if (form == BoxForm::kIndexed) {
    return "`boxes[" + std::to_string(row) + ", 0]`, an image index, " + range;
  }
  return "`box_indices[" + std::to_string(row) + "]`, an image index, " + range;
}

}  // namespace tf_roialign
