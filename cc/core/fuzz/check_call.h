// Runs the call that bytes make, as a host does, and checks what comes of it.

#ifndef TF_ROIALIGN_CC_CORE_FUZZ_CHECK_CALL_H_
#define TF_ROIALIGN_CC_CORE_FUZZ_CHECK_CALL_H_

#include <cstddef>
#include <cstdint>
#include <string>

namespace tf_roialign {

enum class Levels { kOne, kAll };  // of SIMD: that of the bytes, or all

// What is wrong; empty: nothing.
std::string CheckCallOf(const uint8_t* data, size_t size, Levels levels);

// How far the calls so far have come, for people.
std::string CallsSoFar();

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_FUZZ_CHECK_CALL_H_
