// The instructions that compute registers from registers.

#ifndef TF_ROIALIGN_CC_CORE_CUDA_PTX_ARITHMETIC_H_
#define TF_ROIALIGN_CC_CORE_CUDA_PTX_ARITHMETIC_H_

#include <string>
#include <vector>

#include "cc/core/cuda/ptx/program.h"
#include "cc/core/cuda/ptx/types.h"

namespace tf_roialign {
namespace ptx {

struct Arithmetic {
  LaneFunction function = nullptr;  // null: not known
  int sources = 0;
  Class counted_as = Class::kMove;
  // Of the registers; kNone: any width.
  Type destination = Type::kNone;
  Type source[3] = {Type::kNone, Type::kNone, Type::kNone};
  bool divides = false;
};

// `words`: an opcode's parts, such as {"add", "rn", "f32"}.
Arithmetic FindArithmetic(const std::vector<std::string>& words);

}  // namespace ptx
}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CUDA_PTX_ARITHMETIC_H_
