#include "cc/core/cuda/ptx/types.h"

#include <iterator>
#include <string>

namespace tf_roialign {
namespace ptx {
namespace {

struct Entry {
  const char* name;
  int bytes;
};

// In the order of Type.
constexpr Entry kTypes[] = {
    {"u8", 1},  {"u16", 2},  {"u32", 4}, {"u64", 8}, {"s8", 1},   {"s16", 2},
    {"s32", 4}, {"s64", 8},  {"b8", 1},  {"b16", 2}, {"b32", 4},  {"b64", 8},
    {"f16", 2}, {"bf16", 2}, {"f32", 4}, {"f64", 8}, {"pred", 1},
};

}  // namespace

Type ParseType(const std::string& word) {
  for (size_t i = 0; i < std::size(kTypes); ++i) {
    if (word == kTypes[i].name) return static_cast<Type>(i);
  }
  return Type::kNone;
}

int BytesOf(Type type) { return kTypes[static_cast<int>(type)].bytes; }

bool IsSigned(Type type) {
  return type == Type::kS8 || type == Type::kS16 || type == Type::kS32 ||
         type == Type::kS64;
}

bool IsFloat(Type type) { return type == Type::kF32 || type == Type::kF64; }

const char* NameOf(Space space) {
  switch (space) {
    case Space::kGeneric:
      return "generic";
    case Space::kGlobal:
      return "global";
    case Space::kShared:
      return "shared";
    case Space::kLocal:
      return "local";
    case Space::kParam:
      return "parameter";
  }
  return "";
}

}  // namespace ptx
}  // namespace tf_roialign
