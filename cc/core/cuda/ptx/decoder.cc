#include "cc/core/cuda/ptx/decoder.h"

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "cc/core/cuda/ptx/arithmetic.h"
#include "cc/core/cuda/ptx/text.h"

namespace tf_roialign {
namespace ptx {
namespace {

class Decoder {
 public:
  Decoder(const std::string& statement, int line, Scope* scope)
      : scope_(*scope), text_(statement) {
    for (char& c : text_) {
      if (c == '\n' || c == '\t') c = ' ';
    }
    i_.text = text_;
    i_.line = line;
    std::string rest = ReadGuard();
    const size_t end = rest.find(' ');
    words_ = Split(rest.substr(0, end), '.');
    if (end != std::string::npos) operands_ = Split(rest.substr(end), ',');
    if (words_.empty()) Unknown();
    for (size_t w = 1; w < words_.size() && i_.type == Type::kNone; ++w) {
      i_.type = ParseType(words_[w]);
    }
  }

  Decoded Decode() {
    const std::string& name = words_[0];
    if (name == "bra") {
      Branch();
    } else if (name == "ret" || name == "exit") {
      i_.kind = name == "ret" ? Kind::kReturn : Kind::kExit;
      i_.counted_as = Class::kCall;
    } else if (name == "call") {
      Call();
    } else if (name == "bar" || name == "barrier") {
      Barrier();
    } else if (name == "vote") {
      Vote();
    } else if (name == "shfl") {
      ShuffleLanes();
    } else if (name == "ld" || name == "ldu" || name == "st") {
      LoadOrStore(name == "st");
    } else if (name == "atom" || name == "red") {
      AtomicAdd(name == "red");
    } else if (name == "cvta") {
      ConvertAddress();
    } else if (name == "mov" && operands_.size() == 2 &&
               (operands_[0][0] == '{' || operands_[1][0] == '{')) {
      PackOrUnpack();
    } else {
      Arithmetic_();
    }
    decoded_.instruction = i_;
    return decoded_;
  }

 private:
  [[noreturn]] void Unknown() const { Stop("instruction", text_); }

  bool Has(const char* word) const {
    return std::find(words_.begin() + 1, words_.end(), word) != words_.end();
  }
  void NeedOperands(size_t count) const {
    if (operands_.size() != count) Unknown();
  }

  std::string ReadGuard() {
    if (text_[0] != '@') return text_;
    const size_t end = text_.find(' ');
    std::string name = text_.substr(1, end - 1);
    i_.guard_is_negated = name[0] == '!';
    if (i_.guard_is_negated) name = name.substr(1);
    i_.guard = Known(name);
    return Trimmed(text_.substr(end));
  }

  // ---- Operands.

  Register Known(const std::string& name) const {
    const Register r = scope_.FindRegister(name);
    if (!r.exists()) Unknown();
    return r;
  }

  // A register, or a constant in one of `bytes` bytes.
  Register Source(const std::string& operand, int bytes) {
    Register r = scope_.FindRegister(operand);
    if (!r.exists()) r = scope_.Special(operand);
    if (r.exists()) return r;
    if (const Variable* variable = scope_.FindVariable(operand)) {
      // The address in its space; cvta makes it a generic one.
      return scope_.Constant(variable->at, bytes);
    }
    return scope_.Constant(Number(operand), bytes);
  }

  uint64_t Number(const std::string& operand) const {
    const char first = operand.empty() ? ' ' : operand[0];
    if (!std::isdigit(static_cast<unsigned char>(first)) && first != '-') {
      Unknown();
    }
    // 0f3F800000 and 0d3FF0000000000000 are the bits of floats.
    const char kind = operand.size() > 1 ? std::tolower(operand[1]) : ' ';
    char* end = nullptr;
    const char* const begin = operand.c_str();
    uint64_t value;
    if (first == '0' && (kind == 'f' || kind == 'd')) {
      value = std::strtoull(begin + 2, &end, 16);
    } else if (first == '-') {
      value = static_cast<uint64_t>(std::strtoll(begin, &end, 0));
    } else {
      value = std::strtoull(begin, &end, 0);
    }
    if (*end != 0 && std::string(end) != "U") Unknown();
    return value;
  }

  // "[%rd1+8]", "[name+8]" or "[name]".
  void Address(const std::string& operand) {
    if (operand[0] != '[') Unknown();
    const std::string inside = Inside(operand);
    const size_t plus = inside.find('+');
    const std::string base = Trimmed(inside.substr(0, plus));
    if (plus != std::string::npos) {
      i_.offset = std::strtoll(inside.c_str() + plus + 1, nullptr, 0);
    }
    i_.address = scope_.FindRegister(base);
    if (i_.address.exists()) return;
    const Variable* const variable = scope_.FindVariable(base);
    if (variable == nullptr || variable->space != i_.space) Unknown();
    i_.offset += variable->at;
  }

