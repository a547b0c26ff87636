#include "cc/core/call/shape.h"

#include "cc/core/call/texts.h"

namespace tf_roialign {

std::string Shape::ToString() const {
  if (rank == kUnknown) return "a shape of unknown rank";
  std::string text = "[";
  for (int i = 0; i < rank && i < kMaxDims; ++i) {
    if (i > 0) text += ", ";
    text += SizeName(dims[i], "?");
  }
  return text + (rank > kMaxDims ? ", ...]" : "]");
}

}  // namespace tf_roialign
