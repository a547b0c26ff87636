#include "cc/core/signature.h"

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

}  // namespace

std::string Shape::ToString() const {
  if (rank == kUnknown) return "a shape of unknown rank";
  std::string text = "[";
  for (int i = 0; i < rank; ++i) {
    if (i > 0) text += ", ";
    text += SizeName(dims[i], "?");
  }
  return text + "]";
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

std::string CheckParams(const Params& params) {
  if (params.pooled_height < 1 || params.pooled_width < 1) {
    return "`output_size` must be two integers of at least 1, got " +
           Shape({params.pooled_height, params.pooled_width}).ToString();
  }
  if (!(std::isfinite(params.spatial_scale) && params.spatial_scale > 0)) {
    return "`spatial_scale` must be finite and greater than 0, got " +
           Number(params.spatial_scale);
  }
  if (params.sampling_ratio > std::numeric_limits<int32_t>::max()) {
    return "`sampling_ratio` must be less than 2^31, got " +
           std::to_string(params.sampling_ratio);
  }
  return "";
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
      sizes.boxes = indices;
    }
  } else {
    const int64_t columns = boxes.rank > 0 ? boxes.dims[boxes.rank - 1] : 0;
    const bool is_matrix = boxes.rank == 2 && (columns == 5 || columns == 4 ||
                                               columns == kUnknown);
    const bool is_dense =
        boxes.rank == 3 && (columns == 4 || columns == kUnknown);
    if (!is_matrix && !is_dense) {
      return "`boxes` must have shape [K, 5], [K, 4] or [N, M, 4], got " +
             boxes.ToString();
    }
    if (indices > 0 && (is_dense || columns == 5)) {
      return "`boxes` must have shape [K, 4] when `box_indices` is given, "
             "got " +
             boxes.ToString();
    }
    if (is_dense) {
      signature->form_known = true;
      signature->form = BoxForm::kDense;
      if (Differ(boxes.dims[0], sizes.batch)) {
        return "`boxes` must have shape " +
               Named({SizeName(sizes.batch, "N"), "M", "4"}) +
               ", one row of boxes per image, got " + boxes.ToString();
      }
      if (sizes.batch == kUnknown) sizes.batch = boxes.dims[0];
      signature->boxes_per_image = boxes.dims[1];
      if (sizes.batch != kUnknown && boxes.dims[1] != kUnknown) {
        sizes.boxes = sizes.batch * boxes.dims[1];
      }
    } else {
      const bool separate = columns == 4 || indices > 0;
      signature->form_known = true;  // both matrix forms pool alike
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
  const Shape wanted = signature->Output(params);
  if (wanted.rank == kUnknown) return "";
  const bool dense = signature->form == BoxForm::kDense;
  bool right = grad_output.rank == wanted.rank;
  for (int i = 0; right && i < wanted.rank; ++i) {
    right = !Differ(grad_output.dims[i], wanted.dims[i]);
  }
  if (!right) {
    const bool nhwc = params.layout == Layout::kNHWC;
    const std::string boxes = dense ? SizeName(wanted.dims[0], "N") + ", " +
                                          SizeName(wanted.dims[1], "M")
                                    : SizeName(wanted.dims[0], "K");
    const std::string channels = SizeName(signature->sizes.channels, "C");
    const std::string bins = std::to_string(params.pooled_height) + ", " +
                             std::to_string(params.pooled_width);
    return "`grad_output` must have shape " +
           (nhwc ? Named({boxes, bins, channels})
                 : Named({boxes, channels, bins})) +
           ", got " + grad_output.ToString();
  }
  Sizes& sizes = signature->sizes;
  if (dense) {
    if (sizes.batch == kUnknown) sizes.batch = grad_output.dims[0];
    if (signature->boxes_per_image == kUnknown) {
      signature->boxes_per_image = grad_output.dims[1];
    }
  } else if (sizes.boxes == kUnknown) {
    sizes.boxes = grad_output.dims[0];
  }
  return "";
}

std::string CheckFeaturesShape(const int64_t* sizes, int64_t count,
                               Shape* features) {
  Shape shape;
  shape.rank = 0;
  bool right = count == 4;
  for (int64_t i = 0; i < count; ++i) {
    shape.Append(sizes[i]);
    right = right && sizes[i] >= 0;
  }
  if (!right) {
    std::string text = "`features_shape` must hold 4 non-negative sizes, got [";
    for (int i = 0; i < shape.rank; ++i) {
      text += (i > 0 ? ", " : "") + std::to_string(shape.dims[i]);
    }
    return text + "]";
  }
  *features = shape;
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