  std::vector<std::string> Elements(const std::string& operand) const {
    if (operand[0] != '{') return {operand};
    return Split(Inside(operand), ',');
  }

  // ---- Instructions.

  void Branch() {
    NeedOperands(1);
    i_.kind = Kind::kBranch;
    i_.counted_as = Class::kBranch;
    decoded_.label = operands_[0];
  }

  // "call.uni (results), name, (arguments)".
  void Call() {
    i_.kind = Kind::kCall;
    i_.counted_as = Class::kCall;
    size_t next = 0;
    if (!operands_.empty() && operands_[0][0] == '(') {
      decoded_.results = Split(Inside(operands_[next++]), ',');
    }
    if (next == operands_.size() || i_.guard.exists()) Unknown();
    decoded_.callee = operands_[next++];
    if (next < operands_.size()) {
      decoded_.arguments = Split(Inside(operands_[next++]), ',');
    }
    if (next != operands_.size()) Unknown();
  }

  void Barrier() {
    i_.counted_as = Class::kBarrier;
    if (i_.guard.exists()) Unknown();
    if (Has("warp")) {
      NeedOperands(1);
      i_.kind = Kind::kWarpBarrier;
      AddSource(operands_[0], 4);
    } else if (Has("red")) {
      // "bar.red.or.pred %p1, 0, %p2"
      NeedOperands(3);
      if (!Has("or") || operands_[1] != "0") Unknown();
      i_.kind = Kind::kBarrierOr;
      i_.destination[0] = Known(operands_[0]);
      AddSource(operands_[2], 1);
    } else {
      NeedOperands(1);
      if (operands_[0] != "0" || !Has("sync")) Unknown();
      i_.kind = Kind::kBarrier;
    }
  }

  // "vote.sync.ballot.b32 %r1, %p1, mask"
  void Vote() {
    NeedOperands(3);
    if (!Has("sync") || !Has("ballot") || i_.guard.exists()) Unknown();
    i_.kind = Kind::kBallot;
    i_.counted_as = Class::kBarrier;
    i_.destination[0] = Known(operands_[0]);
    AddSource(operands_[1], 1);
    AddSource(operands_[2], 4);
  }

  // "shfl.sync.down.b32 %r1|%p1, %r2, distance, clamp, mask"
  void ShuffleLanes() {
    NeedOperands(5);
    if (!Has("sync") || i_.type != Type::kB32 || i_.guard.exists()) Unknown();
    i_.kind = Kind::kShuffle;
    i_.counted_as = Class::kBarrier;
    i_.shuffle = Has("up")     ? Shuffle::kUp
                 : Has("down") ? Shuffle::kDown
                 : Has("bfly") ? Shuffle::kButterfly
                               : Shuffle::kIndex;
    const std::vector<std::string> to = Split(operands_[0], '|');
    i_.destination[0] = Known(to[0]);
    if (to.size() > 1) i_.destination[1] = Known(to[1]);
    AddSource(operands_[1], 4);
    AddSource(operands_[4], 4);  // the mask, in the place where votes have it
    AddSource(operands_[2], 4);
    if (i_.source[2].bytes != 4) Unknown();
    i_.offset = static_cast<int64_t>(Number(operands_[3]));
  }

  void LoadOrStore(bool store) {
    NeedOperands(2);
    i_.kind = store ? Kind::kStore : Kind::kLoad;
    i_.space = Has("global")   ? Space::kGlobal
               : Has("shared") ? Space::kShared
               : Has("local")  ? Space::kLocal
               : Has("param")  ? Space::kParam
                               : Space::kGeneric;
    i_.counted_as = i_.space == Space::kParam    ? Class::kParameter
                    : i_.space == Space::kLocal  ? Class::kLocal
                    : i_.space == Space::kShared ? Class::kSharedLoad
                                                 : Class::kGlobalLoad;
    if (store && i_.counted_as == Class::kSharedLoad) {
      i_.counted_as = Class::kSharedStore;
    } else if (store && i_.counted_as == Class::kGlobalLoad) {
      i_.counted_as = Class::kGlobalStore;
    }
    i_.width = Has("v2") ? 2 : Has("v4") ? 4 : 1;
    // An order among threads is not modelled.
    for (const char* word : {"v8", "acquire", "release", "relaxed", "mmio"}) {
      if (Has(word)) Unknown();
    }
    if (i_.type == Type::kNone) Unknown();
    Address(operands_[store ? 0 : 1]);
    const std::vector<std::string> elements = Elements(operands_[store]);
    if (elements.size() != i_.width) Unknown();
    for (int e = 0; e < i_.width; ++e) {
      if (store) {
        AddSource(elements[e], BytesOf(i_.type));
      } else {
        i_.destination[e] = Known(elements[e]);
      }
    }
  }

