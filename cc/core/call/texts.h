// Words of which error texts are made.

#ifndef TF_ROIALIGN_CC_CORE_CALL_TEXTS_H_
#define TF_ROIALIGN_CC_CORE_CALL_TEXTS_H_

#include <cstdint>
#include <initializer_list>
#include <string>

#include "cc/core/call/shape.h"

namespace tf_roialign {

// The size, or a name where it is not known.
inline std::string SizeName(int64_t size, const char* unknown) {
  return size == kUnknown ? unknown : std::to_string(size);
}

// "[2, M, 4]": sizes that are not known go by their names.
inline std::string Named(std::initializer_list<std::string> names) {
  std::string text = "[";
  for (const std::string& name : names) {
    if (text.size() > 1) text += ", ";
    text += name;
  }
  return text + "]";
}

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CALL_TEXTS_H_
