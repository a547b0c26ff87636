// Names in a PTX module: registers, parameters, shared and local variables.

#ifndef TF_ROIALIGN_CC_CORE_CUDA_PTX_SCOPE_H_
#define TF_ROIALIGN_CC_CORE_CUDA_PTX_SCOPE_H_

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "cc/core/cuda/ptx/program.h"
#include "cc/core/cuda/ptx/types.h"

namespace tf_roialign {
namespace ptx {

// ".param .align 8 .b8 name[168]", ".param .b64 name", ".shared ... name[]".
struct Declaration {
  std::string name;
  int bytes = 0;  // 0: of a size that the launch gives
  int alignment = 1;
};
Declaration ReadDeclaration(const std::string& text);

// A variable: its space, and where it lies there.
struct Variable {
  Space space;
  int64_t at;
  int bytes;
};

// Nested, as brackets are. Gives out registers of one function, too.
class Scope {
 public:
  explicit Scope(Function* function) : function_(function), levels_(1) {}

  void Enter() { levels_.emplace_back(); }
  void Leave() { levels_.pop_back(); }

  // "%r<5>" or "%r1".
  void AddRegisters(Type type, const std::string& names);
  void AddVariable(const std::string& name, const Variable& variable) {
    levels_.back().variables[name] = variable;
  }

  // One that does not exist if there is none of that name.
  Register FindRegister(const std::string& name) const;
  const Variable* FindVariable(const std::string& name) const;

  Register NewRegister(int bytes);
  Register Constant(uint64_t value, int bytes);
  // "%tid.x" and the like; one that does not exist if it is not one of them.
  Register Special(const std::string& name);

 private:
  struct Level {
    std::map<std::string, Register> registers;
    std::map<std::string, Variable> variables;
  };

  Function* function_;
  std::vector<Level> levels_;
  std::map<std::pair<uint64_t, int>, Register> constants_;
};

}  // namespace ptx
}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CUDA_PTX_SCOPE_H_
