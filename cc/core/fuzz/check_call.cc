#include "cc/core/fuzz/check_call.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <utility>
#include <vector>

#include "cc/core/base/parallel.h"
#include "cc/core/base/span.h"
#include "cc/core/call/attributes.h"
#include "cc/core/cpu/simd/level.h"
#include "cc/core/fuzz/any_call.h"
#include "cc/core/fuzz/naive_check.h"
#include "cc/core/fuzz/run_any_op.h"
#include "cc/core/testing/threads.h"

namespace tf_roialign {
namespace {

// What a call may hold and take, so that it is over in a millisecond.
constexpr int64_t kMostElements = 1 << 15;
constexpr int64_t kMostWork = 1 << 20;

struct {
  int64_t wrong_attributes, wrong_shapes, too_large, failed, done;
} calls;

// In pieces, the last first, on this thread.
ParallelFor Backwards(int64_t pieces) {
  return [pieces](int64_t units, int64_t /*cost*/,
                  const std::function<void(int64_t, int64_t)>& run) {
    for (int64_t i = pieces; i-- > 0;) {
      const Span part = PartOf(units, pieces, i);
      if (!part.empty()) run(part.begin, part.end);
    }
  };
}

bool IsKnown(const Shape& shape) {
  if (shape.rank < 0) return false;
  for (int i = 0; i < shape.rank && i < Shape::kMaxDims; ++i) {
    if (shape.dims[i] < 0) return false;
  }
  return true;
}

int64_t Times(int64_t a, int64_t b) {
  int64_t product;
  if (a == 0 || b == 0) return 0;
  return __builtin_mul_overflow(a, b, &product) ? kCountless : product;
}

// At most so many taps times channels.
int64_t WorkOf(const AnyCall& call, const Signature& signature) {
  int64_t work = 0;
  for (int m = 0; m < signature.map_count; ++m) {
    const auto [height, width] = signature.maps[m];
    const int64_t taps = Times(
        std::min(height, kCountless / 4) + 2 * call.params.pooled_height(),
        std::min(width, kCountless / 4) + 2 * call.params.pooled_width());
    work = std::max(work, Times(taps, Times(signature.sizes.boxes,
                                            signature.sizes.channels)));
  }
  return work;
}

std::vector<Tensor> MakeOutputs(const AnyCall& call, const Signature& signature,
                                int filler, OutputData* pointers) {
  std::vector<Tensor> outputs;
  const int count = call.info.OutputIsList() ? signature.map_count : 1;
  for (int m = 0; m < count; ++m) {
    const int64_t elements =
        CountOf(signature.OutputShape(call.info, call.params, m));
    outputs.emplace_back(
        call.info.output == Output::kBoxes ? call.box_dtype : call.dtype,
        elements, call.aligned);
    outputs.back().Fill(filler);
    pointers->data[m] = outputs.back().data();
  }
  return outputs;
}

// But for what is NaN in both.
bool AreSame(const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
  for (size_t m = 0; m < a.size(); ++m) {
    if (a[m].count() == 0 ||
        std::memcmp(a[m].data(), b[m].data(), a[m].bytes()) == 0) {
      continue;
    }
    for (int64_t i = 0; i < a[m].count(); ++i) {
      const double x = a[m].at(i), y = b[m].at(i);
      if (std::isnan(x) && std::isnan(y)) continue;
      if (x != y || std::signbit(x) != std::signbit(y)) return false;
    }
  }
  return true;
}

// Says what is wrong with an error.
std::string WrongError(const Status& status) {
  if (status.code() == ErrorCode::kInvalidArgument && !status.text().empty()) {
    return "";
  }
  return "another error than InvalidArgument: " + status.text();
}

class Check {
 public:
  Check(const AnyCall& call, const Signature& signature, ByteReader* bytes)
      : call_(call), signature_(signature) {
    InputShapes shapes;
    for (const AnyCall::Operand& operand : call.operands) {
      data_.push_back(ReadData(call, operand, signature, bytes));
      if (operand.input == Input::kFeaturesShape) continue;
      const bool is_64_bit = operand.input == Input::kLevels
                                 ? call.levels_are_64_bit
                                 : call.indices_are_64_bit;
      ReadTensor(operand.input, operand.map, operand.shape, data_.back().data(),
                 is_64_bit, &shapes, &inputs_);
    }
  }

