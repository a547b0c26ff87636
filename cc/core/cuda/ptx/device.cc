#include "cc/core/cuda/ptx/device.h"

#include <cxxabi.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <string>

#include "cc/core/cuda/ptx/parser.h"
#include "cc/core/cuda/ptx/text.h"

namespace tf_roialign {
namespace ptx {

namespace {

constexpr uint32_t kMostThreads = 1024;
constexpr uint32_t kMostBlocks = 0x7fffffff;
// Without asking for more.
constexpr uint32_t kMostSharedBytes = 48 << 10;

void Erase(const std::string& what, std::string* from) {
  for (size_t at; (at = from->find(what)) != std::string::npos;) {
    from->erase(at, what.size());
  }
}

}  // namespace

Loaded* Device::Load(const std::string& text) {
  std::unique_ptr<Loaded>& loaded = programs_[text];
  if (loaded == nullptr) {
    loaded = std::make_unique<Loaded>();
    loaded->program = Parse(text);
    loaded->counts.resize(loaded->program.code.size());
  }
  return loaded.get();
}

LaunchError Device::Launch(Loaded* loaded, const std::string& kernel,
                           const LaunchSize& size,
                           const void* const* arguments) {
  const Program& program = loaded->program;
  const auto found = program.function_of.find(kernel);
  if (found == program.function_of.end()) return LaunchError::kNoSuchKernel;
  const Function& function = program.functions[found->second];
  if (size.blocks == 0 || size.blocks > kMostBlocks || size.threads == 0 ||
      size.threads > kMostThreads) {
    return LaunchError::kInvalidConfiguration;
  }
  if (function.most_threads > 0 && size.threads > function.most_threads) {
    return LaunchError::kOutOfResources;
  }
  if (program.static_shared_bytes + size.shared_bytes > kMostSharedBytes) {
    return LaunchError::kInvalidValue;
  }
  ++launches_;
  blocks_ += size.blocks;
  const int64_t endless = faults_.count(FaultKind::kEndless);
  RunKernel(program, function, ShortName(kernel), size, arguments, launches_,
            options_, &memory_, &faults_, &loaded->warps[found->second],
            &loaded->counts);
  return faults_.count(FaultKind::kEndless) > endless ? LaunchError::kFailed
                                                      : LaunchError::kNone;
}

void Device::ClearCounts() {
  for (auto& [text, loaded] : programs_) {
    std::fill(loaded->counts.begin(), loaded->counts.end(), Count());
  }
}

Device& TheDevice() {
  static Device* const device = new Device;
  return *device;
}

std::string ShortName(const std::string& mangled) {
  int status = 0;
  char* const demangled =
      abi::__cxa_demangle(mangled.c_str(), nullptr, nullptr, &status);
  std::string name = demangled == nullptr ? mangled : demangled;
  std::free(demangled);
  Erase("tf_roialign::cuda::", &name);
  Erase("tf_roialign::", &name);
  // "void RunKernel<KERNEL>(KERNEL)"
  const std::string prefix = "void RunKernel<";
  const size_t end = name.rfind(">(");
  if (name.compare(0, prefix.size(), prefix) == 0 && end != std::string::npos) {
    name = Trimmed(name.substr(prefix.size(), end - prefix.size()));
  }
  return name;
}

}  // namespace ptx
}  // namespace tf_roialign
