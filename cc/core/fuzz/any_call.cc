#include "cc/core/fuzz/any_call.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "cc/core/dtypes/quantization.h"

namespace tf_roialign {
namespace {

constexpr int64_t kInt64Max = std::numeric_limits<int64_t>::max();
constexpr int64_t kInt64Min = std::numeric_limits<int64_t>::min();
constexpr int64_t kInt32Max = std::numeric_limits<int32_t>::max();

constexpr Op kOps[] = {
#define TF_ROIALIGN_OP(op) Op::op,
    TF_ROIALIGN_FOR_EACH_FLOAT_OP(TF_ROIALIGN_OP)
        TF_ROIALIGN_FOR_EACH_CODE_OP(TF_ROIALIGN_OP)
#undef TF_ROIALIGN_OP
};
constexpr Dtype kFloats[] = {
#define TF_ROIALIGN_DTYPE(T, ...) Dtype::k_##T,
    TF_ROIALIGN_FOR_EACH_FLOAT(TF_ROIALIGN_DTYPE)};
constexpr Dtype kCodes[] = {TF_ROIALIGN_FOR_EACH_CODE(TF_ROIALIGN_DTYPE)};
#undef TF_ROIALIGN_DTYPE

// Beyond what any tensor has, unless another size is 0.
constexpr int64_t kHugeSizes[] = {
    1 << 16,          INT64_C(1) << 31, INT64_C(1) << 32, INT64_C(1) << 40,
    INT64_C(1) << 61, kInt64Max - 1,    kInt64Max,        kInt32Max};
constexpr int64_t kHugeIntegers[] = {kInt64Min,
                                     kInt64Min + 1,
                                     -(INT64_C(1) << 32),
                                     -1,
                                     0,
                                     17,
                                     kInt32Max,
                                     kInt32Max - 1,
                                     INT64_C(1) << 31,
                                     1000,
                                     INT64_C(1) << 32,
                                     kInt64Max - 1,
                                     kInt64Max};
// Of both floating-point types of boxes: what floats do not hold, they get as
// an infinity or as zero.
constexpr double kCorners[] = {std::numeric_limits<double>::quiet_NaN(),
                               std::numeric_limits<double>::infinity(),
                               -std::numeric_limits<double>::infinity(),
                               -0.0,
                               1e-40,
                               -1e-40,
                               5e-324,
                               1e-30,
                               std::numeric_limits<float>::max(),
                               std::numeric_limits<float>::lowest(),
                               std::numeric_limits<double>::max(),
                               1e38,
                               -1e38,
                               1e30,
                               1e18,
                               -1e18,
                               9.3e18,
                               4294967296,
                               -4294967296,
                               2147483648,
                               1e9,
                               -1e9,
                               16777216,
                               1e6,
                               -1e6,
                               1e4,
                               -1,
                               -0.5,
                               0.5,
                               0x1p-24,
                               0.99999994,
                               -1.0000001};

// Mostly in [0, most].
int64_t ReadSize(int64_t most, ByteReader* bytes) {
  const int64_t byte = bytes->Byte();
  return byte < 248 ? byte % (most + 1) : kHugeSizes[byte - 248];
}

// At least 1, nearly always.
int64_t ReadPooled(ByteReader* bytes) {
  const int64_t byte = bytes->Byte();
  if (byte < 240) return 1 + byte % 8;
  if (byte < 247) return 1 + byte % 7 * 11;
  return bytes->OneOf(kHugeIntegers);
}

int64_t ReadInteger(ByteReader* bytes) {
  const int64_t byte = bytes->Byte();
  return byte < 230 ? byte % 12 - 2 : bytes->OneOf(kHugeIntegers);
}

template <typename Float>
Float ReadAnyFloat(ByteReader* bytes) {
  if (bytes->OneIn(2)) return bytes->Bits<Float>();
  const double corner = bytes->OneOf(kCorners);
  if (std::abs(corner) > std::numeric_limits<Float>::max()) {
    return static_cast<Float>(
        std::copysign(std::numeric_limits<double>::infinity(), corner));
  }
  return static_cast<Float>(corner);
}

double ReadScale(ByteReader* bytes) {
  const int64_t byte = bytes->Byte();
  constexpr double kUsual[] = {1, 0.5, 0.25, 0.0625, 2, 0.3, 1.1, 0.9};
  if (byte < 232) return kUsual[byte % 8];
  if (byte < 248) return 0.01 * static_cast<double>(bytes->Byte());
  return ReadAnyFloat<double>(bytes);
}

void ReadParams(ByteReader* bytes, OpParams* params) {
  const int64_t flags = bytes->Byte();
  params->aligned = flags & 1;
  params->data_format = flags & 2 ? Layout::kNHWC : Layout::kNCHW;
  params->output_size = {ReadPooled(bytes), ReadPooled(bytes)};
  params->sampling_ratio = ReadInteger(bytes);
  if (params->maps == Maps::kOne) {
    params->spatial_scale.y = ReadScale(bytes);
    params->spatial_scale.x =
        flags & 4 ? ReadScale(bytes) : params->spatial_scale.y;
    return;
  }
  params->canonical_scale =
      flags & 8 ? ReadAnyFloat<double>(bytes) : double(1 + bytes->Byte());
  params->canonical_level = ReadInteger(bytes);
}

Mode ReadMode(Op op, ByteReader* bytes) {
  const int64_t byte = bytes->Byte();
  const Mode mode = byte & 1 ? Mode::kMax : Mode::kAvg;
  if (Has(op, mode) || byte >= 250) return mode;
  return mode == Mode::kMax ? Mode::kAvg : Mode::kMax;
}

// The sizes that the shapes have in common.
struct Extents {
  Sizes sizes;
  int64_t heights[kMaxMaps];
  int64_t widths[kMaxMaps];
  BoxForm form;
  int64_t per_image = 0;
  bool has_levels;
};

Extents ReadExtents(int64_t map_count, ByteReader* bytes) {
  Extents extents;
  Sizes& sizes = extents.sizes;
  const int64_t flags = bytes->Byte();
  extents.form = static_cast<BoxForm>(flags % 3);
  extents.has_levels = flags & 64;
  sizes.batch = ReadSize(3, bytes);
  // Through blocks of every width, or few.
  sizes.channels = ReadSize(flags & 128 ? 150 : 9, bytes);
  sizes.boxes = ReadSize(flags & 32 ? 100 : 6, bytes);
  if (extents.form == BoxForm::kDense) {
    extents.per_image = sizes.boxes;
    if (__builtin_mul_overflow(sizes.batch, extents.per_image, &sizes.boxes)) {
      sizes.boxes = kInt64Max;
    }
  }
  for (int64_t m = 0; m < map_count; ++m) {
    extents.heights[m] = ReadSize(21, bytes);
    extents.widths[m] = ReadSize(21, bytes);
  }
  return extents;
}

Shape ShapeOf(Input input, int map, const AnyCall& call,
              const Extents& extents) {
  const auto [batch, channels, boxes] = extents.sizes;
  const bool nhwc = call.params.data_format == Layout::kNHWC;
  const bool dense = extents.form == BoxForm::kDense;
  switch (input) {
    case Input::kFeatures: {
      const int64_t height = extents.heights[map], width = extents.widths[map];
      return nhwc ? Shape({batch, height, width, channels})
                  : Shape({batch, channels, height, width});
    }
    case Input::kGradOutput: {
      Shape shape = dense ? Shape({batch, extents.per_image}) : Shape({boxes});
      if (!nhwc) shape.Append(channels);
      shape.Append(call.params.pooled_height());
      shape.Append(call.params.pooled_width());
      if (nhwc) shape.Append(channels);
      return shape;
    }
    case Input::kBoxes:
    case Input::kDirection:
      if (dense) return {batch, extents.per_image, 4};
      return {boxes, extents.form == BoxForm::kIndexed ? 5 : 4};
    case Input::kBoxIndices:
      return {extents.form == BoxForm::kSeparate ? boxes : 0};
    case Input::kLevels:
      return {extents.has_levels ? boxes : 0};
    case Input::kSpatialScales:
      return {call.map_count, 2};
    case Input::kFeaturesShape:
      return {4};
    case Input::kScale:
    case Input::kZeroPoint:
      break;
  }
  return Shape({});
}

// Makes one of the shapes another.
void ReadMistake(ByteReader* bytes, AnyCall* call) {
  const int64_t place =
      bytes->Below(std::min<int64_t>(call->operands.size(), 256));
  AnyCall::Operand& operand = call->operands[place];
  Shape& shape = operand.shape;
  const int64_t kind = bytes->Below(8);
  if (shape.rank == kUnknown) return;  // of an earlier mistake
  if (kind == 0) {
    shape = Shape();
  } else if (kind == 1) {
    for (int64_t more = 1 + bytes->Below(6); more > 0; --more) shape.Append(1);
  } else if (kind == 2) {
    shape.rank = static_cast<int>(bytes->Below(shape.rank + 2));
    shape.rank = std::min(shape.rank, Shape::kMaxDims);
  } else if (kind == 3 && operand.input == Input::kFeaturesShape) {
    call->features_sizes[operand.map][bytes->Below(4)] =
        bytes->OneOf(kHugeIntegers);
  } else if (shape.rank > 0 && shape.rank <= Shape::kMaxDims) {
    const int64_t byte = bytes->Byte();
    int64_t& size = shape.dims[bytes->Below(shape.rank)];
    if (kind == 4) {
      size = kUnknown;
    } else {
      size = byte < 200 ? byte % 8 : kHugeSizes[byte % 8];
    }
  }
}

constexpr uint64_t Mix(uint64_t state) {
  return (state ^ (state >> 31)) * 0x9e3779b97f4a7c15u;
}

// Of features and upstream gradients: the values lead to no branches, but for
// which of them is the largest. So a few bytes make all.
void FillWithNumbers(ByteReader* bytes, Tensor* tensor) {
  const int64_t style = bytes->Below(8);
  uint64_t state = 1 + bytes->Below(256);
  const bool is_code = tensor->dtype() >= Dtype::k_int8_t;
  for (int64_t i = 0; i < tensor->count(); ++i) {
    state = Mix(state + 1);
    const int64_t any = static_cast<int64_t>(state >> 40);  // 24 bits
    if (is_code) {
      WithDtype(tensor->dtype(), [&](auto zero) {
        using T = decltype(zero);
        if constexpr (kIsCode<T>) {
          // All of them, or the first and the last.
          T code = static_cast<T>(state >> 24);
          if (style % 2 == 0) {
            code = any % 2 == 0 ? std::numeric_limits<T>::min()
                                : std::numeric_limits<T>::max();
          }
          tensor->SetBits(i, code);
        }
      });
      continue;
    }
    double value = static_cast<double>(any - (1 << 23)) / (1 << 23);
    // Many that are equal; some that are no numbers, or nearly none.
    if (style == 5) value = static_cast<double>(any % 3) - 1;
    if (style == 6 && any % 64 == 0) value = ReadAnyFloat<float>(bytes);
    if (style == 7) value *= std::ldexp(1.0, int(any % 250) - 125);
    tensor->Set(i, value);
  }
}

// Of a row of boxes. `scale`: of a map.
template <typename B>
B ReadCoordinate(double scale, ByteReader* bytes) {
  const int64_t kind = bytes->Byte();
  if (kind >= 240) return ReadAnyFloat<B>(bytes);
  double pixels = (static_cast<double>(bytes->Byte()) - 72) / 8;
  if (kind >= 200) pixels += bytes->Byte() / 2048.0;
  if (kind < 120) pixels = std::floor(pixels * 2) / 2;
  if (kind >= 230) pixels *= 40;
  if (!(scale > 1e-3 && scale < 1e3)) scale = 1;
  return static_cast<B>(pixels / scale);
}

int64_t ReadIndex(int64_t count, bool is_64_bit, ByteReader* bytes) {
  const int64_t byte = bytes->Byte();
  if (byte < 250 && count > 0) return byte % count;
  if (byte < 252) return count;
  if (byte < 254) return -1;
  const int64_t index = bytes->OneOf(kHugeIntegers);
  return is_64_bit ? index : static_cast<int32_t>(index);
}

template <typename B>
void FillWithBoxes(const AnyCall& call, const Signature& signature,
                   ByteReader* bytes, Tensor* tensor) {
  const int64_t columns = signature.columns;
  for (int64_t i = 0; i < tensor->count(); ++i) {
    const int64_t column = i % columns;
    B number;
    if (columns == 5 && column == 0) {
      const int64_t kind = bytes->Byte();
      number =
          kind >= 252
              ? ReadAnyFloat<B>(bytes)
              : static_cast<B>(ReadIndex(signature.sizes.batch, true, bytes)) +
                    (kind < 20 ? B(0.75) : B(0));
    } else {
      number = ReadCoordinate<B>(column % 2 == columns % 2
                                     ? call.params.spatial_scale.x
                                     : call.params.spatial_scale.y,
                                 bytes);
    }
    tensor->SetBits(i, number);
  }
}

}  // namespace

AnyCall ReadCall(ByteReader* bytes) {
  AnyCall call = {};
  const Op op = bytes->OneOf(kOps);
  const int64_t flags = bytes->Byte();
  call.params.maps = flags & 1 ? Maps::kMany : Maps::kOne;
  call.info = InfoOf(op, call.params.maps);
  call.box_dtype = flags & 2 ? Dtype::k_double : Dtype::k_float;
  call.indices_are_64_bit = flags & 4;
  call.levels_are_64_bit = flags & 8;
  call.aligned = flags & 16;
  call.by_threads = bytes->OneIn(32);
  call.dtype = IsOnCodes(op) ? bytes->OneOf(kCodes) : bytes->OneOf(kFloats);
  call.level = static_cast<int>(bytes->Below(3));
  call.pieces = 1 + bytes->Below(9);
  call.params.mode = ReadMode(op, bytes);
  ReadParams(bytes, &call.params);
  call.map_count = 1;
  if (call.params.maps == Maps::kMany) {
    const int64_t byte = bytes->Byte();
    call.map_count = byte < 252 ? 1 + byte % (byte < 200 ? 4 : kMaxMaps)
                                : bytes->OneOf(kHugeIntegers);
  }
  if (call.map_count < 1 || call.map_count > kMaxMaps) return call;

  const Extents extents = ReadExtents(call.map_count, bytes);
  const auto add = [&](Input input, int map, int /*place*/) {
    const Shape shape = ShapeOf(input, map, call, extents);
    call.operands.push_back({input, map, shape});
    if (input == Input::kFeaturesShape) {
      const Shape features = ShapeOf(Input::kFeatures, map, call, extents);
      std::copy_n(features.dims, 4, call.features_sizes[map]);
    }
    return Status();
  };
  // It never fails.
  (void)ForEachTensor(call.info, static_cast<int>(call.map_count), add);
  int64_t mistakes = bytes->Byte();
  mistakes = mistakes < 200 ? 0 : mistakes % 3 + 1;
  for (; mistakes > 0; --mistakes) ReadMistake(bytes, &call);
  return call;
}

Tensor ReadData(const AnyCall& call, const AnyCall::Operand& operand,
                const Signature& signature, ByteReader* bytes) {
  const auto make = [&](Dtype dtype) {
    return Tensor(dtype, CountOf(operand.shape), call.aligned);
  };
  const bool boxes_are_double = call.box_dtype == Dtype::k_double;
  switch (operand.input) {
    case Input::kFeatures:
    case Input::kGradOutput: {
      Tensor tensor = make(call.dtype);
      FillWithNumbers(bytes, &tensor);
      return tensor;
    }
    case Input::kDirection: {
      Tensor tensor = make(call.box_dtype);
      FillWithNumbers(bytes, &tensor);
      return tensor;
    }
    case Input::kBoxes: {
      Tensor tensor = make(call.box_dtype);
      (boxes_are_double
           ? FillWithBoxes<double>
           : FillWithBoxes<float>)(call, signature, bytes, &tensor);
      return tensor;
    }
    case Input::kBoxIndices:
    case Input::kLevels: {
      const bool of_maps = operand.input == Input::kLevels;
      const bool is_64_bit =
          of_maps ? call.levels_are_64_bit : call.indices_are_64_bit;
      Tensor tensor = make(is_64_bit ? Dtype::kInt64 : Dtype::k_int32_t);
      for (int64_t i = 0; i < tensor.count(); ++i) {
        const int64_t index = ReadIndex(
            of_maps ? signature.map_count
                    : std::min<int64_t>(signature.sizes.batch, kInt32Max),
            is_64_bit, bytes);
        if (is_64_bit) {
          tensor.SetBits(i, index);
        } else {
          tensor.SetBits(i, static_cast<int32_t>(index));
        }
      }
      return tensor;
    }
    case Input::kSpatialScales: {
      Tensor tensor = make(Dtype::k_double);
      for (int64_t i = 0; i < tensor.count(); ++i) {
        tensor.SetBits(i, ReadScale(bytes));
      }
      return tensor;
    }
    case Input::kScale: {
      Tensor tensor = make(Dtype::k_float);
      tensor.SetBits(0, bytes->OneIn(8)
                            ? ReadAnyFloat<float>(bytes)
                            : static_cast<float>(0.01 * (1 + bytes->Byte())));
      return tensor;
    }
    case Input::kZeroPoint: {
      Tensor tensor = make(Dtype::k_int32_t);
      const int64_t kind = bytes->Byte();
      tensor.SetBits(0, kind < 220   ? static_cast<int32_t>(kind / 2)
                        : kind < 250 ? static_cast<int32_t>(bytes->Byte() - 128)
                                     : bytes->Bits<int32_t>());
      return tensor;
    }
    case Input::kFeaturesShape: {
      Tensor tensor = make(Dtype::kInt64);
      for (int64_t i = 0; i < tensor.count(); ++i) {
        tensor.SetBits(i, call.features_sizes[operand.map][i]);
      }
      return tensor;
    }
  }
  return {};
}

}  // namespace tf_roialign
