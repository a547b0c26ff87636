// The attributes of params.h on their way through XLA, by type: the compiler's
// side writes the text of an MLIR dictionary, the handlers read it.

#ifndef TF_ROIALIGN_CC_XLA_ATTRIBUTES_H_
#define TF_ROIALIGN_CC_XLA_ATTRIBUTES_H_

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "cc/core/call/params.h"
#include "xla/ffi/api/ffi.h"

namespace tf_roialign {

// ---- Text -------------------------------------------------------------------

inline std::string AttributeText(int64_t value) {
  return std::to_string(value) + " : i64";
}
inline std::string AttributeText(bool value) {
  return value ? "true" : "false";
}
inline std::string AttributeText(Layout value) {
  return value == Layout::kNCHW ? "\"NCHW\"" : "\"NHWC\"";
}
inline std::string AttributeText(const OutputSize& value) {
  return "array<i64: " + std::to_string(value.height) + ", " +
         std::to_string(value.width) + ">";
}
// By the bits, so that no digit is lost.
inline std::string BitsText(double value) {
  uint64_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return std::to_string(bits);
}
inline std::string AttributeText(const Scale& value) {
  return "array<i64: " + BitsText(value.y) + ", " + BitsText(value.x) + ">";
}

inline std::string AttributeText(Mode value) {
  return value == Mode::kMax ? "\"max\"" : "\"avg\"";
}
inline std::string AttributeText(double value) {
  return BitsText(value) + " : i64";
}

// Of an op on many maps: how many.
constexpr const char* kMapCount = "map_count";

// Names and values of an MLIR dictionary.
class AttributesText {
 public:
  explicit AttributesText(const OpParams& params) {
    ForEachAttribute(params,
                     [&](const char* name, const auto& value, const char*) {
                       Add(name, AttributeText(value));
                     });
  }

  void Add(const std::string& name, const std::string& value) {
    text_ += (text_.empty() ? "{" : ", ") + name + " = " + value;
  }
  void AddNumbers(const std::string& name, const std::vector<double>& values) {
    std::string bits;
    for (double value : values) {
      bits += (bits.empty() ? "" : ", ") + BitsText(value);
    }
    Add(name, "array<i64: " + bits + ">");
  }

  std::string text() const { return text_ + "}"; }

 private:
  std::string text_;
};

// ---- Values: false if there is no such attribute ----------------------------

// int64_t, bool.
template <typename Value>
bool ReadAttribute(const ::xla::ffi::Dictionary& attributes, const char* name,
                   Value* value) {
  const auto read = attributes.get<Value>(name);
  if (read) *value = *read;
  return bool(read);
}

inline bool ReadAttribute(const ::xla::ffi::Dictionary& attributes,
                          const char* name, Layout* value) {
  const auto read = attributes.get<std::string_view>(name);
  if (read) *value = *read == "NCHW" ? Layout::kNCHW : Layout::kNHWC;
  return bool(read);
}

inline bool ReadAttribute(const ::xla::ffi::Dictionary& attributes,
                          const char* name, Mode* value) {
  const auto read = attributes.get<std::string_view>(name);
  if (read) *value = *read == "max" ? Mode::kMax : Mode::kAvg;
  return bool(read);
}

inline bool ReadAttribute(const ::xla::ffi::Dictionary& attributes,
                          const char* name, double* value) {
  const auto bits = attributes.get<int64_t>(name);
  if (bits) std::memcpy(value, &*bits, sizeof(*value));
  return bool(bits);
}

// `count` numbers, as AddNumbers writes them.
inline bool ReadNumbers(const ::xla::ffi::Dictionary& attributes,
                        const char* name, int64_t count, double* values) {
  const auto read = attributes.get<::xla::ffi::Span<const int64_t>>(name);
  if (!read || int64_t(read->size()) != count) return false;
  std::memcpy(values, read->begin(), count * sizeof(*values));
  return true;
}

inline bool ReadTwo(const ::xla::ffi::Dictionary& attributes, const char* name,
                    int64_t values[2]) {
  const auto read = attributes.get<::xla::ffi::Span<const int64_t>>(name);
  if (!read || read->size() != 2) return false;
  for (int i = 0; i < 2; ++i) values[i] = read->begin()[i];
  return true;
}

inline bool ReadAttribute(const ::xla::ffi::Dictionary& attributes,
                          const char* name, OutputSize* value) {
  int64_t sizes[2];
  if (!ReadTwo(attributes, name, sizes)) return false;
  *value = {sizes[0], sizes[1]};
  return true;
}

inline bool ReadAttribute(const ::xla::ffi::Dictionary& attributes,
                          const char* name, Scale* value) {
  int64_t bits[2];
  if (!ReadTwo(attributes, name, bits)) return false;
  std::memcpy(&value->y, &bits[0], sizeof(value->y));
  std::memcpy(&value->x, &bits[1], sizeof(value->x));
  return true;
}

inline ::xla::ffi::ErrorOr<OpParams> ReadParams(
    const ::xla::ffi::Dictionary& attributes, Maps maps) {
  OpParams params;
  params.maps = maps;
  const char* missing = nullptr;
  ForEachAttribute(params, [&](const char* name, auto& value, const char*) {
    if (!ReadAttribute(attributes, name, &value)) missing = name;
  });
  if (missing == nullptr) return params;
  return ::xla::ffi::Unexpected(::xla::ffi::Error::Internal(
      std::string("RoIAlign's custom call lacks the attribute ") + missing));
}

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_XLA_ATTRIBUTES_H_
