#include "cc/core/cuda/device_test/coverage.h"

#include <cctype>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace tf_roialign {
namespace {

// Names of functions that are private to an object begin with one that is made
// of the file and its contents: "_INTERNAL_50132f18_18_feature_grad_cu_cc_...".
std::string WithoutFile(std::string text) {
  for (size_t at; (at = text.find("_INTERNAL_")) != std::string::npos;) {
    size_t end = at;
    while (end < text.size() &&
           (std::isalnum(static_cast<unsigned char>(text[end])) ||
            text[end] == '_')) {
      ++end;
    }
    if (text.compare(end, 2, "::") == 0) end += 2;
    text.erase(at, end - at);
  }
  return text;
}

// The same code counts once, wherever it is.
struct Code {
  bool is_kernel = false;
  bool ran = false;
  std::vector<const ptx::Instruction*> instructions;
  std::vector<uint64_t> lanes;
};

}  // namespace

bool Coverage::is_enough() const {
  for (const LeastCoverage& least : kLeastCoverage) {
    if (name.rfind(least.prefix, 0) == 0) return share() >= least.share;
  }
  return false;
}

std::vector<Coverage> MeasureCoverage(const ptx::Device& device) {
  std::map<std::pair<std::string, std::string>, Code> all;  // by name and text
  std::map<std::string, bool> ran;                          // by name
  for (const auto& [text, loaded] : device.programs()) {
    for (const ptx::Function& function : loaded->program.functions) {
      const std::string name = WithoutFile(ptx::ShortName(function.name));
      std::vector<const ptx::Instruction*> instructions;
      std::string body;
      // The last is what the parser adds behind a function's end.
      for (int i = function.begin; i < function.end - 1; ++i) {
        instructions.push_back(&loaded->program.code[i]);
        body += WithoutFile(instructions.back()->text) + "\n";
      }
      Code& code = all[{name, body}];
      code.is_kernel = function.is_kernel;
      code.instructions = instructions;
      code.lanes.resize(instructions.size());
      for (size_t i = 0; i < instructions.size(); ++i) {
        code.lanes[i] += loaded->counts[function.begin + i].lanes;
        code.ran = code.ran || code.lanes[i] > 0;
        ran[name] = ran[name] || code.ran;
      }
    }
  }
  std::vector<Coverage> result;
  for (const auto& [key, code] : all) {
    // A kernel that is no template is in several objects, and the linker takes
    // it from one of them.
    if (code.is_kernel && !code.ran && ran[key.first]) continue;
    Coverage coverage;
    coverage.name = key.first;
    coverage.instructions = static_cast<int>(code.instructions.size());
    for (size_t i = 0; i < code.instructions.size(); ++i) {
      if (code.lanes[i] > 0) {
        ++coverage.ran;
      } else {
        coverage.missed.push_back(std::to_string(code.instructions[i]->line) +
                                  ": " + code.instructions[i]->text);
      }
    }
    result.push_back(coverage);
  }
  return result;
}

}  // namespace tf_roialign
