// Faults planted into the kernels' PTX: each has to be reported, by the checks
// or by what the kernels compute.

#ifndef TF_ROIALIGN_CC_CORE_CUDA_DEVICE_TEST_PLANTED_FAULTS_H_
#define TF_ROIALIGN_CC_CORE_CUDA_DEVICE_TEST_PLANTED_FAULTS_H_

#include <functional>
#include <string>
#include <vector>

#include "cc/core/cuda/ptx/faults.h"
#include "cc/core/cuda/ptx/program.h"

namespace tf_roialign {

// Runs kernels and expects what a CPU computes.
using SmallCall = std::function<void()>;

// A few of each op, so that every barrier of the kernels that they come to is
// needed by one of them.
std::vector<SmallCall> FloatCalls();    // forward and gradients, in both modes
std::vector<SmallCall> TangentCalls();  // and of their transpose
std::vector<SmallCall> CodeCalls();     // int8 and int32

// From the PTX of a module to what is run in its place; null: the PTX itself.
using Patch = std::function<std::string(const std::string&)>;
// Everywhere.
Patch Replace(const std::string& pattern, const std::string& by);

// What fails in a call of the patched kernels; empty if nothing does.
std::string FailuresOf(const SmallCall& call, const Patch& patch = nullptr);

// Fails unless one of the calls has a fault of this kind.
void ExpectReported(const char* what, const std::vector<SmallCall>& calls,
                    ptx::FaultKind kind, const Patch& patch);

// A line of a module's PTX, and what is to stand there.
struct Change {
  int line = 0;  // from 1 on; 0: none
  std::string text;
};
using Lines = std::vector<std::string>;

// Makes one change after the other, that `choose` has for an instruction which
// a call comes to, and runs the calls that come to it. Prints those that no
// call has noticed, and returns how many there were of both.
struct Planted {
  int all = 0;
  int unnoticed = 0;
};
Planted PlantEach(const char* what, const std::vector<SmallCall>& calls,
                  const std::function<Change(const Lines& module,
                                             const ptx::Instruction&)>& choose);

// Changes to choose from. A barrier is removed:
Change WithoutBarrier(const Lines& module, const ptx::Instruction& instruction);
// An access to global memory goes to the element behind:
Change MovedAccess(const Lines& module, const ptx::Instruction& instruction);
// A branch does not keep lanes from the access right behind it:
Change WithoutGuard(const Lines& module, const ptx::Instruction& branch);

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CUDA_DEVICE_TEST_PLANTED_FAULTS_H_
