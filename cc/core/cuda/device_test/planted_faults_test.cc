// Faults planted into the kernels' PTX: each has to be reported, by the checks
// or by what the kernels compute.

#include <cstdint>
#include <cstdio>
#include <functional>
#include <regex>
#include <string>
#include <vector>

#include "cc/core/cuda/ptx/device.h"
#include "cc/core/cuda/ptx/fake_runtime.h"
#include "cc/core/cuda/testing/kernel_call.h"
#include "cc/core/cuda/tuning.h"
#include "gtest/gtest-spi.h"
#include "gtest/gtest.h"

namespace tf_roialign {
namespace {

using Patch = std::function<std::string(const std::string&)>;

// What fails in a few small calls of every op.
std::string Failures() {
  testing::TestPartResultArray results;
  {
    const testing::ScopedFakeTestPartResultReporter reporter(
        testing::ScopedFakeTestPartResultReporter::
            INTERCEPT_ONLY_CURRENT_THREAD,
        &results);
    for (const Layout layout : {Layout::kNHWC, Layout::kNCHW}) {
      for (const int ratio : {2, -1}) {
        auto call = MakeCall<float, float>(41, layout, true, ratio, 8);
        if (ratio == -1) {
          // Few boxes, and more bins than a block has in hand.
          call.params.output_size = {1, cuda::kBinsInHand + 6};
          call.sizes.boxes = 8;
          call.rows.resize(8 * 4);
          call.column.resize(8);
          call.Draw(42);
        }
        for (const Mode mode : kModes) {
          call.params.mode = mode;
          ExpectForwardIsCpu(call, Forward(call, ThreadOrder::kShuffled));
          ExpectFeatureGradIsCpu(call,
                                 FeatureGrad(call, ThreadOrder::kShuffled));
          ExpectBoxGradIsCpu(call, BoxGrad(call, ThreadOrder::kShuffled));
        }
      }
    }
  }
  std::string text;
  for (int i = 0; i < results.size(); ++i) {
    text += results.GetTestPartResult(i).message();
    text += "\n";
  }
  return text;
}

std::string FailuresWith(const Patch& patch) {
  ptx::TheDevice().options().most_instructions = 300'000;
  ptx::SetPatch(patch);
  const std::string failures = Failures();
  ptx::SetPatch(nullptr);
  return failures;
}

Patch Replace(const std::string& pattern, const std::string& by) {
  return [=](const std::string& text) {
    return std::regex_replace(text, std::regex(pattern), by);
  };
}

void ExpectReported(const char* what, ptx::FaultKind kind, const Patch& patch) {
  SCOPED_TRACE(what);
  const std::string failures = FailuresWith(patch);
  EXPECT_NE(failures.find(ptx::NameOf(kind)), std::string::npos)
      << "not reported as: " << ptx::NameOf(kind) << "\n"
      << failures.substr(0, 1000);
}

TEST(PlantedFaults, NoneIsReportedWhereThereIsNone) {
  EXPECT_EQ(FailuresWith(nullptr), "");
}

TEST(PlantedFaults, Accesses) {
  using ptx::FaultKind;
  ExpectReported(
      "wide loads 4 bytes further", FaultKind::kMisaligned,
      Replace(R"((ld\.global\.nc\.v4\.\w+ [^\[]*\[%rd\d+))", "$1+4"));
  ExpectReported(
      "loads one element further", FaultKind::kOutOfBounds,
      Replace(R"((ld\.global\.nc\.[uf]32 [^\[]*\[%rd\d+)\])", "$1+4]"));
  ExpectReported("stores one element further", FaultKind::kOutOfBounds,
                 Replace(R"((st\.global\.cs\.[uf]32 \[%rd\d+)\])", "$1+4]"));
  ExpectReported("stores one element further", FaultKind::kNotWritten,
                 Replace(R"((st\.global\.cs\.[uf]32 \[%rd\d+)\])", "$1+4]"));
  ExpectReported(
      "stores in the place of loads", FaultKind::kWriteToInput,
      Replace(R"(ld\.global\.nc\.([ubf]32) (%[rf]\d+), (\[[^\]]*\]);)",
              "ld.global.nc.$1 $2, $3; st.global.$1 $3, $2;"));
  ExpectReported("shared memory past its end", FaultKind::kOutOfBounds,
                 Replace(R"((st\.shared\.v4\.\w+ \[%r\d+))", "$1+49152"));
  ExpectReported("blocks all at the end", FaultKind::kOutOfBounds,
                 Replace("%ctaid\\.x", "%nctaid.x"));
}

TEST(PlantedFaults, Threads) {
  using ptx::FaultKind;
  ExpectReported("all threads the same", FaultKind::kSharedRace,
                 Replace(R"((mov\.u32\s+%r\d+), %tid\.x;)", "$1, 0;"));
  ExpectReported("all blocks the same", FaultKind::kGlobalRace,
                 Replace(R"((mov\.u32\s+%r\d+), %ctaid\.x;)", "$1, 0;"));
  ExpectReported("a vote without lane 0", FaultKind::kVote,
                 Replace(R"((vote\.sync\.ballot\.b32\s+%r\d+, %p\d+), [^;]+;)",
                         "$1, -2;"));
  ExpectReported("half of the block leaves", FaultKind::kBarrier,
                 Replace(R"((mov\.u32\s+(%r\d+), %tid\.x;))",
                         "$1 { .reg .pred %leave; setp.ge.u32 %leave, $2, 64; "
                         "@%leave exit; }"));
}

TEST(PlantedFaults, Values) {
  using ptx::FaultKind;
  ExpectReported("sums that do not begin with 0", FaultKind::kUndefined,
                 Replace(R"(mov\.[fb]32\s+%[fr]\d+, 0f00000000;)", ""));
  ExpectReported("divisors of 0", FaultKind::kDivision,
                 Replace(R"((div\.[su]32\s+%r\d+, %r\d+), %r\d+;)", "$1, 0;"));
  ExpectReported(
      "loops over boxes that stand still", FaultKind::kEndless,
      Replace(R"((add\.s64\s+%rd\d+, %rd\d+), (128|256);)", "$1, 0;"));
}

// Every barrier that the calls come to, without it.
TEST(PlantedFaults, EachBarrier) {
  const std::regex barrier(R"(bar\.sync\s+0;|barrier\.sync\s+0;)");
  int planted = 0;
  std::vector<std::string> missed;
  // Which instructions ran: a first round says.
  EXPECT_EQ(Failures(), "");
  struct Place {
    std::string text;
    int line;
    std::string name;
  };
  std::vector<Place> places;
  for (const auto& [text, loaded] : ptx::TheDevice().programs()) {
    const ptx::Program& program = loaded->program;
    for (size_t i = 0; i < program.code.size(); ++i) {
      if (program.code[i].kind != ptx::Kind::kBarrier) continue;
      if (loaded->counts[i].lanes == 0) continue;
      places.push_back(
          {text, program.code[i].line,
           ptx::ShortName(program.functions[program.owner[i]].name)});
    }
  }
  for (const Place& place : places) {
    const Patch without = [&](const std::string& text) {
      if (text != place.text) return text;
      size_t at = 0;
      for (int line = 1; line < place.line; ++line) {
        at = text.find('\n', at) + 1;
      }
      const size_t end = text.find('\n', at);
      return text.substr(0, at) +
             std::regex_replace(text.substr(at, end - at), barrier, "") +
             text.substr(end);
    };
    ++planted;
    if (FailuresWith(without).empty()) {
      missed.push_back(place.name + ", line " + std::to_string(place.line));
    }
  }
  std::printf("%d barriers removed, %zu not missed\n", planted, missed.size());
  for (const std::string& text : missed) std::printf("  %s\n", text.c_str());
  EXPECT_GT(planted, 20);
  // These calls do not need all of them: one may part what only other calls do.
  EXPECT_LE(missed.size(), planted / 4.0);
}

}  // namespace
}  // namespace tf_roialign
