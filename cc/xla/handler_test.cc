// What handlers read out of a custom call, of either platform.

#include "cc/xla/handler.h"

#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cc/core/call/op.h"
#include "cc/core/call/params.h"
#include "gtest/gtest.h"
#include "xla/ffi/api/c_api.h"
#include "xla/ffi/api/ffi.h"

namespace tf_roialign {
namespace {

namespace ffi = ::xla::ffi;

std::vector<int64_t> Bits(const std::vector<double>& values) {
  std::vector<int64_t> bits(values.size());
  std::memcpy(bits.data(), values.data(), values.size() * sizeof(double));
  return bits;
}

// Operands, results and attributes of one call, as XLA hands them over. Nothing
// at the addresses of operands is read unless it is said to be on the host.
class Frame {
 public:
  explicit Frame(const OpParams& params) {
    ForEachAttribute(params, [&](const char* name, const auto& value,
                                 const char*) { Attribute(name, value); });
  }

  void Operand(const void* data, XLA_FFI_DataType type,
               const std::vector<int64_t>& shape) {
    operands_.push_back(MakeBuffer(data, type, shape));
  }
  void Result(const void* data, XLA_FFI_DataType type,
              const std::vector<int64_t>& shape) {
    results_.push_back(MakeBuffer(data, type, shape));
  }

  void Attribute(const char* name, int64_t value) {
    Scalar(name, XLA_FFI_DataType_S64, value);
  }
  void Attribute(const char* name, bool value) {
    Scalar(name, XLA_FFI_DataType_PRED, value);
  }
  void Attribute(const char* name, double value) {
    Attribute(name, Bits({value})[0]);
  }
  void Attribute(const char* name, const std::vector<int64_t>& values) {
    auto& array = Keep<std::pair<std::vector<int64_t>, XLA_FFI_Array>>();
    array.first = values;
    array.second = {XLA_FFI_DataType_S64, values.size(), array.first.data()};
    Add(name, XLA_FFI_AttrType_ARRAY, &array.second);
  }
  void Attribute(const char* name, const OutputSize& value) {
    Attribute(name, std::vector<int64_t>{value.height, value.width});
  }
  void Attribute(const char* name, const Scale& value) {
    Attribute(name, Bits({value.y, value.x}));
  }
  void Attribute(const char* name, Layout value) {
    Text(name, value == Layout::kNCHW ? "NCHW" : "NHWC");
  }
  void Attribute(const char* name, Mode value) {
    Text(name, value == Mode::kMax ? "max" : "avg");
  }

  // The text of an error, or none.
  std::string Read(const OpInfo& info, bool on_host, HandledCall* call) {
    std::vector<void*> operands, results, values;
    for (auto& buffer : operands_) operands.push_back(buffer.get());
    for (auto& buffer : results_) results.push_back(buffer.get());
    // XLA has them in the order of their names.
    std::vector<XLA_FFI_AttrType> kinds;
    std::vector<XLA_FFI_ByteSpan> names;
    for (const auto& [name, attribute] : attributes_) {
      names.push_back({name.data(), name.size()});
      kinds.push_back(attribute.first);
      values.push_back(attribute.second);
    }
    std::vector<XLA_FFI_ByteSpan*> name_places;
    for (XLA_FFI_ByteSpan& name : names) name_places.push_back(&name);
    std::vector<XLA_FFI_ArgType> operand_kinds(operands.size(),
                                               XLA_FFI_ArgType_BUFFER);
    std::vector<XLA_FFI_RetType> result_kinds(results.size(),
                                              XLA_FFI_RetType_BUFFER);
    const XLA_FFI_Args of_operands = {XLA_FFI_Args_STRUCT_SIZE, nullptr,
                                      int64_t(operands.size()),
                                      operand_kinds.data(), operands.data()};
    const XLA_FFI_Rets of_results = {XLA_FFI_Rets_STRUCT_SIZE, nullptr,
                                     int64_t(results.size()),
                                     result_kinds.data(), results.data()};
    const XLA_FFI_Attrs of_attributes = {
        XLA_FFI_Attrs_STRUCT_SIZE, nullptr,
        int64_t(values.size()),    kinds.data(),
        name_places.data(),        values.data()};
    return ReadCall(info, on_host, ffi::RemainingArgs(&of_operands, 0),
                    ffi::RemainingRets(&of_results, 0),
                    ffi::Dictionary(&of_attributes), call)
        .message();
  }

