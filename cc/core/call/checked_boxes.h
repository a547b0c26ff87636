// Boxes with the image of each, checked.

#ifndef TF_ROIALIGN_CC_CORE_CALL_CHECKED_BOXES_H_
#define TF_ROIALIGN_CC_CORE_CALL_CHECKED_BOXES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "cc/core/call/boxes.h"
#include "cc/core/call/signature.h"

namespace tf_roialign {

// Owns the image indices that its table points to.
template <typename B>
class CheckedBoxes {
 public:
  CheckedBoxes() = default;
  CheckedBoxes(const CheckedBoxes&) = delete;
  CheckedBoxes& operator=(const CheckedBoxes&) = delete;

  // `signature`: what CheckInputs said of these boxes. Returns an empty string,
  // or which image index is wrong. Index: int32_t or int64_t.
  template <typename Index>
  std::string Init(const Signature& signature, const B* rows,
                   const Index* box_indices);

  const BoxTable<B>& table() const { return table_; }

 private:
  BoxTable<B> table_ = {};
  std::vector<int64_t> image_;
};

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CALL_CHECKED_BOXES_H_
