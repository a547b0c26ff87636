#include "cc/core/cuda/ptx/program.h"

namespace tf_roialign {
namespace ptx {

const char* NameOf(Class c) {
  switch (c) {
    case Class::kGlobalLoad:
      return "global load";
    case Class::kGlobalStore:
      return "global store";
    case Class::kSharedLoad:
      return "shared load";
    case Class::kSharedStore:
      return "shared store";
    case Class::kLocal:
      return "local";
    case Class::kParameter:
      return "parameter";
    case Class::kAtomic:
      return "atomic";
    case Class::kFloat32:
      return "fp32";
    case Class::kFloat64:
      return "fp64";
    case Class::kFloatDivision:
      return "fp division";
    case Class::kInt32:
      return "int32";
    case Class::kInt64:
      return "int64";
    case Class::kIntDivision:
      return "int division";
    case Class::kConversion:
      return "conversion";
    case Class::kCompare:
      return "compare";
    case Class::kMove:
      return "move";
    case Class::kBranch:
      return "branch";
    case Class::kBarrier:
      return "barrier";
    case Class::kCall:
      return "call";
    case Class::kCount:
      break;
  }
  return "";
}

}  // namespace ptx
}  // namespace tf_roialign
