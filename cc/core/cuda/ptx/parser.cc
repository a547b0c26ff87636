#include "cc/core/cuda/ptx/parser.h"

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "cc/core/cuda/ptx/decoder.h"
#include "cc/core/cuda/ptx/scope.h"
#include "cc/core/cuda/ptx/text.h"

namespace tf_roialign {
namespace ptx {
namespace {

constexpr int kAlignment = 16;

int Aligned(int at, int alignment) {
  return (at + alignment - 1) / alignment * alignment;
}

bool StartsWith(const std::string& text, size_t at, const char* word) {
  return text.compare(at, std::char_traits<char>::length(word), word) == 0;
}

class Parser {
 public:
  explicit Parser(const std::string& text) : text_(WithoutComments(text)) {}

  Program Parse() {
    while (SkipSpace()) TopLevel();
    for (const PendingCall& call : calls_) Connect(call);
    return std::move(program_);
  }

 private:
  struct PendingCall {
    int at;
    std::string callee;
    // In the caller's parameter memory.
    std::vector<Variable> arguments, results;
  };

  // ---- Text.

  bool SkipSpace() {
    while (at_ < text_.size() &&
           std::isspace(static_cast<unsigned char>(text_[at_]))) {
      Advance();
    }
    return at_ < text_.size();
  }
  void Advance() { line_ += text_[at_++] == '\n'; }

  // Up to one of `ends` outside of brackets, which is the next character then.
  std::string UpTo(const std::string& ends) {
    const size_t begin = at_;
    int depth = 0;
    for (; at_ < text_.size(); Advance()) {
      const char c = text_[at_];
      if (depth == 0 && ends.find(c) != std::string::npos) break;
      if (c == '{' || c == '(' || c == '[') ++depth;
      if (c == '}' || c == ')' || c == ']') --depth;
    }
    return Trimmed(text_.substr(begin, at_ - begin));
  }
  void SkipLine() {
    while (at_ < text_.size() && text_[at_] != '\n') ++at_;
  }

  // ---- Outside of functions.

  void TopLevel() {
    for (const char* word : {".version", ".target", ".address_size", ".file"}) {
      if (StartsWith(text_, at_, word)) return SkipLine();
    }
    if (StartsWith(text_, at_, ".section")) {
      UpTo("{");
      Advance();
      UpTo("}");
      Advance();
      return;
    }
    const std::string head = UpTo(";{");
    const bool has_body = at_ < text_.size() && text_[at_] == '{';
    if (at_ < text_.size()) Advance();
    if (head.find(".entry") != std::string::npos ||
        head.find(".func") != std::string::npos) {
      if (has_body) ReadFunction(head);
    } else if (head.find(".shared") != std::string::npos) {
      const Declaration d = ReadDeclaration(head);
      shared_[d.name] = AddShared(d);
    } else if (!head.empty()) {
      Stop("directive", head);
    }
  }

  Variable AddShared(const Declaration& d) {
    int& end = program_.static_shared_bytes;
    end = Aligned(end, d.bytes == 0 ? kAlignment : d.alignment);
    const Variable variable = {Space::kShared, end, d.bytes};
    end += d.bytes;
    return variable;
  }

  // ---- Functions.

