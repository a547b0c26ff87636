// What many tests expect.

#ifndef TF_ROIALIGN_CC_CORE_TESTING_EXPECT_H_
#define TF_ROIALIGN_CC_CORE_TESTING_EXPECT_H_

#include <cstring>
#include <string>

#include "cc/core/base/status.h"
#include "gtest/gtest.h"

namespace tf_roialign {

inline void ExpectOk(const Status& status) {
  EXPECT_TRUE(status.ok()) << status.text();
}

inline void ExpectInvalidArgument(const Status& status,
                                  const std::string& text) {
  EXPECT_EQ(status.code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(status.text(), text);
}

// Of vectors of numbers; also tells 0 from -0, and NaN from NaN.
template <typename Vector>
void ExpectSameBits(const Vector& a, const Vector& b) {
  ASSERT_EQ(a.size(), b.size());
  if (a.empty()) return;
  const size_t bytes = a.size() * sizeof(a[0]);
  if (std::memcmp(a.data(), b.data(), bytes) == 0) return;
  size_t i = 0;
  while (std::memcmp(&a[i], &b[i], sizeof(a[0])) == 0) ++i;
  ADD_FAILURE() << "element " << i << " of " << a.size() << " differs";
}

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_TESTING_EXPECT_H_
