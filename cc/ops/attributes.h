// The attributes of params.h in TensorFlow, by type: how they are declared, and
// how kernels and shape functions read them.

#ifndef TF_ROIALIGN_CC_OPS_ATTRIBUTES_H_
#define TF_ROIALIGN_CC_OPS_ATTRIBUTES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cc/core/call/attributes.h"
#include "cc/core/call/op.h"
#include "cc/core/call/params.h"
#include "cc/core/call/shape.h"
#include "cc/ops/convert.h"
#include "tensorflow/core/platform/errors.h"

namespace tf_roialign {

// ---- Declarations, as OpDefBuilder::Attr takes them -------------------------

// The attribute that says where scales differ: a list, which is empty where
// they do not. It comes after all others: graphs and callers from before it
// mean what they did.
inline std::string NameOfScales(const char* name) {
  return absl::StrCat(name, "s");
}

inline std::string AttributeSpec(const char* name, const OutputSize&) {
  return absl::StrCat(name, ": list(int)");
}
inline std::string AttributeSpec(const char* name, const Scale& value) {
  return absl::StrFormat("%s: float = %.1f", name, value.y);
}
inline std::string AttributeSpec(const char* name, int64_t value) {
  return absl::StrCat(name, ": int = ", value);
}
inline std::string AttributeSpec(const char* name, double value) {
  return absl::StrFormat("%s: float = %.1f", name, value);
}
inline std::string AttributeSpec(const char* name, bool value) {
  return absl::StrCat(name, ": bool = ", value ? "true" : "false");
}
inline std::string AttributeSpec(const char* name, Layout value) {
  return absl::StrCat(name, ": {'NHWC', 'NCHW'} = '",
                      value == Layout::kNHWC ? "NHWC" : "NCHW", "'");
}

inline std::string AttributeSpec(const char* name, Mode value) {
  return absl::StrCat(name, ": {'avg', 'max'} = '",
                      value == Mode::kAvg ? "avg" : "max", "'");
}

// Of an attribute that is two in TensorFlow, the second; else empty.
template <typename Value>
std::string SecondAttributeSpec(const char*, const Value&) {
  return "";
}
inline std::string SecondAttributeSpec(const char* name, const Scale&) {
  return absl::StrCat(NameOfScales(name), ": list(float) = []");
}
template <typename Value>
std::string SecondAttributeDoc(const char*, const Value&) {
  return "";
}
inline std::string SecondAttributeDoc(const char* name, const Scale&) {
  return absl::StrCat(NameOfScales(name), ": `[y, x]` in the place of ", name,
                      ", where they differ.\n");
}

// ---- Values. Context: InferenceContext or OpKernelConstruction --------------

template <typename Context>
absl::Status ReadAttribute(Context* context, const char* name,
                           OutputSize* value) {
  std::vector<int64_t> sizes;
  TF_RETURN_IF_ERROR(context->GetAttr(name, &sizes));
  if (sizes.size() != 2) return ToAbsl(BadOutputSize(name, Shape::Of(sizes)));
  *value = {sizes[0], sizes[1]};
  return absl::OkStatus();
}

template <typename Context>
absl::Status ReadAttribute(Context* context, const char* name, Scale* value) {
  std::vector<float> scales;
  TF_RETURN_IF_ERROR(context->GetAttr(NameOfScales(name), &scales));
  if (scales.empty()) {
    float scale;
    TF_RETURN_IF_ERROR(context->GetAttr(name, &scale));
    scales.assign(2, scale);
  }
  if (scales.size() != 2) {
    return absl::InvalidArgumentError(absl::StrCat(
        "`", NameOfScales(name), "` must be two numbers, got ", scales.size()));
  }
  *value = {scales[0], scales[1]};
  return absl::OkStatus();
}

template <typename Context>
absl::Status ReadAttribute(Context* context, const char* name, Layout* value) {
  std::string text;
  TF_RETURN_IF_ERROR(context->GetAttr(name, &text));
  *value = text == "NCHW" ? Layout::kNCHW : Layout::kNHWC;
  return absl::OkStatus();
}

template <typename Context>
absl::Status ReadAttribute(Context* context, const char* name, Mode* value) {
  std::string text;
  TF_RETURN_IF_ERROR(context->GetAttr(name, &text));
  *value = text == "max" ? Mode::kMax : Mode::kAvg;
  return absl::OkStatus();
}

template <typename Context>
absl::Status ReadAttribute(Context* context, const char* name, double* value) {
  float number;
  TF_RETURN_IF_ERROR(context->GetAttr(name, &number));
  *value = number;
  return absl::OkStatus();
}

// int64_t, bool.
template <typename Context, typename Value>
absl::Status ReadAttribute(Context* context, const char* name, Value* value) {
  return context->GetAttr(name, value);
}

// The length of the lists of an op on many maps, checked; 1 of others.
template <typename Context>
absl::Status ReadMapCount(Context* context, const OpInfo& info, int* count) {
  *count = 1;
  if (info.maps == Maps::kOne) return absl::OkStatus();
  int64_t length;
  TF_RETURN_IF_ERROR(context->GetAttr("N", &length));
  TF_RETURN_IF_ERROR(ToAbsl(CheckMapCount(info, length)));
  *count = static_cast<int>(length);
  return absl::OkStatus();
}

// All of them, checked.
template <typename Context>
absl::Status ReadParams(Context* context, const OpInfo& info,
                        OpParams* params) {
  params->maps = info.maps;
  absl::Status status;
  ForEachAttribute(*params, [&](const char* name, auto& value, const char*) {
    if (status.ok()) status = ReadAttribute(context, name, &value);
  });
  TF_RETURN_IF_ERROR(status);
  return ToAbsl(CheckParams(info.op, *params));
}

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_OPS_ATTRIBUTES_H_
