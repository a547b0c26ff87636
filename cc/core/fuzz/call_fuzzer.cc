// libFuzzer's entry: `make fuzz`.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "cc/core/fuzz/check_call.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const bool reported =
      std::atexit([] {
        std::fprintf(stderr, "calls: %s\n", tf_roialign::CallsSoFar().c_str());
      }) == 0;
  (void)reported;
  const std::string wrong =
      tf_roialign::CheckCallOf(data, size, tf_roialign::Levels::kOne);
  if (wrong.empty()) return 0;
  std::fprintf(stderr, "%s\n", wrong.c_str());
  std::abort();
}
