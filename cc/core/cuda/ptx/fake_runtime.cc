#include "cc/core/cuda/ptx/fake_runtime.h"

#include <cstdio>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cc/core/cuda/ptx/device.h"
#include "cc/core/cuda/ptx/fat_binary.h"
#include "cc/core/cuda/ptx/text.h"

namespace tf_roialign {
namespace ptx {
namespace {

struct Module {
  std::map<int, std::string> texts;  // by architecture
  Loaded* loaded = nullptr;          // as of now
};

struct Kernel {
  Module* module;
  std::string name;
};

// As the compiler passes them.
struct Dim3 {
  unsigned x, y, z;
};
struct Configuration {
  Dim3 grid, block;
  size_t shared_bytes;
  void* stream;
};

// Modules register themselves before main.
struct Runtime {
  std::vector<std::unique_ptr<Module>> modules;
  std::map<const void*, Kernel> kernels;  // by the address of their host stub
  std::vector<Configuration> configurations;
  std::function<std::string(const std::string&)> patch;
  Scheduler scheduler;
  int architecture = 0;
  int error = 0;
};

Runtime& TheRuntime() {
  static Runtime* const runtime = new Runtime;
  return *runtime;
}

const std::string& TextOf(const Module& module) {
  const int architecture = TheRuntime().architecture;
  const auto found = architecture == 0 ? module.texts.begin()
                                       : module.texts.find(architecture);
  if (found == module.texts.end()) {
    Stop("uncompressed PTX", "of architecture " + std::to_string(architecture));
  }
  return found->second;
}

Loaded* LoadModule(Module* module) {
  if (module->loaded == nullptr) {
    const std::string& text = TextOf(*module);
    const auto& patch = TheRuntime().patch;
    module->loaded = TheDevice().Load(patch ? patch(text) : text);
  }
  return module->loaded;
}

void ForgetLoaded() {
  for (const auto& module : TheRuntime().modules) module->loaded = nullptr;
}

// A kernel's arguments as they are now.
class Arguments {
 public:
  Arguments(const Program& program, const std::string& kernel,
            void** arguments) {
    const auto found = program.function_of.find(kernel);
    if (found == program.function_of.end()) return;  // so the launch will say
    const auto& parameters = program.functions[found->second].parameters;
    for (size_t i = 0; i < parameters.size(); ++i) {
      const char* const bytes = static_cast<const char*>(arguments[i]);
      values_.emplace_back(bytes, bytes + parameters[i].bytes);
    }
  }
  std::vector<const void*> pointers() const {
    std::vector<const void*> all;
    for (const std::vector<char>& value : values_) all.push_back(value.data());
    return all;
  }

 private:
  std::vector<std::vector<char>> values_;
};

int LaunchKernel(const void* stub, const Dim3& grid, const Dim3& block,
                 void** arguments, size_t shared_bytes, void* stream) {
  const auto found = TheRuntime().kernels.find(stub);
  if (found == TheRuntime().kernels.end()) {
    return static_cast<int>(LaunchError::kNoSuchKernel);
  }
  if (grid.y != 1 || grid.z != 1 || block.y != 1 || block.z != 1) {
    Stop("launch", "of more than one dimension");
  }
  const Kernel& kernel = found->second;
  Loaded* const loaded = LoadModule(kernel.module);
  const LaunchSize size = {grid.x, block.x,
                           static_cast<uint32_t>(shared_bytes)};
  const Scheduler& scheduler = TheRuntime().scheduler;
  if (!scheduler) {
    return static_cast<int>(
        TheDevice().Launch(loaded, kernel.name, size, arguments));
  }
  const Arguments copy(loaded->program, kernel.name, arguments);
  return scheduler(stream, [loaded, name = kernel.name, size, copy] {
    return static_cast<int>(
        TheDevice().Launch(loaded, name, size, copy.pointers().data()));
  });
}

}  // namespace

std::vector<int> Architectures() {
  std::vector<int> all;
  for (const auto& module : TheRuntime().modules) {
    if (module->texts.empty()) continue;
    all.clear();
    for (const auto& [architecture, text] : module->texts) {
      all.push_back(architecture);
    }
  }
  return all;
}

void ChooseArchitecture(int architecture) {
  TheRuntime().architecture = architecture;
  ForgetLoaded();
}

void LoadAll() {
  for (const auto& module : TheRuntime().modules) {
    if (!module->texts.empty()) LoadModule(module.get());
  }
}

void SetPatch(std::function<std::string(const std::string&)> patch) {
  TheRuntime().patch = std::move(patch);
  ForgetLoaded();
  TheDevice().Unload();
}

void SetScheduler(Scheduler scheduler) {
  TheRuntime().scheduler = std::move(scheduler);
}

}  // namespace ptx
}  // namespace tf_roialign

