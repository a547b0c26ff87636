#include "cc/core/cuda/ptx/scope.h"

#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

#include "cc/core/cuda/ptx/text.h"

namespace tf_roialign {
namespace ptx {

Declaration ReadDeclaration(const std::string& text) {
  Declaration result;
  int element = 0;
  std::string rest;
  const std::vector<std::string> words = WordsOf(text);
  for (size_t i = 0; i < words.size(); ++i) {
    if (words[i] == ".align" && i + 1 < words.size()) {
      result.alignment = std::atoi(words[++i].c_str());
    } else if (words[i][0] == '.') {
      const Type type = ParseType(words[i].substr(1));
      if (type != Type::kNone) element = BytesOf(type);
    } else {
      rest += words[i];
    }
  }
  const size_t bracket = rest.find('[');
  result.name = rest.substr(0, bracket);
  result.bytes = element;
  if (bracket != std::string::npos) {
    result.bytes *= std::atoi(rest.c_str() + bracket + 1);
  }
  if (element == 0 || result.name.empty()) Stop("declaration", text);
  result.alignment = std::max(result.alignment, element);
  return result;
}

void Scope::AddRegisters(Type type, const std::string& names) {
  for (const std::string& name : Split(names, ',')) {
    const size_t bracket = name.find('<');
    if (bracket == std::string::npos) {
      levels_.back().registers[name] = NewRegister(BytesOf(type));
      continue;
    }
    const int count = std::atoi(name.c_str() + bracket + 1);
    for (int i = 0; i < count; ++i) {
      levels_.back().registers[name.substr(0, bracket) + std::to_string(i)] =
          NewRegister(BytesOf(type));
    }
  }
}

Register Scope::FindRegister(const std::string& name) const {
  for (auto level = levels_.rbegin(); level != levels_.rend(); ++level) {
    const auto found = level->registers.find(name);
    if (found != level->registers.end()) return found->second;
  }
  return {};
}

const Variable* Scope::FindVariable(const std::string& name) const {
  for (auto level = levels_.rbegin(); level != levels_.rend(); ++level) {
    const auto found = level->variables.find(name);
    if (found != level->variables.end()) return &found->second;
  }
  return nullptr;
}

Register Scope::NewRegister(int bytes) {
  Register r;
  r.index = function_->registers++;
  r.at = function_->register_bytes;
  r.bytes = static_cast<uint8_t>(bytes);
  function_->register_bytes += kLanes * bytes;
  return r;
}

Register Scope::Constant(uint64_t value, int bytes) {
  if (bytes < 8) value &= (uint64_t(1) << (8 * bytes)) - 1;
  Register& r = constants_[{value, bytes}];
  if (!r.exists()) {
    r = NewRegister(bytes);
    function_->constants.push_back({r, value});
  }
  return r;
}

Register Scope::Special(const std::string& name) {
  const auto made = [&](Register* r) {
    if (!r->exists()) *r = NewRegister(4);
    return *r;
  };
  if (name == "%tid.x") return made(&function_->thread);
  if (name == "%ntid.x") return made(&function_->block_size);
  if (name == "%ctaid.x") return made(&function_->block);
  if (name == "%nctaid.x") return made(&function_->blocks);
  if (name == "%laneid") return made(&function_->lane);
  return {};
}

}  // namespace ptx
}  // namespace tf_roialign
