// A PTX module, decoded: what the parser makes and the machine runs.

#ifndef TF_ROIALIGN_CC_CORE_CUDA_PTX_PROGRAM_H_
#define TF_ROIALIGN_CC_CORE_CUDA_PTX_PROGRAM_H_

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "cc/core/cuda/ptx/types.h"

namespace tf_roialign {
namespace ptx {

constexpr int kLanes = 32;
constexpr uint32_t kAllLanes = 0xffffffffu;

// A register of all lanes of a warp: kLanes values of `bytes` bytes, at `at` in
// its function's part of the warp's registers. `index` counts them.
struct Register {
  int index = -1;
  uint32_t at = 0;
  uint8_t bytes = 0;

  bool exists() const { return index >= 0; }
};

enum class Kind : uint8_t {
  kArithmetic,
  kSelect,
  kPack,
  kUnpack,
  kLoad,
  kStore,
  kAtomicAdd,
  kBranch,
  kCall,
  kReturn,
  kExit,
  kBarrier,
  kBarrierOr,
  kWarpBarrier,
  kBallot,
  kShuffle,
};

// What instructions are counted as.
enum class Class : uint8_t {
  kGlobalLoad,
  kGlobalStore,
  kSharedLoad,
  kSharedStore,
  kLocal,
  kParameter,
  kAtomic,
  kFloat32,
  kFloat64,
  kFloatDivision,
  kInt32,
  kInt64,
  kIntDivision,
  kConversion,
  kCompare,  // and what is done with predicates
  kMove,
  kBranch,
  kBarrier,
  kCall,
  kCount,
};
const char* NameOf(Class c);

enum class Shuffle : uint8_t { kIndex, kUp, kDown, kButterfly };

struct Instruction;

// What an instruction does in the lanes of `mask`. `registers`: those of its
// function.
using LaneFunction = void (*)(unsigned char* registers,
                              const Instruction& instruction, uint32_t mask);

// From one function's parameter memory to another's.
struct PassedParameter {
  int from;
  int to;
  int bytes;
};

struct Instruction {
  Kind kind = Kind::kArithmetic;
  Class counted_as = Class::kMove;
  Type type = Type::kNone;
  Space space = Space::kGeneric;
  Shuffle shuffle = Shuffle::kIndex;
  uint8_t width = 1;    // elements of a vector
  uint8_t sources = 0;  // how many of `source` there are
  bool guard_is_negated = false;
  // A division: a lane whose second source is 0 is a fault.
  bool divides = false;
  LaneFunction function = nullptr;
  Register guard;
  Register destination[4];  // a store's values are in `source`
  Register source[4];
  Register address;
  int64_t offset = 0;  // of the address
  int target = -1;     // of a branch; of a call, the index of the function
  std::vector<PassedParameter> arguments, results;
  int line = 0;
  std::string text;
};

struct Function {
  std::string name;
  bool is_kernel = false;
  int begin = 0, end = 0;     // of its code
  uint32_t most_threads = 0;  // .maxntid, or 0
  // Registers of a warp.
  int registers = 0;
  uint32_t register_bytes = 0;
  std::vector<std::pair<Register, uint64_t>> constants;
  Register thread, block_size, block, blocks, lane;
  Register return_to;
  // Parameter memory of a lane: own parameters and those of calls.
  struct Parameter {
    std::string name;
    int at;
    int bytes;
  };
  std::vector<Parameter> parameters;
  int parameter_bytes = 0;
  int result_at = -1;
  // Local memory of a lane: a part of the program's.
  int local_at = 0;
  int local_bytes = 0;
  std::vector<int> callees;
};

struct Program {
  std::vector<Instruction> code;
  std::vector<Function> functions;
  std::map<std::string, int> function_of;
  std::vector<int> owner;  // of each instruction, the index of its function
  int static_shared_bytes = 0;
  int local_bytes = 0;
  // Smallest access, by which races are looked for.
  int shared_granule = 16, global_granule = 16;
};

}  // namespace ptx
}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CUDA_PTX_PROGRAM_H_
