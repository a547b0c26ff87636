// Faults planted into the kernels' PTX.

#include "cc/core/cuda/device_test/planted_faults.h"

#include <vector>

#include "cc/core/cuda/ptx/faults.h"
#include "gtest/gtest.h"

namespace tf_roialign {
namespace {

using ptx::FaultKind;

TEST(PlantedFaults, NoneIsReportedWhereThereIsNone) {
  for (const auto& calls : {FloatCalls(), TangentCalls(), CodeCalls()}) {
    for (const SmallCall& call : calls) EXPECT_EQ(FailuresOf(call), "");
  }
}

TEST(PlantedFaults, Accesses) {
  const std::vector<SmallCall> calls = FloatCalls();
  ExpectReported(
      "wide loads 4 bytes further", calls, FaultKind::kMisaligned,
      Replace(R"((ld\.global\.nc\.v4\.\w+ [^\[]*\[%rd\d+))", "$1+4"));
  ExpectReported(
      "loads one element further", calls, FaultKind::kOutOfBounds,
      Replace(R"((ld\.global\.nc\.[uf]32 [^\[]*\[%rd\d+)\])", "$1+4]"));
  for (const FaultKind kind :
       {FaultKind::kOutOfBounds, FaultKind::kNotWritten}) {
    ExpectReported("stores one element further", calls, kind,
                   Replace(R"((st\.global\.cs\.[uf]32 \[%rd\d+)\])", "$1+4]"));
  }
  ExpectReported(
      "stores in the place of loads", calls, FaultKind::kWriteToInput,
      Replace(R"(ld\.global\.nc\.([ubf]32) (%[rf]\d+), (\[[^\]]*\]);)",
              "ld.global.nc.$1 $2, $3; st.global.$1 $3, $2;"));
  ExpectReported("shared memory past its end", calls, FaultKind::kOutOfBounds,
                 Replace(R"((st\.shared\.v4\.\w+ \[%r\d+))", "$1+49152"));
  ExpectReported("blocks all at the end", calls, FaultKind::kOutOfBounds,
                 Replace("%ctaid\\.x", "%nctaid.x"));
}

TEST(PlantedFaults, Threads) {
  const std::vector<SmallCall> calls = FloatCalls();
  ExpectReported("all threads the same", calls, FaultKind::kSharedRace,
                 Replace(R"((mov\.u32\s+%r\d+), %tid\.x;)", "$1, 0;"));
  ExpectReported("all blocks the same", calls, FaultKind::kGlobalRace,
                 Replace(R"((mov\.u32\s+%r\d+), %ctaid\.x;)", "$1, 0;"));
  ExpectReported("a vote without lane 0", calls, FaultKind::kVote,
                 Replace(R"((vote\.sync\.ballot\.b32\s+%r\d+, %p\d+), [^;]+;)",
                         "$1, -2;"));
  ExpectReported("half of the block leaves", calls, FaultKind::kBarrier,
                 Replace(R"((mov\.u32\s+(%r\d+), %tid\.x;))",
                         "$1 { .reg .pred %leave; setp.ge.u32 %leave, $2, 64; "
                         "@%leave exit; }"));
}

TEST(PlantedFaults, Values) {
  const std::vector<SmallCall> calls = FloatCalls();
  ExpectReported("sums that do not begin with 0", calls, FaultKind::kUndefined,
                 Replace(R"(mov\.[fb]32\s+%[fr]\d+, 0f00000000;)", ""));
  ExpectReported("divisors of 0", calls, FaultKind::kDivision,
                 Replace(R"((div\.[su]32\s+%r\d+, %r\d+), %r\d+;)", "$1, 0;"));
  ExpectReported(
      "loops over boxes that stand still", calls, FaultKind::kEndless,
      Replace(R"((add\.s64\s+%rd\d+, %rd\d+), (128|256);)", "$1, 0;"));
}

// Tangents, and codes, whose narrowest element has a byte.
TEST(PlantedFaults, OfTangents) {
  const std::vector<SmallCall> calls = TangentCalls();
  ExpectReported(
      "wide loads 4 bytes further", calls, FaultKind::kMisaligned,
      Replace(R"((ld\.global\.nc\.v4\.\w+ [^\[]*\[%rd\d+))", "$1+4"));
  ExpectReported("all threads the same", calls, FaultKind::kSharedRace,
                 Replace(R"((mov\.u32\s+%r\d+), %tid\.x;)", "$1, 0;"));
  ExpectReported("all blocks the same", calls, FaultKind::kGlobalRace,
                 Replace(R"((mov\.u32\s+%r\d+), %ctaid\.x;)", "$1, 0;"));
  ExpectReported("sums that do not begin with 0", calls, FaultKind::kUndefined,
                 Replace(R"(mov\.[fb]32\s+%[fr]\d+, 0f00000000;)", ""));
}
TEST(PlantedFaults, OfCodes) {
  const std::vector<SmallCall> calls = CodeCalls();
  ExpectReported("four codes one further", calls, FaultKind::kMisaligned,
                 Replace(R"((ld\.global\.nc\.u32 [^\[]*\[%rd\d+)\])", "$1+1]"));
  ExpectReported("stores one code further", calls, FaultKind::kNotWritten,
                 Replace(R"((st\.global\.cs\.u8 \[%rd\d+)\])", "$1+1]"));
  ExpectReported("all threads the same", calls, FaultKind::kSharedRace,
                 Replace(R"((mov\.u32\s+%r\d+), %tid\.x;)", "$1, 0;"));
  ExpectReported("all blocks the same", calls, FaultKind::kGlobalRace,
                 Replace(R"((mov\.u32\s+%r\d+), %ctaid\.x;)", "$1, 0;"));
}

// One at a time. The kernels have no barrier that none of the calls needs.
TEST(PlantedFaults, EachBarrier) {
  const Planted planted =
      PlantEach("barriers removed", FloatCalls(), WithoutBarrier);
  EXPECT_GT(planted.all, 100);
  EXPECT_EQ(planted.unnoticed, 0);
}
TEST(PlantedFaults, EachBarrierOfTangents) {
  const Planted planted =
      PlantEach("barriers removed", TangentCalls(), WithoutBarrier);
  EXPECT_GT(planted.all, 20);
  EXPECT_EQ(planted.unnoticed, 0);
}
TEST(PlantedFaults, EachBarrierOfCodes) {
  const Planted planted =
      PlantEach("barriers removed", CodeCalls(), WithoutBarrier);
  EXPECT_GT(planted.all, 20);
  EXPECT_EQ(planted.unnoticed, 0);
}

// Not noticed are pixels that hardly count, of which a bin has a thousand, and
// those that are read for a tap that is none, where there is a pixel.
TEST(PlantedFaults, EachAccessOfTangents) {
  const Planted planted =
      PlantEach("accesses moved", TangentCalls(), MovedAccess);
  EXPECT_GT(planted.all, 30);
  EXPECT_LE(planted.unnoticed, planted.all / 8);
}
TEST(PlantedFaults, EachAccessOfCodes) {
  const Planted planted = PlantEach("accesses moved", CodeCalls(), MovedAccess);
  EXPECT_GT(planted.all, 30);
  EXPECT_LE(planted.unnoticed, planted.all / 8);
}
TEST(PlantedFaults, EachGuardOfTangents) {
  const Planted planted =
      PlantEach("guards removed", TangentCalls(), WithoutGuard);
  EXPECT_GT(planted.all, 20);
  EXPECT_LE(planted.unnoticed, planted.all / 3);
}
TEST(PlantedFaults, EachGuardOfCodes) {
  const Planted planted =
      PlantEach("guards removed", CodeCalls(), WithoutGuard);
  EXPECT_GT(planted.all, 20);
  EXPECT_LE(planted.unnoticed, planted.all / 3);
}

}  // namespace
}  // namespace tf_roialign
