// The taps of a bin in the order in which blocks of channels go through them.

#ifndef TF_ROIALIGN_CC_CORE_CPU_SIMD_TAP_GROUPS_INL_H_
#define TF_ROIALIGN_CC_CORE_CPU_SIMD_TAP_GROUPS_INL_H_

#include <cstdint>

#include "cc/core/base/span.h"
#include "cc/core/cpu/simd/vectors-inl.h"

namespace tf_roialign {
namespace TF_ROIALIGN_LEVEL {
namespace {

// A bin's taps in groups whose pixels stay in the first cache while all blocks
// of channels go through them, in the order of the taps.
class TapGroups {
 public:
  // `most`: taps of a group.
  TF_ROIALIGN_INLINE TapGroups(const Span& rows, const Span& columns,
                               int64_t most)
      : rows_(rows), columns_(columns) {
    const int64_t width = Length(columns);
    across_ = width < most ? width : most;
    if (across_ < 1) across_ = 1;
    down_ = most / across_;
    if (down_ < 1 || across_ < width) down_ = 1;
  }

  // Calls visit(rows, columns, whether it is the first, and the last); once at
  // least.
  template <typename Visit>
  TF_ROIALIGN_INLINE void ForEach(const Visit& visit) const {
    if (Length(rows_) == 0 || Length(columns_) == 0 ||
        (Length(rows_) <= down_ && Length(columns_) <= across_)) {
      visit(rows_, columns_, true, true);
      return;
    }
    for (int64_t i = rows_.begin; i < rows_.end; i += down_) {
      const Span rows = {i, i + down_ < rows_.end ? i + down_ : rows_.end};
      for (int64_t j = columns_.begin; j < columns_.end; j += across_) {
        const Span columns = {
            j, j + across_ < columns_.end ? j + across_ : columns_.end};
        visit(rows, columns,
              rows.begin == rows_.begin && columns.begin == columns_.begin,
              rows.end == rows_.end && columns.end == columns_.end);
      }
    }
  }

 private:
  Span rows_;
  Span columns_;
  int64_t down_;
  int64_t across_;
};

}  // namespace
}  // namespace TF_ROIALIGN_LEVEL
}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CPU_SIMD_TAP_GROUPS_INL_H_
