// Pieces of PTX text.

#ifndef TF_ROIALIGN_CC_CORE_CUDA_PTX_TEXT_H_
#define TF_ROIALIGN_CC_CORE_CUDA_PTX_TEXT_H_

#include <string>
#include <vector>

namespace tf_roialign {
namespace ptx {

// Comments become spaces; lines stay.
std::string WithoutComments(const std::string& text);

// Without white space at either end.
std::string Trimmed(const std::string& text);

// At each `separator` outside of brackets; pieces are trimmed. Nothing for an
// empty text.
std::vector<std::string> Split(const std::string& text, char separator);

// At white space.
std::vector<std::string> WordsOf(const std::string& text);

// "{a, b}" -> "a, b", whatever the brackets.
std::string Inside(const std::string& text);

// What was not understood ends the program: to go on would check nothing.
[[noreturn]] void Stop(const std::string& what, const std::string& text);

}  // namespace ptx
}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CUDA_PTX_TEXT_H_