  // "red.global.add.f32 [%rd1], %f1", "atom.shared.add.u32 %r1, [%r2], %r3"
  void AtomicAdd(bool without_result) {
    const size_t address = without_result ? 0 : 1;
    NeedOperands(address + 2);
    if (!Has("add") || i_.type == Type::kF16 || i_.type == Type::kBF16) {
      Unknown();
    }
    i_.kind = Kind::kAtomicAdd;
    i_.counted_as = Class::kAtomic;
    i_.space = Has("shared") ? Space::kShared : Space::kGlobal;
    if (!without_result) i_.destination[0] = Known(operands_[0]);
    Address(operands_[address]);
    AddSource(operands_[address + 1], BytesOf(i_.type));
  }

  // Between an address in a space and a generic one.
  void ConvertAddress() {
    NeedOperands(2);
    if (i_.type != Type::kU64) Unknown();
    const Space space = Has("shared")  ? Space::kShared
                        : Has("local") ? Space::kLocal
                        : Has("param") ? Space::kParam
                                       : Space::kGlobal;
    const bool to_space = Has("to");
    const Arithmetic found = FindArithmetic({to_space ? "sub" : "add", "u64"});
    i_.function = found.function;
    i_.destination[0] = Known(operands_[0]);
    AddSource(operands_[1], 8);
    i_.source[i_.sources++] = scope_.Constant(GenericBase(space), 8);
    CheckWidth(i_.destination[0], 8);
    CheckWidth(i_.source[0], 8);
  }

  // "mov.b64 %rd1, {%r1, %r2}" and the other way round.
  void PackOrUnpack() {
    const bool pack = operands_[1][0] == '{';
    i_.kind = pack ? Kind::kPack : Kind::kUnpack;
    const std::vector<std::string> elements = Elements(operands_[pack]);
    i_.width = static_cast<uint8_t>(elements.size());
    if (i_.width > 4 || BytesOf(i_.type) % i_.width != 0) Unknown();
    const int each = BytesOf(i_.type) / i_.width;
    if (pack) {
      i_.destination[0] = Known(operands_[0]);
      for (const std::string& element : elements) AddSource(element, each);
    } else {
      AddSource(operands_[1], BytesOf(i_.type));
      for (int e = 0; e < i_.width; ++e) {
        // "_": not wanted.
        if (elements[e] != "_") i_.destination[e] = Known(elements[e]);
      }
    }
    for (int e = 0; e < i_.width; ++e) {
      const Register& r = pack ? i_.source[e] : i_.destination[e];
      if (r.exists()) CheckWidth(r, each);
    }
  }

  void Arithmetic_() {
    const Arithmetic found = FindArithmetic(words_);
    if (found.function == nullptr) Unknown();
    NeedOperands(found.sources + 1);
    i_.kind = words_[0] == "selp" ? Kind::kSelect : Kind::kArithmetic;
    i_.counted_as = found.counted_as;
    i_.function = found.function;
    i_.divides = found.divides;
    i_.destination[0] = Known(operands_[0]);
    if (found.destination != Type::kNone) {
      CheckWidth(i_.destination[0], BytesOf(found.destination));
    }
    for (int s = 0; s < found.sources; ++s) {
      const Type type = found.source[s];
      const int bytes = type != Type::kNone ? BytesOf(type) : SourceBytes();
      std::string operand = operands_[s + 1];
      // "mov.pred %p1, -1": any number but 0 is true.
      if (type == Type::kPred && operand == "-1") operand = "1";
      AddSource(operand, bytes);
      if (type != Type::kNone) CheckWidth(i_.source[s], bytes);
    }
  }

  // Of a conversion: its second type's.
  int SourceBytes() const { return BytesOf(ParseType(words_.back())); }

  void AddSource(const std::string& operand, int bytes) {
    i_.source[i_.sources++] = Source(operand, bytes);
  }
  void CheckWidth(const Register& r, int bytes) const {
    if (r.bytes != bytes) Stop("width of a register", text_);
  }

  Scope& scope_;
  std::string text_;
  Instruction i_;
  Decoded decoded_;
  std::vector<std::string> words_, operands_;
};

}  // namespace

Decoded Decode(const std::string& statement, int line, Scope* scope) {
  return Decoder(statement, line, scope).Decode();
}

}  // namespace ptx
}  // namespace tf_roialign