using tf_roialign::ptx::Configuration;
using tf_roialign::ptx::Dim3;
using tf_roialign::ptx::Module;
using tf_roialign::ptx::TheRuntime;

// NOLINTBEGIN(readability-identifier-naming, bugprone-reserved-identifier)
extern "C" {

void** __cudaRegisterFatBinary(void* wrapper) {
  auto& modules = TheRuntime().modules;
  modules.push_back(std::make_unique<Module>());
  modules.back()->texts = tf_roialign::ptx::PtxOf(wrapper);
  return reinterpret_cast<void**>(modules.back().get());
}
void __cudaRegisterFatBinaryEnd(void**) {}
void __cudaUnregisterFatBinary(void**) {}
void __cudaRegisterFunction(void** module, const char* stub, char*,
                            const char* name, int, void*, void*, void*, void*,
                            int*) {
  TheRuntime().kernels[stub] = {reinterpret_cast<Module*>(module), name};
}
void __cudaRegisterVar(void**, char*, char*, const char*, int, size_t, int,
                       int) {}
char __cudaInitModule(void**) { return 1; }

unsigned __cudaPushCallConfiguration(Dim3 grid, Dim3 block, size_t shared_bytes,
                                     void* stream) {
  TheRuntime().configurations.push_back({grid, block, shared_bytes, stream});
  return 0;
}
int __cudaPopCallConfiguration(Dim3* grid, Dim3* block, size_t* shared_bytes,
                               void* stream) {
  const Configuration last = TheRuntime().configurations.back();
  TheRuntime().configurations.pop_back();
  *grid = last.grid;
  *block = last.block;
  *shared_bytes = last.shared_bytes;
  std::memcpy(stream, &last.stream, sizeof(last.stream));
  return 0;
}

int cudaLaunchKernel(const void* stub, Dim3 grid, Dim3 block, void** arguments,
                     size_t shared_bytes, void* stream) {
  return TheRuntime().error = tf_roialign::ptx::LaunchKernel(
             stub, grid, block, arguments, shared_bytes, stream);
}
int __cudaGetKernel(void** kernel, const void* stub) {
  *kernel = const_cast<void*>(stub);
  return 0;
}
int __cudaLaunchKernel(void* kernel, Dim3 grid, Dim3 block, void** arguments,
                       size_t shared_bytes, void* stream) {
  return cudaLaunchKernel(kernel, grid, block, arguments, shared_bytes, stream);
}
int cudaGetLastError() {
  const int error = TheRuntime().error;
  TheRuntime().error = 0;
  return error;
}
const char* cudaGetErrorString(int error) {
  static char text[40];
  std::snprintf(text, sizeof(text), "cudaError %d", error);
  return text;
}

// What driver.cu.cc asks: a GPU that runs the chosen PTX.
int cudaDriverGetVersion(int* version) {
  *version = 99000;
  return 0;
}
int cudaGetDevice(int* device) {
  *device = 0;
  return 0;
}
int cudaGetDeviceCount(int* devices) {
  *devices = 1;
  return 0;
}
int cudaDeviceGetAttribute(int* value, int attribute, int) {
  constexpr int kMajor = 75;  // cudaDevAttrComputeCapabilityMajor
  const std::vector<int> all = tf_roialign::ptx::Architectures();
  const int architecture = TheRuntime().architecture > 0
                               ? TheRuntime().architecture
                           : all.empty() ? 0
                                         : all[0];
  *value = attribute == kMajor ? architecture / 10 : architecture % 10;
  return 0;
}

}  // extern "C"
// NOLINTEND(readability-identifier-naming, bugprone-reserved-identifier)
