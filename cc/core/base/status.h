// What went wrong, as a value: a class that callers act on, and a text for
// people.

#ifndef TF_ROIALIGN_CC_CORE_BASE_STATUS_H_
#define TF_ROIALIGN_CC_CORE_BASE_STATUS_H_

#include <string>
#include <utility>

namespace tf_roialign {

enum class ErrorCode {
  kOk,
  kInvalidArgument,    // the caller's, and the text names the argument
  kResourceExhausted,  // not enough memory
  kInternal,
};

class [[nodiscard]] Status {
 public:
  Status() = default;  // nothing is wrong

  static Status InvalidArgument(std::string text) {
    return Status(ErrorCode::kInvalidArgument, std::move(text));
  }
  static Status ResourceExhausted(std::string text) {
    return Status(ErrorCode::kResourceExhausted, std::move(text));
  }
  static Status Internal(std::string text) {
    return Status(ErrorCode::kInternal, std::move(text));
  }

  bool ok() const { return code_ == ErrorCode::kOk; }
  ErrorCode code() const { return code_; }
  const std::string& text() const { return text_; }

 private:
  Status(ErrorCode code, std::string text)
      : code_(code), text_(std::move(text)) {}

  ErrorCode code_ = ErrorCode::kOk;
  std::string text_;
};

#define TF_ROIALIGN_RETURN_IF_ERROR(...)                              \
  do {                                                                \
    const ::tf_roialign::Status status_of_expression = (__VA_ARGS__); \
    if (!status_of_expression.ok()) return status_of_expression;      \
  } while (false)

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_BASE_STATUS_H_