 private:
  struct Buffer : XLA_FFI_Buffer {
    std::vector<int64_t> shape;
  };

  static std::unique_ptr<Buffer> MakeBuffer(const void* data,
                                            XLA_FFI_DataType type,
                                            const std::vector<int64_t>& shape) {
    auto buffer = std::make_unique<Buffer>();
    buffer->shape = shape;
    buffer->struct_size = XLA_FFI_Buffer_STRUCT_SIZE;
    buffer->extension_start = nullptr;
    buffer->dtype = type;
    buffer->data = const_cast<void*>(data);
    buffer->rank = int64_t(shape.size());
    buffer->dims = buffer->shape.data();
    return buffer;
  }

  template <typename Thing>
  Thing& Keep() {
    auto thing = std::make_shared<Thing>();
    kept_.push_back(thing);
    return *thing;
  }
  template <typename Value>
  void Scalar(const char* name, XLA_FFI_DataType type, Value value) {
    auto& scalar = Keep<std::pair<Value, XLA_FFI_Scalar>>();
    scalar.first = value;
    scalar.second = {type, &scalar.first};
    Add(name, XLA_FFI_AttrType_SCALAR, &scalar.second);
  }
  void Text(const char* name, const char* text) {
    auto& span = Keep<XLA_FFI_ByteSpan>();
    span = {text, std::strlen(text)};
    Add(name, XLA_FFI_AttrType_STRING, &span);
  }
  void Add(const char* name, XLA_FFI_AttrType kind, void* value) {
    attributes_[name] = {kind, value};
  }

