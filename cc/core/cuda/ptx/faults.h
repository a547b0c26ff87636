// What the checks found.

#ifndef TF_ROIALIGN_CC_CORE_CUDA_PTX_FAULTS_H_
#define TF_ROIALIGN_CC_CORE_CUDA_PTX_FAULTS_H_

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace tf_roialign {
namespace ptx {

enum class FaultKind {
  kOutOfBounds,
  kMisaligned,
  kWriteToInput,
  kUndefined,   // an address, a condition or a result that nobody computed
  kSharedRace,  // between two barriers
  kGlobalRace,  // within a launch
  kBarrier,     // not reached by all threads alike
  kVote,        // not reached by all lanes that are named
  kDivision,    // of integers, by zero
  kEndless,
  kNotWritten,  // a part of an output
};
const char* NameOf(FaultKind kind);

// Counts all, and keeps the texts of the first few of a kind and kernel.
class Faults {
 public:
  // text() says what it is; asked for only where it is kept.
  template <typename Text>
  void AddIfKept(FaultKind kind, const std::string& kernel, const Text& text) {
    ++count_;
    Some& some = found_[{kind, kernel}];
    ++some.count;
    if (some.texts.size() < kKept) some.texts.push_back(text());
  }
  void Add(FaultKind kind, const std::string& kernel, const std::string& text) {
    AddIfKept(kind, kernel, [&] { return text; });
  }
  void Clear();

  int64_t count() const { return count_; }
  int64_t count(FaultKind kind) const;
  std::string Text() const;

 private:
  static constexpr size_t kKept = 3;

  struct Some {
    int64_t count = 0;
    std::vector<std::string> texts;
  };

  int64_t count_ = 0;
  std::map<std::pair<FaultKind, std::string>, Some> found_;
};

}  // namespace ptx
}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CUDA_PTX_FAULTS_H_
