#include "cc/core/dtypes/dtypes.h"

#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "cc/core/dtypes/fillers.h"
#include "cc/core/dtypes/quantization.h"
#include "cc/core/testing/any_dtype.h"
#include "gtest/gtest.h"

namespace tf_roialign {
namespace {

template <typename T>
constexpr bool kIsAccumulator =
    std::is_same_v<T, float> || std::is_same_v<T, double>;

template <typename T>
void ExpectWhatFloatsHave() {
  using W = Accumulator<T>;
  static_assert(kIsAccumulator<W> && sizeof(W) >= sizeof(T));
  static_assert(std::is_same_v<Accumulator<W>, W>);
  static_assert(!kIsCode<T>);
  EXPECT_TRUE(std::isnan(ToDouble(NaN<T>())));
  EXPECT_TRUE(std::isnan(ToDouble(FloatFillers<T>().no_meaning)));
  // Numbers that every one of them holds.
  for (const double number : {0.0, -0.0, 1.0, -1.5, 0x1p-14, 3.0}) {
    EXPECT_EQ(ToDouble(FromDouble<T>(number)), number);
  }
}

TEST(Dtypes, FloatsHaveNanAndAccumulator) {
#define TF_ROIALIGN_EXPECT(T, ...) ExpectWhatFloatsHave<T>();
  TF_ROIALIGN_FOR_EACH_FLOAT(TF_ROIALIGN_EXPECT)
#undef TF_ROIALIGN_EXPECT
}

template <typename T>
void ExpectWhatCodesHave() {
  using W = Accumulator<T>;
  static_assert(kIsAccumulator<W> && kIsCode<T>);
  for (const T code :
       {std::numeric_limits<T>::min(), std::numeric_limits<T>::max(), T(3)}) {
    EXPECT_EQ(static_cast<T>(static_cast<W>(code)), code);  // holds it
    EXPECT_EQ(CodeFillers<T>(0.5f, code).no_meaning, code);
    EXPECT_EQ(CodeFillers<T>(0.5f, code).quantization.zero, W(code));
  }
}

TEST(Dtypes, CodesHaveAccumulatorAndZeroPoint) {
#define TF_ROIALIGN_EXPECT(T, ...) ExpectWhatCodesHave<T>();
  TF_ROIALIGN_FOR_EACH_CODE(TF_ROIALIGN_EXPECT)
#undef TF_ROIALIGN_EXPECT
}

TEST(Dtypes, BoxesAreFloats) {
#define TF_ROIALIGN_EXPECT(B) static_assert(std::is_floating_point_v<B>);
  TF_ROIALIGN_FOR_EACH_BOX_TYPE(TF_ROIALIGN_EXPECT)
#undef TF_ROIALIGN_EXPECT
}

}  // namespace
}  // namespace tf_roialign
