#include "cc/core/cuda/ptx/faults.h"

#include <string>

namespace tf_roialign {
namespace ptx {

const char* NameOf(FaultKind kind) {
  switch (kind) {
    case FaultKind::kOutOfBounds:
      return "out of bounds";
    case FaultKind::kMisaligned:
      return "misaligned";
    case FaultKind::kWriteToInput:
      return "write to an input";
    case FaultKind::kUndefined:
      return "undefined value";
    case FaultKind::kSharedRace:
      return "race in shared memory";
    case FaultKind::kGlobalRace:
      return "race in global memory";
    case FaultKind::kBarrier:
      return "barrier not reached alike";
    case FaultKind::kVote:
      return "vote not reached alike";
    case FaultKind::kDivision:
      return "division by zero";
    case FaultKind::kEndless:
      return "endless";
    case FaultKind::kNotWritten:
      return "not written";
  }
  return "";
}

void Faults::Clear() { *this = Faults(); }

int64_t Faults::count(FaultKind kind) const {
  int64_t count = 0;
  for (const auto& [key, some] : found_) {
    if (key.first == kind) count += some.count;
  }
  return count;
}

std::string Faults::Text() const {
  std::string result;
  for (const auto& [key, some] : found_) {
    result += std::string(NameOf(key.first)) + ", " +
              std::to_string(some.count) + " times, in " + key.second + "\n";
    for (const std::string& text : some.texts) result += "  " + text + "\n";
  }
  return result;
}

}  // namespace ptx
}  // namespace tf_roialign
