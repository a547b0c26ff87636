// One statement of PTX as an Instruction.

#ifndef TF_ROIALIGN_CC_CORE_CUDA_PTX_DECODER_H_
#define TF_ROIALIGN_CC_CORE_CUDA_PTX_DECODER_H_

#include <string>
#include <vector>

#include "cc/core/cuda/ptx/program.h"
#include "cc/core/cuda/ptx/scope.h"

namespace tf_roialign {
namespace ptx {

// What refers to names that may come later is left to the parser.
struct Decoded {
  Instruction instruction;
  std::string label;   // of a branch
  std::string callee;  // of a call
  std::vector<std::string> arguments, results;
};

// `statement`: without its semicolon. Stops if it is not known.
Decoded Decode(const std::string& statement, int line, Scope* scope);

}  // namespace ptx
}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CUDA_PTX_DECODER_H_
