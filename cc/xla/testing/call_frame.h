// A custom call as XLA hands it to a handler, for tests.

#ifndef TF_ROIALIGN_CC_XLA_TESTING_CALL_FRAME_H_
#define TF_ROIALIGN_CC_XLA_TESTING_CALL_FRAME_H_

#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cc/core/call/params.h"
#include "xla/ffi/api/c_api.h"

namespace tf_roialign {

inline std::vector<int64_t> Bits(const std::vector<double>& values) {
  std::vector<int64_t> bits(values.size());
  std::memcpy(bits.data(), values.data(), values.size() * sizeof(double));
  return bits;
}

// Operands, results and attributes of one call, as XLA hands them over. Nothing
// at the addresses of operands is read unless it is said to be on the host.
class CallFrame {
 public:
  explicit CallFrame(const OpParams& params) {
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

  // Calls use(XLA_FFI_Args, XLA_FFI_Rets, XLA_FFI_Attrs).
  template <typename Use>
  auto With(const Use& use) {
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
    return use(of_operands, of_results, of_attributes);
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

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_XLA_TESTING_CALL_FRAME_H_