  // ".visible .entry name(parameters) .maxntid 128", ".func (result)
  // name(parameters)".
  void ReadFunction(const std::string& head) {
    const bool kernel = head.find(".entry") != std::string::npos;
    std::string rest = Trimmed(
        head.substr(head.find(kernel ? ".entry" : ".func") + (kernel ? 6 : 5)));
    std::string result;
    if (rest[0] == '(') {
      const size_t end = rest.find(')');
      result = rest.substr(1, end - 1);
      rest = Trimmed(rest.substr(end + 1));
    }
    const size_t name_end = rest.find_first_of("( \n\t.");
    const size_t open = rest.find('('), close = rest.rfind(')');
    const bool has_parameters = open != std::string::npos;
    const std::string after =
        has_parameters ? rest.substr(close + 1)
                       : rest.substr(std::min(name_end, rest.size()));

    index_ = static_cast<int>(program_.functions.size());
    program_.functions.emplace_back();
    function_ = &program_.functions.back();
    function_->name = Trimmed(rest.substr(0, name_end));
    function_->is_kernel = kernel;
    function_->begin = static_cast<int>(program_.code.size());
    function_->local_at = program_.local_bytes;
    function_->most_threads = Threads(after);
    program_.function_of[function_->name] = index_;

    Scope scope(function_);
    scope_ = &scope;
    for (const auto& [name, variable] : shared_) {
      scope.AddVariable(name, variable);
    }
    function_->return_to = scope.NewRegister(4);
    if (has_parameters) {
      const std::string list = rest.substr(open + 1, close - open - 1);
      for (const std::string& text : Split(list, ',')) {
        const Variable v = AddParameter(ReadDeclaration(text));
        function_->parameters.push_back(
            {ReadDeclaration(text).name, static_cast<int>(v.at), v.bytes});
      }
    }
    if (!Trimmed(result).empty()) {
      function_->result_at =
          static_cast<int>(AddParameter(ReadDeclaration(result)).at);
    }
    labels_.clear();
    branches_.clear();
    ReadBody();
    Finish();
  }

  static uint32_t Threads(const std::string& directives) {
    size_t at = directives.find(".maxntid");
    if (at == std::string::npos) at = directives.find(".reqntid");
    if (at == std::string::npos) return 0;
    int x = 1, y = 1, z = 1;
    std::sscanf(directives.c_str() + at + 8, "%d , %d , %d", &x, &y, &z);
    return x * y * z;
  }

  Variable AddParameter(const Declaration& d) {
    int& end = function_->parameter_bytes;
    end = Aligned(end, std::max(d.alignment, kAlignment));
    const Variable variable = {Space::kParam, end, d.bytes};
    end += d.bytes;
    scope_->AddVariable(d.name, variable);
    return variable;
  }

  void ReadBody() {
    for (int depth = 1; depth > 0 && SkipSpace();) {
      const char c = text_[at_];
      if (c == '{') {
        ++depth;
        scope_->Enter();
        Advance();
      } else if (c == '}') {
        --depth;
        scope_->Leave();
        Advance();
      } else if (StartsWith(text_, at_, ".loc")) {
        // ".local" begins like a line number.
        if (std::isspace(static_cast<unsigned char>(text_[at_ + 4]))) {
          SkipLine();
        } else {
          ReadStatement();
        }
      } else if (!ReadLabel()) {
        ReadStatement();
      }
    }
  }

  bool ReadLabel() {
    size_t end = at_;
    while (end < text_.size() &&
           (std::isalnum(static_cast<unsigned char>(text_[end])) ||
            text_[end] == '_' || text_[end] == '$')) {
      ++end;
    }
    if (end == at_ || end == text_.size() || text_[end] != ':') return false;
    labels_[text_.substr(at_, end - at_)] =
        static_cast<int>(program_.code.size());
    at_ = end + 1;
    return true;
  }

  void ReadStatement() {
    const int line = line_;
    const std::string statement = UpTo(";");
    if (at_ < text_.size()) Advance();
    if (statement.empty()) return;
    if (statement[0] == '.') {
      Declare(statement);
    } else {
      Add(Decode(statement, line, scope_));
    }
  }

  void Declare(const std::string& statement) {
    const std::vector<std::string> words = WordsOf(statement);
    if (words[0] == ".pragma") return;
    if (words[0] == ".reg") {
      const Type type = ParseType(words[1].substr(1));
      if (type == Type::kNone) Stop("type", statement);
      const size_t names = statement.find(words[1]) + words[1].size();
      scope_->AddRegisters(type, statement.substr(names));
      return;
    }
    const Declaration d = ReadDeclaration(statement);
    if (words[0] == ".param") {
      AddParameter(d);
    } else if (words[0] == ".local") {
      int& end = program_.local_bytes;
      end = Aligned(end, std::max(d.alignment, kAlignment));
      scope_->AddVariable(d.name, {Space::kLocal, end, d.bytes});
      end += d.bytes;
      function_->local_bytes = end - function_->local_at;
    } else if (words[0] == ".shared") {
      scope_->AddVariable(d.name, AddShared(d));
    } else {
      Stop("directive", statement);
    }
  }

