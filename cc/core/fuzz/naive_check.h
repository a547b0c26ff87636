// What is to come of a call, by the naive reference.

#ifndef TF_ROIALIGN_CC_CORE_FUZZ_NAIVE_CHECK_H_
#define TF_ROIALIGN_CC_CORE_FUZZ_NAIVE_CHECK_H_

#include <string>
#include <vector>

#include "cc/core/fuzz/any_call.h"

namespace tf_roialign {

// A call whose shapes are right.
struct CheckedCall {
  const AnyCall& call;
  const Signature& signature;
  const std::vector<Tensor>& data;  // of the operands
};

// Whether a value is wrong.
bool IsToFail(const CheckedCall& call);

// What is wrong with the outputs of a call that has not failed; empty: nothing.
// Not all can be compared: what leaves the range of a dtype, or has more
// samples than can be gone through, cannot.
std::string DifferenceFromNaive(const CheckedCall& call,
                                const std::vector<Tensor>& outputs);

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_FUZZ_NAIVE_CHECK_H_
