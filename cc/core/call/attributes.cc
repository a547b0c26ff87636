#include "cc/core/call/attributes.h"

#include <cmath>
#include <cstdio>
#include <limits>

namespace tf_roialign {
namespace {

constexpr int64_t kMax = std::numeric_limits<int32_t>::max();

std::string Quoted(const char* name) { return std::string("`") + name + "`"; }

std::string Number(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%g", value);
  return text;
}

bool IsScale(double value) { return std::isfinite(value) && value > 0; }

Status CheckScale(const char* name, double value) {
  if (IsScale(value)) return {};
  return Status::InvalidArgument(Quoted(name) +
                                 " must be finite and greater than 0, got " +
                                 Number(value));
}

}  // namespace

Status BadOutputSize(const char* name, const Shape& sizes) {
  return Status::InvalidArgument(Quoted(name) +
                                 " must be two integers of at least 1, got " +
                                 sizes.ToString());
}

Status CheckAttribute(const char* name, const OutputSize& value) {
  const Shape sizes = {value.height, value.width};
  if (value.height < 1 || value.width < 1) return BadOutputSize(name, sizes);
  if (value.height <= kMax && value.width <= kMax) return {};
  return Status::InvalidArgument(
      Quoted(name) + " must be less than 2^31, got " + sizes.ToString());
}

Status CheckAttribute(const char* name, const Scale& value) {
  if (value.y == value.x || !IsScale(value.y)) return CheckScale(name, value.y);
  return CheckScale(name, value.x);
}

Status CheckAttribute(const char* name, double value) {
  return CheckScale(name, value);
}

Status CheckAttribute(const char* name, int64_t value) {
  if (value <= kMax) return {};
  return Status::InvalidArgument(
      Quoted(name) + " must be less than 2^31, got " + std::to_string(value));
}

Status CheckParams(Op op, const OpParams& params) {
  Status status;
  if (!Has(op, params.mode)) {
    const bool is_max = params.mode == Mode::kMax;
    return Status::InvalidArgument(std::string("`mode` must be ") +
                                   (is_max ? "\"avg\"" : "\"max\"") + " for " +
                                   InfoOf(op, params.maps).name + ", got " +
                                   (is_max ? "\"max\"" : "\"avg\""));
  }
  ForEachAttribute(params,
                   [&](const char* name, const auto& value, const char*) {
                     if (status.ok()) status = CheckAttribute(name, value);
                   });
  return status;
}

Status CheckQuantization(float scale, int64_t zero_point, int64_t lowest,
                         int64_t highest) {
  TF_ROIALIGN_RETURN_IF_ERROR(CheckScale("scale", scale));
  if (zero_point >= lowest && zero_point <= highest) return {};
  return Status::InvalidArgument(
      "`zero_point` must be in [" + std::to_string(lowest) + ", " +
      std::to_string(highest) + "], got " + std::to_string(zero_point));
}

}  // namespace tf_roialign