  std::vector<std::unique_ptr<Buffer>> operands_, results_;
  std::map<std::string, std::pair<XLA_FFI_AttrType, void*>> attributes_;
  std::vector<std::shared_ptr<void>> kept_;
};

// Addresses that nothing is at.
void* const kFeatures = reinterpret_cast<void*>(0x1000);
void* const kBoxes = reinterpret_cast<void*>(0x2000);
void* const kIndices = reinterpret_cast<void*>(0x3000);
void* const kOutput = reinterpret_cast<void*>(0x4000);
void* const kCount = reinterpret_cast<void*>(0x5000);

OpParams ParamsOf(Maps maps) {
  OpParams params;
  params.maps = maps;
  params.output_size = {3, 2};
  return params;
}

Frame CodesFrame() {
  Frame frame(ParamsOf(Maps::kOne));
  frame.Operand(kFeatures, XLA_FFI_DataType_S8, {2, 9, 13, 5});
  frame.Operand(kBoxes, XLA_FFI_DataType_F32, {20, 4});
  frame.Operand(kIndices, XLA_FFI_DataType_S32, {20});
  frame.Result(kOutput, XLA_FFI_DataType_S8, {20, 3, 2, 5});
  return frame;
}

TEST(Handler, TakesScaleAndZeroPointFromTheHost) {
  const OpInfo info = InfoOf(Op::kForwardQuantized);
  const float scale = 0.3f;
  const int32_t zero_point = -7;
  Frame frame = CodesFrame();
  frame.Operand(&scale, XLA_FFI_DataType_F32, {});
  frame.Operand(&zero_point, XLA_FFI_DataType_S32, {});
  HandledCall call;
  EXPECT_EQ(frame.Read(info, /*on_host=*/true, &call), "");
  EXPECT_EQ(*call.inputs.Get<float>(Input::kScale), scale);
  EXPECT_EQ(*call.inputs.Get<int32_t>(Input::kZeroPoint), zero_point);
  EXPECT_EQ(call.features_type, ffi::DataType::S8);
  EXPECT_EQ(call.inputs.Features<int8_t>(0), kFeatures);
  EXPECT_EQ(call.outputs.data[0], kOutput);
}

TEST(Handler, TakesScaleAndZeroPointFromAttributes) {
  const OpInfo info = InfoOf(Op::kForwardQuantized);
  Frame frame = CodesFrame();
  frame.Attribute("scale", Bits({0.3f}));
  frame.Attribute("zero_point", Bits({-7}));
  HandledCall call;
  EXPECT_EQ(frame.Read(info, /*on_host=*/false, &call), "");
  EXPECT_EQ(*call.inputs.Get<float>(Input::kScale), 0.3f);
  EXPECT_EQ(*call.inputs.Get<int32_t>(Input::kZeroPoint), -7);
  EXPECT_EQ(call.inputs.Get<void>(Input::kBoxes), kBoxes);
  EXPECT_EQ(call.inputs.box_count, nullptr);
  EXPECT_EQ(call.signature.sizes.boxes, 20);
}

TEST(Handler, SaysWhichAttributeIsNotThere) {
  Frame frame = CodesFrame();
  frame.Attribute("scale", Bits({0.3f}));
  HandledCall call;
  const std::string text =
      frame.Read(InfoOf(Op::kForwardQuantized), /*on_host=*/false, &call);
  EXPECT_NE(text.find("lacks the attribute zero_point"), std::string::npos)
      << text;
}

TEST(Handler, TakesScalesOfMapsFromAttributes) {
  Frame frame(ParamsOf(Maps::kMany));
  frame.Attribute("map_count", int64_t{2});
  frame.Operand(kFeatures, XLA_FFI_DataType_F32, {2, 9, 13, 5});
  frame.Operand(kFeatures, XLA_FFI_DataType_F32, {2, 4, 6, 5});
  frame.Operand(kBoxes, XLA_FFI_DataType_F32, {20, 5});
  frame.Operand(kIndices, XLA_FFI_DataType_S32, {0});
  frame.Operand(kIndices, XLA_FFI_DataType_S32, {0});
  frame.Result(kOutput, XLA_FFI_DataType_F32, {20, 3, 2, 5});
  frame.Attribute("spatial_scales", Bits({1, 0.5, 0.25, 0.125}));
  HandledCall call;
  EXPECT_EQ(frame.Read(InfoOf(Op::kForward, Maps::kMany), false, &call), "");
  const double* scales = call.inputs.Get<double>(Input::kSpatialScales);
  EXPECT_EQ(scales[1], 0.5);
  EXPECT_EQ(scales[3], 0.125);
  EXPECT_EQ(call.signature.map_count, 2);
}

TEST(Handler, LeavesANumberOfBoxesOnTheDevice) {
  const OpInfo info = InfoOf(Op::kForward);
  const int32_t count = 11;
  for (const bool on_host : {true, false}) {
    Frame frame(ParamsOf(Maps::kOne));
    frame.Operand(kFeatures, XLA_FFI_DataType_F32, {2, 9, 13, 5});
    frame.Operand(kBoxes, XLA_FFI_DataType_F32, {20, 4});
    frame.Operand(kIndices, XLA_FFI_DataType_S32, {20});
    frame.Operand(on_host ? &count : kCount, XLA_FFI_DataType_S32, {});
    frame.Result(kOutput, XLA_FFI_DataType_F32, {20, 3, 2, 5});
    HandledCall call;
    EXPECT_EQ(frame.Read(info, on_host, &call), "");
    EXPECT_EQ(call.signature.sizes.boxes, on_host ? 11 : 20);
    EXPECT_EQ(call.inputs.box_count, on_host ? nullptr : kCount);
  }
}

}  // namespace
}  // namespace tf_roialign
