// The CUDA runtime's functions that nvcc's host code and the kernels' launchers
// call, for the interpreter. Linked in the runtime's place.

#ifndef TF_ROIALIGN_CC_CORE_CUDA_PTX_FAKE_RUNTIME_H_
#define TF_ROIALIGN_CC_CORE_CUDA_PTX_FAKE_RUNTIME_H_

#include <functional>
#include <string>
#include <vector>

namespace tf_roialign {
namespace ptx {

// All modules that are linked in have PTX of these.
std::vector<int> Architectures();

// Which one is run; the lowest, if none is chosen.
void ChooseArchitecture(int architecture);

// Loads every module, so that what never runs is counted, too.
void LoadAll();

// For tests of the checks: unloads all modules, and changes the PTX of those
// that are loaded from now on; null: leaves it as it is.
void SetPatch(std::function<std::string(const std::string&)> patch);

// Says when launches run: at once, as long as nobody does. It is given a
// launch's stream and what runs it, with a copy of its arguments, and returns
// what the launch does, as both do: a number of cudaError_t.
using Scheduler = std::function<int(void* stream, std::function<int()> launch)>;
void SetScheduler(Scheduler scheduler);

}  // namespace ptx
}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CUDA_PTX_FAKE_RUNTIME_H_
