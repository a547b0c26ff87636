// From the text of a PTX module, as nvcc writes it, to a Program.

#ifndef TF_ROIALIGN_CC_CORE_CUDA_PTX_PARSER_H_
#define TF_ROIALIGN_CC_CORE_CUDA_PTX_PARSER_H_

#include <string>

#include "cc/core/cuda/ptx/program.h"

namespace tf_roialign {
namespace ptx {

// Stops at what it does not know, with its text.
Program Parse(const std::string& text);

}  // namespace ptx
}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CUDA_PTX_PARSER_H_
