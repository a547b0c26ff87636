#include "cc/core/call/signature.h"

#include <new>
#include <string>

#include "cc/core/call/attributes.h"
#include "cc/core/call/texts.h"

namespace tf_roialign {
namespace {

bool Differ(int64_t a, int64_t b) {
  return a != kUnknown && b != kUnknown && a != b;
}

bool MayBe(int64_t size, int64_t wanted) { return !Differ(size, wanted); }

void Learn(int64_t from, int64_t* size) {
  if (*size == kUnknown) *size = from;
}

int64_t Product(int64_t a, int64_t b) {
  int64_t product;
  if (a == kUnknown || b == kUnknown ||
      __builtin_mul_overflow(a, b, &product)) {
    return kUnknown;
  }
  return product;
}

// Where the axes are in [N, H, W, C] or [N, C, H, W], or in what is pooled.
struct Axes {
  explicit Axes(const Params& params)
      : nhwc(params.data_format == Layout::kNHWC),
        height(nhwc ? 1 : 2),
        width(height + 1),
        channels(nhwc ? 3 : 1) {}

  bool nhwc;
  int height;
  int width;
  int channels;
};

void LearnBoxesPerImage(int64_t batch, int64_t boxes_per_image,
                        Signature* signature) {
  signature->form = BoxForm::kDense;
  signature->columns = kCoordinates;
  Learn(batch, &signature->sizes.batch);
  Learn(boxes_per_image, &signature->boxes_per_image);
  signature->sizes.boxes =
      Product(signature->sizes.batch, signature->boxes_per_image);
}

// No product of sizes, and no offset in bytes, overflows for less. An empty
// tensor has sizes too, and TensorFlow makes one of [0, 2^40, 2^40, 3].
bool HasTooManyElements(const Shape& shape) {
  constexpr int64_t kTooMany = int64_t{1} << 60;
  int64_t elements = 1;
  for (int i = 0; i < shape.rank; ++i) {
    if (shape.dims[i] <= 0) continue;
    if (__builtin_mul_overflow(elements, shape.dims[i], &elements) ||
        elements >= kTooMany) {
      return true;
    }
  }
  return false;
}

// The input that tells the sizes of maps.
const char* NameOfMaps(const OpInfo& info) {
  return NameOf(info.Has(Input::kFeaturesShape) ? Input::kFeaturesShape
                                                : Input::kFeatures);
}

// "`features`", or an entry of the list that it is.
std::string NameOfMap(const OpInfo& info, int map) {
  const std::string name = std::string("`") + NameOfMaps(info);
  return info.maps == Maps::kOne ? name + "`"
                                 : name + "[" + std::to_string(map) + "]`";
}

// The map `map` of those that are there. All have one batch and one number of
// channels.
Status CheckFeatures(const OpInfo& info, const Params& params,
                     const Shape& features, int map, Signature* signature) {
  if (features.rank == kUnknown) return {};
  const Axes axes(params);
  if (features.rank != 4) {
    return Status::InvalidArgument(
        NameOfMap(info, map) + " must have shape " +
        (axes.nhwc ? "[N, H, W, C]" : "[N, C, H, W]") + ", got " +
        features.ToString());
  }
  if (HasTooManyElements(features)) {
    return Status::InvalidArgument(
        NameOfMap(info, map) +
        " must have less than 2^60 elements, sizes of 0 counted as 1, got " +
        features.ToString());
  }
  Sizes& sizes = signature->sizes;
  const int64_t batch = features.dims[0];
  const int64_t channels = features.dims[axes.channels];
  if (Differ(batch, sizes.batch) || Differ(channels, sizes.channels)) {
    const std::string n = SizeName(sizes.batch, "N");
    const std::string c = SizeName(sizes.channels, "C");
    return Status::InvalidArgument(
        NameOfMap(info, map) + " must have shape " +
        (axes.nhwc ? Named({n, "H", "W", c}) : Named({n, c, "H", "W"})) +
        ", the batch and channels of the other maps, got " +
        features.ToString());
  }
  Learn(batch, &sizes.batch);
  Learn(channels, &sizes.channels);
  signature->maps[map] = {features.dims[axes.height],
                          features.dims[axes.width]};
  return {};
}

Status CheckDenseBoxes(const Shape& boxes, Signature* signature) {
  const int64_t batch = signature->sizes.batch;
  if (Differ(boxes.dims[0], batch)) {
    return Status::InvalidArgument(
        "`boxes` must have shape " + Named({SizeName(batch, "N"), "M", "4"}) +
        ", one row of boxes per image, got " + boxes.ToString());
  }
  LearnBoxesPerImage(boxes.dims[0], boxes.dims[1], signature);
  return {};
}

// Both matrix forms pool alike; which it is need not be known. `indices`: how
// many there are.
Status CheckBoxMatrix(const Shape& boxes, const Shape& box_indices,
                      int64_t indices, Signature* signature) {
  signature->columns = boxes.dims[1];
  if (boxes.dims[1] == kUnknown && indices != kUnknown && boxes.dims[0] > 0) {
    signature->columns = indices > 0 ? kCoordinates : kCoordinates + 1;
  }
  const bool separate = signature->columns == kCoordinates || indices > 0;
  signature->form = separate ? BoxForm::kSeparate : BoxForm::kIndexed;
  signature->sizes.boxes = boxes.dims[0];
  if (!separate) return {};
  if (Differ(boxes.dims[0], indices)) {
    const std::string wanted = Named({std::to_string(boxes.dims[0])});
    if (indices == 0) {
      return Status::InvalidArgument("`boxes` of shape " + boxes.ToString() +
                                     " need `box_indices` of shape " + wanted +
                                     ", got [0]");
    }
    return Status::InvalidArgument("`box_indices` must have shape " + wanted +
                                   ", one image index per box, got " +
                                   box_indices.ToString());
  }
  Learn(indices, &signature->sizes.boxes);
  return {};
}

Status CheckBoxes(const Shape& boxes, const Shape& box_indices,
                  Signature* signature) {
  int64_t indices = kUnknown;
  if (box_indices.rank != kUnknown) {
    if (box_indices.rank != 1) {
      return Status::InvalidArgument("`box_indices` must have shape [K], got " +
                                     box_indices.ToString());
    }
    indices = box_indices.dims[0];
  }
  if (boxes.rank == kUnknown) {
    // With indices the boxes can only be [K, 4].
    if (indices > 0) {
      signature->form_known = true;
      signature->form = BoxForm::kSeparate;
      signature->columns = kCoordinates;
      signature->sizes.boxes = indices;
    }
    return {};
  }
  const bool is_matrix =
      boxes.rank == 2 && (MayBe(boxes.dims[1], kCoordinates) ||
                          MayBe(boxes.dims[1], kCoordinates + 1));
  const bool is_dense = boxes.rank == 3 && MayBe(boxes.dims[2], kCoordinates);
  if (!is_matrix && !is_dense) {
    return Status::InvalidArgument(
        "`boxes` must have shape [K, 5], [K, 4] or [N, M, 4], got " +
        boxes.ToString());
  }
  if (indices > 0 && (is_dense || boxes.dims[1] == kCoordinates + 1)) {
    return Status::InvalidArgument(
        "`boxes` must have shape [K, 4] when `box_indices` is given, got " +
        boxes.ToString());
  }
  signature->form_known = true;
  return is_dense ? CheckDenseBoxes(boxes, signature)
                  : CheckBoxMatrix(boxes, box_indices, indices, signature);
}

// Of one map, which all boxes read. Which of many is read, values tell.
Status CheckMapIsNotEmpty(const OpInfo& info, const Shape& features,
                          const Signature& signature) {
  const MapExtent& map = signature.maps[0];
  if (signature.sizes.boxes <= 0 || (map.height != 0 && map.width != 0)) {
    return {};
  }
  return EmptyMap(NameOfMap(info, 0), features.ToString());
}

Status CheckLevels(const Shape& levels, Signature* signature) {
  if (levels.rank == kUnknown) return {};
  const int64_t boxes = signature->sizes.boxes;
  if (levels.rank == 1 &&
      (levels.dims[0] == 0 || MayBe(levels.dims[0], boxes))) {
    // None at all, or one for each box.
    if (levels.dims[0] > 0) Learn(levels.dims[0], &signature->sizes.boxes);
    return {};
  }
  return Status::InvalidArgument(
      "`levels` must have shape " + Named({SizeName(boxes, "K")}) +
      ", one map index per box, got " + levels.ToString());
}

Status CheckSpatialScales(const Shape& scales, int maps) {
  if (scales.rank == kUnknown ||
      (scales.rank == 2 && MayBe(scales.dims[0], maps) &&
       MayBe(scales.dims[1], 2))) {
    return {};
  }
  return Status::InvalidArgument(
      "`spatial_scales` must have shape " + Shape({maps, 2}).ToString() +
      ", (y, x) of each map, got " + scales.ToString());
}

// Learns the form and the number of boxes and of channels where they were not
// known.
Status CheckGradOutput(const Params& params, const Shape& grad_output,
                       Signature* signature) {
  if (grad_output.rank == kUnknown) return {};
  Sizes& sizes = signature->sizes;
  const Axes axes(params);
  const int rank = grad_output.rank;
  const bool dense =
      signature->form_known ? signature->form == BoxForm::kDense : rank == 5;
  const int64_t* dims = grad_output.dims;
  const int64_t* of_box = dims + (dense ? 1 : 0);  // as if K were here alone

  bool right = rank == (dense ? 5 : 4) &&
               !Differ(of_box[axes.height], params.pooled_height()) &&
               !Differ(of_box[axes.width], params.pooled_width()) &&
               !Differ(of_box[axes.channels], sizes.channels);
  if (right && dense) {
    right = !Differ(dims[0], sizes.batch) &&
            !Differ(dims[1], signature->boxes_per_image);
  } else if (right) {
    right = !Differ(dims[0], sizes.boxes);
  }
  if (!right) {
    const std::string boxes =
        dense ? SizeName(sizes.batch, "N") + ", " +
                    SizeName(signature->boxes_per_image, "M")
              : SizeName(sizes.boxes, "K");
    const std::string bins = std::to_string(params.pooled_height()) + ", " +
                             std::to_string(params.pooled_width());
    const std::string channels = SizeName(sizes.channels, "C");
    return Status::InvalidArgument("`grad_output` must have shape " +
                                   (axes.nhwc
                                        ? Named({boxes, bins, channels})
                                        : Named({boxes, channels, bins})) +
                                   ", got " + grad_output.ToString());
  }

  Learn(of_box[axes.channels], &sizes.channels);
  if (dense) {
    LearnBoxesPerImage(dims[0], dims[1], signature);
  } else {
    Learn(dims[0], &sizes.boxes);
  }
  signature->form_known = true;
  return {};
}

Status CheckDirection(const Shape& boxes, const Shape& direction) {
  if (boxes.rank == kUnknown || direction.rank == kUnknown) return {};
  bool right = boxes.rank == direction.rank;
  for (int i = 0; right && i < boxes.rank; ++i) {
    right = !Differ(boxes.dims[i], direction.dims[i]);
  }
  if (right) return {};
  return Status::InvalidArgument(
      "`direction` must have the shape of `boxes`, " + boxes.ToString() +
      ", got " + direction.ToString());
}

Status CheckFeaturesShape(const Shape& shape) {
  if (shape.rank == kUnknown || (shape.rank == 1 && MayBe(shape.dims[0], 4))) {
    return {};
  }
  return Status::InvalidArgument("`features_shape` must have shape [4], got " +
                                 shape.ToString());
}

Status CheckScalar(Input input, const Shape& shape) {
  if (shape.rank == kUnknown || shape.rank == 0) return {};
  return Status::InvalidArgument(std::string("`") + NameOf(input) +
                                 "` must be a scalar, got shape " +
                                 shape.ToString());
}

}  // namespace

Shape Signature::Pooled(const Params& params) const {
  if (!form_known) return Shape();
  Shape shape({});
  if (form == BoxForm::kDense) {
    shape.Append(sizes.batch);
    shape.Append(boxes_per_image);
  } else {
    shape.Append(sizes.boxes);
  }
  if (params.data_format == Layout::kNCHW) shape.Append(sizes.channels);
  shape.Append(params.pooled_height());
  shape.Append(params.pooled_width());
  if (params.data_format == Layout::kNHWC) shape.Append(sizes.channels);
  return shape;
}

Shape Signature::Features(const Params& params, int map) const {
  const auto [height, width] = maps[map];
  return params.data_format == Layout::kNHWC
             ? Shape({sizes.batch, height, width, sizes.channels})
             : Shape({sizes.batch, sizes.channels, height, width});
}

Shape Signature::BoxRows() const {
  if (!form_known) return Shape();
  if (form == BoxForm::kDense) {
    return {sizes.batch, boxes_per_image, kCoordinates};
  }
  return {sizes.boxes, columns};
}

Shape Signature::OutputShape(const OpInfo& info, const Params& params,
                             int map) const {
  switch (info.output) {
    case Output::kPooled:
      return Pooled(params);
    case Output::kFeatures:
      return Features(params, map);
    case Output::kBoxes:
      return BoxRows();
  }
  return Shape();
}

Status CheckMapCount(const OpInfo& info, int64_t count) {
  if (count >= 1 && count <= kMaxMaps) return {};
  return Status::InvalidArgument(
      std::string("`") + NameOfMaps(info) + "` must be a list of 1 to " +
      std::to_string(kMaxMaps) + " maps, got " + std::to_string(count));
}

Status CheckShapes(const OpInfo& info, const Params& params,
                   const InputShapes& shapes, Signature* signature) {
  if (info.Has(Input::kFeaturesShape)) {
    TF_ROIALIGN_RETURN_IF_ERROR(
        CheckFeaturesShape(shapes[Input::kFeaturesShape]));
  }
  const Shape& boxes = shapes[Input::kBoxes];
  signature->map_count = shapes.map_count();
  for (int map = 0; map < shapes.map_count(); ++map) {
    TF_ROIALIGN_RETURN_IF_ERROR(
        CheckFeatures(info, params, shapes.features(map), map, signature));
  }
  TF_ROIALIGN_RETURN_IF_ERROR(
      CheckBoxes(boxes, shapes[Input::kBoxIndices], signature));
  if (info.Has(Input::kLevels)) {
    TF_ROIALIGN_RETURN_IF_ERROR(CheckLevels(shapes[Input::kLevels], signature));
  }
  if (info.Has(Input::kSpatialScales)) {
    TF_ROIALIGN_RETURN_IF_ERROR(
        CheckSpatialScales(shapes[Input::kSpatialScales], shapes.map_count()));
  }
  if (info.maps == Maps::kOne) {
    TF_ROIALIGN_RETURN_IF_ERROR(
        CheckMapIsNotEmpty(info, shapes.features(0), *signature));
  }
  if (info.Has(Input::kGradOutput)) {
    TF_ROIALIGN_RETURN_IF_ERROR(
        CheckGradOutput(params, shapes[Input::kGradOutput], signature));
  }
  if (info.Has(Input::kDirection)) {
    TF_ROIALIGN_RETURN_IF_ERROR(
        CheckDirection(boxes, shapes[Input::kDirection]));
  }
  const Shape pooled = signature->Pooled(params);
  if (pooled.rank != kUnknown && HasTooManyElements(pooled)) {
    return Status::InvalidArgument(
        "`output_size` must give less than 2^60 elements, sizes of 0 counted "
        "as 1, got " +
        pooled.ToString());
  }
  for (const Input input : {Input::kScale, Input::kZeroPoint}) {
    if (info.Has(input)) {
      TF_ROIALIGN_RETURN_IF_ERROR(CheckScalar(input, shapes[input]));
    }
  }
  return {};
}

Status ReadFeaturesShape(const Shape& shape, const int64_t* sizes,
                         Shape* features) {
  TF_ROIALIGN_RETURN_IF_ERROR(CheckFeaturesShape(shape));
  *features = Shape({sizes[0], sizes[1], sizes[2], sizes[3]});
  for (int i = 0; i < 4; ++i) {
    if (sizes[i] < 0) {
      return Status::InvalidArgument(
          "`features_shape` must hold 4 non-negative sizes, got " +
          Named({std::to_string(sizes[0]), std::to_string(sizes[1]),
                 std::to_string(sizes[2]), std::to_string(sizes[3])}));
    }
  }
  return {};
}

Status ReadSpatialScales(const double* values, int maps, Scale* scales) {
  for (int map = 0; map < maps; ++map) {
    scales[map] = {values[2 * map], values[2 * map + 1]};
    const std::string name = "spatial_scales[" + std::to_string(map) + "]";
    TF_ROIALIGN_RETURN_IF_ERROR(CheckAttribute(name.c_str(), scales[map]));
  }
  return {};
}

Status EmptyMap(const std::string& name, const std::string& got) {
  return Status::InvalidArgument(
      name +
      " must have a height and width of at least 1 when there are boxes, got " +
      got);
}

Status OutOfMemory(const Params& params) {
  try {
    return Status::ResourceExhausted(
        "There is not enough memory for the scratch space of RoIAlign with "
        "`output_size` " +
        Shape({params.pooled_height(), params.pooled_width()}).ToString());
  } catch (const std::bad_alloc&) {
    // A string holds these few letters in itself.
    return Status::ResourceExhausted("out of memory");
  }
}

}  // namespace tf_roialign
