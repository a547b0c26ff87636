#include "cc/core/cuda/device_test/planted_faults.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <map>
#include <regex>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "cc/core/cuda/ptx/device.h"
#include "cc/core/cuda/ptx/fake_runtime.h"
#include "gtest/gtest-spi.h"
#include "gtest/gtest.h"

namespace tf_roialign {
namespace {

// A block of these calls issues less.
constexpr uint64_t kMostInstructions = 4'000'000;

Lines LinesOf(const std::string& text) {
  Lines lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

// The text with a line changed.
std::string Changed(const std::string& text, const Change& change) {
  size_t at = 0;
  for (int line = 1; line < change.line; ++line) at = text.find('\n', at) + 1;
  return text.substr(0, at) + change.text + text.substr(text.find('\n', at));
}

bool IsGlobal(const std::string& instruction) {
  static const std::regex access(R"(\b(ld|st)\.global\b)");
  return std::regex_search(instruction, access);
}

// A change of a module, and the calls that come to its place.
struct Fault {
  const std::string* module;
  Change change;
  std::string name;
  std::vector<int> calls;
};

}  // namespace

Patch Replace(const std::string& pattern, const std::string& by) {
  return [=](const std::string& text) {
    return std::regex_replace(text, std::regex(pattern), by);
  };
}

std::string FailuresOf(const SmallCall& call, const Patch& patch) {
  ptx::TheDevice().options().most_instructions = kMostInstructions;
  if (patch) ptx::SetPatch(patch);
  testing::TestPartResultArray results;
  {
    const testing::ScopedFakeTestPartResultReporter reporter(
        testing::ScopedFakeTestPartResultReporter::
            INTERCEPT_ONLY_CURRENT_THREAD,
        &results);
    call();
  }
  if (patch) ptx::SetPatch(nullptr);
  std::string text;
  for (int i = 0; i < results.size(); ++i) {
    text += results.GetTestPartResult(i).message();
    text += "\n";
  }
  return text;
}

void ExpectReported(const char* what, const std::vector<SmallCall>& calls,
                    ptx::FaultKind kind, const Patch& patch) {
  std::string others;
  for (const SmallCall& call : calls) {
    const std::string failures = FailuresOf(call, patch);
    if (failures.find(ptx::NameOf(kind)) != std::string::npos) return;
    if (others.size() < 1000) others += failures;
  }
  ADD_FAILURE() << what << ": not reported as " << ptx::NameOf(kind) << "\n"
                << others.substr(0, 1000);
}

Planted PlantEach(
    const char* what, const std::vector<SmallCall>& calls,
    const std::function<Change(const Lines&, const ptx::Instruction&)>&
        choose) {
  // Without faults, which says what each call comes to.
  std::map<std::string, Lines> modules;
  std::map<std::pair<std::string, int>, Fault> faults;  // by module and line
  for (int i = 0; i < static_cast<int>(calls.size()); ++i) {
    ptx::TheDevice().ClearCounts();
    EXPECT_EQ(FailuresOf(calls[i]), "");
    for (const auto& [text, loaded] : ptx::TheDevice().programs()) {
      const auto module = modules.try_emplace(text).first;
      if (module->second.empty()) module->second = LinesOf(text);
      const ptx::Program& program = loaded->program;
      for (size_t at = 0; at < program.code.size(); ++at) {
        if (loaded->counts[at].warps == 0) continue;
        const ptx::Instruction& instruction = program.code[at];
        const Change change = choose(module->second, instruction);
        if (change.line == 0) continue;
        Fault& fault = faults[{text, change.line}];
        fault.module = &module->first;
        fault.change = change;
        fault.name = ptx::ShortName(program.functions[program.owner[at]].name) +
                     ", line " + std::to_string(change.line) + ": " +
                     module->second[change.line - 1];
        if (fault.calls.empty() || fault.calls.back() != i) {
          fault.calls.push_back(i);
        }
      }
    }
  }
  Planted planted;
  for (const auto& [place, fault] : faults) {
    ++planted.all;
    const Patch patch = [&fault = fault](const std::string& text) {
      return text == *fault.module ? Changed(text, fault.change) : text;
    };
    const bool noticed = std::any_of(
        fault.calls.begin(), fault.calls.end(),
        [&](int i) { return !FailuresOf(calls[i], patch).empty(); });
    if (noticed) continue;
    ++planted.unnoticed;
    std::printf("  not noticed in calls");
    for (const int i : fault.calls) std::printf(" %d", i);
    std::printf(": %s\n", fault.name.c_str());
  }
  std::printf("%s: %d, not noticed %d\n", what, planted.all, planted.unnoticed);
  return planted;
}

Change WithoutBarrier(const Lines& module,
                      const ptx::Instruction& instruction) {
  if (instruction.kind != ptx::Kind::kBarrier) return {};
  static const std::regex barrier(R"(\b(bar|barrier)\.sync\s+0;)");
  const std::string& line = module[instruction.line - 1];
  return {instruction.line, std::regex_replace(line, barrier, "")};
}

Change MovedAccess(const Lines& module, const ptx::Instruction& instruction) {
  if (!IsGlobal(instruction.text)) return {};
  // "[%rd1]" or "[%rd1+8]", of elements of .f32 or .v4.f32.
  static const std::regex place(R"(\[(%rd\d+)([+-]\d+)?\])");
  static const std::regex type(R"(\.[a-z](8|16|32|64)\b)");
  const std::string& line = module[instruction.line - 1];
  std::smatch of_type, of_place;
  if (!std::regex_search(line, of_type, type) ||
      !std::regex_search(line, of_place, place)) {
    return {};
  }
  const int bytes = std::stoi(of_type[1]) / 8;
  const int offset = of_place[2].length() > 0 ? std::stoi(of_place[2]) : 0;
  return {instruction.line,
          std::regex_replace(line, place,
                             "[$1+" + std::to_string(offset + bytes) + "]")};
}

Change WithoutGuard(const Lines& module, const ptx::Instruction& branch) {
  static const std::regex guard(R"(^\s*@!?%p\d+ bra[^;]*;)");
  static const std::regex end(R"(^\$\w+:|\bbra\b)");
  const std::string& line = module[branch.line - 1];
  if (!std::regex_search(line, guard)) return {};
  for (size_t i = branch.line; i < module.size(); ++i) {
    if (IsGlobal(module[i])) {
      return {branch.line, std::regex_replace(line, guard, "")};
    }
    if (std::regex_search(module[i], end)) return {};
  }
  return {};
}

}  // namespace tf_roialign