  std::string At(SimdLevel level) const {
    const ParallelFor serial = Serial;
    const ParallelFor cut =
        call_.by_threads ? Threads(2) : Backwards(call_.pieces);
    OutputData pointers;
    const std::vector<Tensor> outputs =
        MakeOutputs(call_, signature_, 0x5a, &pointers);
    const Status status =
        RunAnyOp({serial, level, 1}, call_, signature_, inputs_, pointers);
    const std::vector<Tensor> of_cut =
        MakeOutputs(call_, signature_, 0xa5, &pointers);
    const Status status_of_cut = RunAnyOp({cut, level, 1 + 4 * call_.pieces},
                                          call_, signature_, inputs_, pointers);

    const CheckedCall checked = {call_, signature_, data_};
    if (IsToFail(checked) == status.ok()) {
      return status.ok() ? "no error" : "an error: " + status.text();
    }
    if (status.code() != status_of_cut.code() ||
        status.text() != status_of_cut.text()) {
      return "errors that differ: \"" + status.text() + "\", with threads \"" +
             status_of_cut.text() + "\"";
    }
    if (!status.ok()) {
      ++calls.failed;
      return WrongError(status);
    }
    ++calls.done;
    // What is not written is not the same either.
    if (!AreSame(outputs, of_cut)) return "threads change the result";
    return DifferenceFromNaive(checked, outputs);
  }

 private:
  const AnyCall& call_;
  const Signature& signature_;
  std::vector<Tensor> data_;
  InputData inputs_;
};

// With less known, less can be wrong.
std::string CheckPartlyKnown(const AnyCall& call, InputShapes shapes,
                             ByteReader* bytes) {
  for (int i = 0; i < kInputs; ++i) {
    Shape& shape = shapes[static_cast<Input>(i)];
    const int64_t byte = bytes->Byte();
    if (byte < 32) shape = Shape();
    if (shape.rank > 0) shape.dims[byte % shape.rank] = kUnknown;
  }
  for (int m = 0; m < shapes.map_count(); ++m) {
    const int64_t byte = bytes->Byte();
    if (byte < 32) shapes.features(m) = Shape();
    if (byte < 128) shapes.features(m).dims[byte % 4] = kUnknown;
  }
  Signature signature;
  const Status status = CheckShapes(call.info, call.params, shapes, &signature);
  return status.ok() ? "" : "an error with less known: " + status.text();
}

}  // namespace

std::string CheckCallOf(const uint8_t* data, size_t size, Levels levels) {
  ByteReader bytes(data, size);
  const AnyCall call = ReadCall(&bytes);
  Status status = CheckMapCount(call.info, call.map_count);
  if (status.ok()) status = CheckParams(call.info.op, call.params);
  if (!status.ok()) {
    ++calls.wrong_attributes;
    return WrongError(status);
  }

  InputShapes shapes;
  InputData no_data;
  shapes.set_map_count(static_cast<int>(call.map_count));
  bool known = true;
  for (const AnyCall::Operand& operand : call.operands) {
    known = known && IsKnown(operand.shape);
    if (operand.input != Input::kFeaturesShape) {
      ReadTensor(operand.input, operand.map, operand.shape, nullptr, false,
                 &shapes, &no_data);
      continue;
    }
    if (operand.map == 0) shapes[operand.input] = operand.shape;
    status =
        IsKnown(operand.shape)
            ? ReadFeaturesShape(operand.shape, call.features_sizes[operand.map],
                                &shapes.features(operand.map))
            : Status();
    if (!status.ok()) break;
  }
  Signature signature;
  if (status.ok()) {
    status = CheckShapes(call.info, call.params, shapes, &signature);
  }
  if (!status.ok() || !known) {
    ++calls.wrong_shapes;
    return status.ok() ? "" : WrongError(status);
  }

  int64_t elements = 0;
  for (const AnyCall::Operand& operand : call.operands) {
    elements = std::max(elements, CountOf(operand.shape));
  }
  const int outputs = call.info.OutputIsList() ? signature.map_count : 1;
  for (int m = 0; m < outputs; ++m) {
    elements = std::max(
        elements, CountOf(signature.OutputShape(call.info, call.params, m)));
  }
  if (elements > kMostElements || WorkOf(call, signature) > kMostWork) {
    ++calls.too_large;
    return "";
  }

  const Check check(call, signature, &bytes);
  const std::vector<SimdLevel> usable = UsableSimdLevels();
  for (size_t i = 0; i < usable.size(); ++i) {
    if (levels == Levels::kOne && i != call.level % usable.size()) continue;
    const std::string wrong = check.At(usable[i]);
    if (!wrong.empty()) {
      return std::string(call.info.name) + " at " + SimdLevelName(usable[i]) +
             ": " + wrong;
    }
  }
  return CheckPartlyKnown(call, shapes, &bytes);
}

std::string CallsSoFar() {
  return std::to_string(calls.done) + " done, " + std::to_string(calls.failed) +
         " with a wrong value, " + std::to_string(calls.wrong_shapes) +
         " with wrong or unknown shapes, " +
         std::to_string(calls.wrong_attributes) + " with wrong attributes, " +
         std::to_string(calls.too_large) + " too large";
}

}  // namespace tf_roialign