  void Add(Decoded decoded) {
    const int at = static_cast<int>(program_.code.size());
    Instruction& i = decoded.instruction;
    if (!decoded.label.empty()) branches_.push_back({at, decoded.label});
    if (!decoded.callee.empty()) {
      PendingCall call = {at, decoded.callee, {}, {}};
      for (const std::string& name : decoded.arguments) {
        call.arguments.push_back(Parameter(name, i.text));
      }
      for (const std::string& name : decoded.results) {
        call.results.push_back(Parameter(name, i.text));
      }
      calls_.push_back(call);
    }
    NoteGranule(i);
    program_.code.push_back(std::move(i));
    program_.owner.push_back(index_);
  }

  Variable Parameter(const std::string& name, const std::string& text) const {
    const Variable* const found = scope_->FindVariable(name);
    if (found == nullptr || found->space != Space::kParam) {
      Stop("parameter", text);
    }
    return *found;
  }

  // Of accesses that name their space: a generic one that is smaller counts as
  // one of the whole granule.
  void NoteGranule(const Instruction& i) {
    if (i.kind != Kind::kLoad && i.kind != Kind::kStore &&
        i.kind != Kind::kAtomicAdd) {
      return;
    }
    const int bytes = BytesOf(i.type) * i.width;
    if (i.space == Space::kShared) {
      program_.shared_granule = std::min(program_.shared_granule, bytes);
    }
    if (i.space == Space::kGlobal) {
      program_.global_granule = std::min(program_.global_granule, bytes);
    }
  }

  // Falls off the end, and labels have their places.
  void Finish() {
    Decoded end;
    end.instruction.kind = Kind::kExit;
    end.instruction.counted_as = Class::kCall;
    end.instruction.text = "(end)";
    end.instruction.line = line_;
    if (!function_->is_kernel) end.instruction.kind = Kind::kReturn;
    Add(std::move(end));
    function_->end = static_cast<int>(program_.code.size());
    for (int i = function_->begin; i < function_->end; ++i) {
      Instruction& instruction = program_.code[i];
      if (instruction.kind == Kind::kReturn && function_->is_kernel) {
        instruction.kind = Kind::kExit;
      }
    }
    for (const auto& [at, label] : branches_) {
      const auto found = labels_.find(label);
      if (found == labels_.end()) Stop("label", program_.code[at].text);
      program_.code[at].target = found->second;
    }
  }

  void Connect(const PendingCall& call) {
    Instruction& i = program_.code[call.at];
    const auto found = program_.function_of.find(call.callee);
    if (found == program_.function_of.end()) Stop("function", i.text);
    const Function& callee = program_.functions[found->second];
    i.target = found->second;
    if (call.arguments.size() != callee.parameters.size() ||
        call.results.size() > 1 ||
        call.results.empty() != (callee.result_at < 0)) {
      Stop("call", i.text);
    }
    for (size_t p = 0; p < call.arguments.size(); ++p) {
      i.arguments.push_back({static_cast<int>(call.arguments[p].at),
                             callee.parameters[p].at,
                             callee.parameters[p].bytes});
    }
    for (const Variable& result : call.results) {
      i.results.push_back(
          {callee.result_at, static_cast<int>(result.at), result.bytes});
    }
    program_.functions[program_.owner[call.at]].callees.push_back(
        found->second);
  }

  std::string text_;
  size_t at_ = 0;
  int line_ = 1;
  Program program_;
  std::map<std::string, Variable> shared_;
  std::vector<PendingCall> calls_;
  // Of the function in hand.
  int index_ = 0;
  Function* function_ = nullptr;
  Scope* scope_ = nullptr;
  std::map<std::string, int> labels_;
  std::vector<std::pair<int, std::string>> branches_;
};

}  // namespace

Program Parse(const std::string& text) { return Parser(text).Parse(); }

}  // namespace ptx
}  // namespace tf_roialign
