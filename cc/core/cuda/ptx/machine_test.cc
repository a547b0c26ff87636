// Small kernels written by hand: what they compute, and what each check says of
// one that is wrong.

#include "cc/core/cuda/ptx/machine.h"

#include <cstdint>
#include <string>
#include <vector>

#include "cc/core/cuda/ptx/device.h"
#include "gtest/gtest.h"

namespace tf_roialign {
namespace ptx {
namespace {

// A kernel of two pointers, whose threads have %in and %out point to an element
// of their own, and %t be their number.
std::string Kernel(const std::string& body) {
  return R"(
.version 9.0
.target sm_90
.address_size 64
.extern .shared .align 16 .b8 pool[];
.visible .entry kernel(
  .param .u64 kernel_param_0,
  .param .u64 kernel_param_1
)
.maxntid 64
{
  .reg .pred %p<9>;
  .reg .b16 %h<9>;
  .reg .b32 %r<9>;
  .reg .f32 %f<9>;
  .reg .b32 %t;
  .reg .b32 %own;
  .reg .b64 %rd<9>;
  .reg .b64 %in;
  .reg .b64 %out;
  ld.param.u64 %rd1, [kernel_param_0];
  ld.param.u64 %rd2, [kernel_param_1];
  cvta.to.global.u64 %rd1, %rd1;
  cvta.to.global.u64 %rd2, %rd2;
  mov.u32 %r1, %tid.x;
  mov.u32 %r2, %ctaid.x;
  mov.u32 %r3, %ntid.x;
  mad.lo.s32 %t, %r2, %r3, %r1;
  mul.wide.s32 %rd3, %t, 4;
  add.s64 %in, %rd1, %rd3;
  add.s64 %out, %rd2, %rd3;
  shl.b32 %own, %r1, 2;
)" + body +
         "\n  ret;\n}\n";
}

class Machine : public testing::Test {
 protected:
  // Runs with an element of input and of output for each thread; the output is
  // its number at first, and counts as not written.
  std::vector<uint32_t> Run(const std::string& body,
                            const LaunchSize& size = {2, 64, 256}) {
    const uint32_t threads = size.blocks * size.threads;
    std::vector<uint32_t> in(threads), out(threads);
    for (uint32_t i = 0; i < threads; ++i) in[i] = 100 + i;
    const uint32_t* pointers[] = {in.data(), out.data()};
    const void* arguments[] = {&pointers[0], &pointers[1]};
    device_.memory().Add(in.data(), 4 * threads, Contents::kInput, "in");
    device_.memory().Add(out.data(), 4 * threads, Contents::kUndefined, "out");
    device_.faults().Clear();
    error_ =
        device_.Launch(device_.Load(Kernel(body)), "kernel", size, arguments);
    undefined_ = device_.memory().UndefinedBytes(out.data());
    device_.memory().Remove(in.data());
    device_.memory().Remove(out.data());
    return out;
  }

  void ExpectOnly(FaultKind kind, const std::string& body) {
    Run(body);
    EXPECT_GT(device_.faults().count(kind), 0) << NameOf(kind);
    EXPECT_EQ(device_.faults().count(kind), device_.faults().count())
        << device_.faults().Text();
  }
  void ExpectNone(const std::string& body) {
    Run(body);
    EXPECT_EQ(device_.faults().count(), 0) << device_.faults().Text();
    EXPECT_EQ(undefined_, 0);
  }

  Device device_;
  LaunchError error_ = LaunchError::kNone;
  int64_t undefined_ = 0;
};

TEST_F(Machine, CopiesAndAdds) {
  const std::vector<uint32_t> out = Run(R"(
    ld.global.nc.u32 %r4, [%in];
    add.s32 %r4, %r4, 1;
    st.global.u32 [%out], %r4;)");
  EXPECT_EQ(device_.faults().count(), 0) << device_.faults().Text();
  EXPECT_EQ(undefined_, 0);
  for (size_t i = 0; i < out.size(); ++i) EXPECT_EQ(out[i], 101 + i);
}

TEST_F(Machine, LanesPartAndMeetAgain) {
  const std::vector<uint32_t> out = Run(R"(
    and.b32 %r4, %t, 3;
    setp.eq.s32 %p1, %r4, 0;
    mov.u32 %r5, 7;
    @%p1 bra END;
  LOOP:
    add.s32 %r5, %r5, 10;
    add.s32 %r4, %r4, -1;
    setp.ne.s32 %p2, %r4, 0;
    @%p2 bra LOOP;
  END:
    bar.sync 0;
    st.global.u32 [%out], %r5;)");
  EXPECT_EQ(device_.faults().count(), 0) << device_.faults().Text();
  for (size_t i = 0; i < out.size(); ++i) EXPECT_EQ(out[i], 7 + i % 4 * 10);
}

TEST_F(Machine, BallotsAndShuffles) {
  std::vector<uint32_t> out = Run(R"(
    and.b32 %r4, %t, 3;
    setp.eq.s32 %p1, %r4, 0;
    vote.sync.ballot.b32 %r5, %p1, -1;
    st.global.u32 [%out], %r5;)");
  for (const uint32_t value : out) EXPECT_EQ(value, 0x11111111u);
  out = Run(R"(
    shfl.sync.down.b32 %r4|%p1, %t, 1, 31, -1;
    selp.b32 %r4, %r4, 9999, %p1;
    st.global.u32 [%out], %r4;)");
  for (size_t i = 0; i < out.size(); ++i) {
    EXPECT_EQ(out[i], i % 32 == 31 ? 9999 : i + 1);
  }
  EXPECT_EQ(device_.faults().count(), 0) << device_.faults().Text();
}

TEST_F(Machine, AsksAllThreadsAtABarrier) {
  const std::vector<uint32_t> out = Run(R"(
    setp.eq.s32 %p1, %t, 5;
    bar.red.or.pred %p2, 0, %p1;
    selp.u32 %r4, 1, 0, %p2;
    st.global.u32 [%out], %r4;)");
  for (size_t i = 0; i < out.size(); ++i) EXPECT_EQ(out[i], i < 64 ? 1u : 0u);
}

TEST_F(Machine, NamesWhatIsOutOfBounds) {
  ExpectOnly(FaultKind::kOutOfBounds, R"(
    ld.global.u32 %r4, [%in+4];
    st.global.u32 [%out], %r4;)");
  EXPECT_EQ(device_.faults().count(), 1);  // of the last thread alone
  EXPECT_NE(device_.faults().Text().find("block 1, thread 63"),
            std::string::npos);
  EXPECT_NE(device_.faults().Text().find("byte 512 of 512 of in"),
            std::string::npos);
  ExpectOnly(FaultKind::kOutOfBounds, "st.global.u32 [%rd2+-4], %t;");
  ExpectOnly(FaultKind::kOutOfBounds, "st.shared.u32 [%own+4], %t;");
}

TEST_F(Machine, NamesWhatIsMisaligned) {
  ExpectOnly(FaultKind::kMisaligned, R"(
    ld.global.v2.u32 {%r4, %r5}, [%rd1+4];
    st.global.u32 [%out], %t;)");
}

TEST_F(Machine, NamesWritesToInputs) {
  ExpectOnly(FaultKind::kWriteToInput, "st.global.u32 [%in], %t;");
}

TEST_F(Machine, FollowsUndefinedValues) {
  ExpectOnly(FaultKind::kUndefined, R"(
    add.s32 %r5, %r4, 1;
    setp.eq.s32 %p1, %r5, 0;
    @%p1 bra END;
  END:
    st.global.u32 [%out], %t;)");
  // Through shared memory.
  ExpectOnly(FaultKind::kUndefined, R"(
    ld.shared.u32 %r4, [%own];
    mul.wide.s32 %rd4, %r4, 0;
    add.s64 %out, %out, %rd4;
    st.global.u32 [%out], %t;)");
  // One that is stored is not written.
  Run("st.global.u32 [%out], %r4;");
  EXPECT_EQ(undefined_, 512);
  // One that is not chosen does not matter.
  ExpectNone(R"(
    setp.ge.s32 %p1, %t, 0;
    selp.b32 %r5, %t, %r4, %p1;
    st.global.u32 [%out], %r5;)");
}

TEST_F(Machine, NamesWhatIsNotWritten) {
  Run(R"(
    setp.lt.s32 %p1, %t, 3;
    @%p1 st.global.u32 [%out], %t;)");
  EXPECT_EQ(undefined_, 4 * (128 - 3));
}

constexpr char kNeighbours[] = R"(
    st.shared.u32 [%own], %t;
    BARRIER
    xor.b32 %r4, %own, DISTANCE;
    ld.shared.u32 %r5, [%r4];
    st.global.u32 [%out], %r5;)";

std::string Neighbours(const std::string& barrier,
                       const std::string& distance) {
  std::string text = kNeighbours;
  text.replace(text.find("BARRIER"), 7, barrier);
  text.replace(text.find("DISTANCE"), 8, distance);
  return text;
}

TEST_F(Machine, FindsRacesInSharedMemory) {
  ExpectNone(Neighbours("bar.sync 0;", "4"));
  ExpectNone(Neighbours("bar.sync 0;", "128"));
  // Within a warp its own barrier will do.
  ExpectNone(Neighbours("bar.warp.sync -1;", "4"));
  ExpectOnly(FaultKind::kSharedRace, Neighbours("bar.warp.sync -1;", "128"));
  ExpectOnly(FaultKind::kSharedRace, Neighbours("", "4"));
  // Written by all.
  ExpectOnly(FaultKind::kSharedRace, R"(
    st.shared.u32 [pool], %t;
    st.global.u32 [%out], %t;)");
  // Written after it was read.
  ExpectOnly(FaultKind::kSharedRace, R"(
    st.shared.u32 [%own], %t;
    bar.sync 0;
    ld.shared.u32 %r5, [pool+8];
    st.shared.u32 [%own], %r5;
    st.global.u32 [%out], %t;)");
}

TEST_F(Machine, FindsRacesInGlobalMemory) {
  ExpectOnly(FaultKind::kGlobalRace, "st.global.u32 [%rd2], %t;");
  ExpectOnly(FaultKind::kGlobalRace, R"(
    st.global.u32 [%out], %t;
    ld.global.u32 %r4, [%rd2];)");
  // A read before another thread writes is one, too.
  Run(R"(
    ld.global.u32 %r4, [%rd2+508];
    st.global.u32 [%out], %t;)");
  EXPECT_GT(device_.faults().count(FaultKind::kGlobalRace), 0);
}

TEST_F(Machine, FindsBarriersThatNotAllReach) {
  // Half of a block has ended.
  ExpectOnly(FaultKind::kBarrier, R"(
    st.global.u32 [%out], %t;
    setp.ge.s32 %p1, %r1, 32;
    @%p1 bra END;
    bar.sync 0;
  END:)");
  // Each half at another one.
  ExpectOnly(FaultKind::kBarrier, R"(
    st.global.u32 [%out], %t;
    setp.ge.s32 %p1, %r1, 32;
    @%p1 bra OTHER;
    bar.sync 0;
    bra END;
  OTHER:
    bar.sync 0;
  END:)");
}

TEST_F(Machine, FindsVotesThatNotAllReach) {
  ExpectOnly(FaultKind::kVote, R"(
    st.global.u32 [%out], %t;
    setp.eq.s32 %p1, %r1, 3;
    @%p1 bra WAIT;
    vote.sync.ballot.b32 %r4, %p1, -1;
  WAIT:
    bar.sync 0;)");
}

TEST_F(Machine, FindsDivisionsByZero) {
  ExpectOnly(FaultKind::kDivision, R"(
    div.s32 %r4, 12, %t;
    st.global.u32 [%out], %t;)");
  EXPECT_NE(device_.faults().Text().find("block 0, thread 0,"),
            std::string::npos);
}

TEST_F(Machine, EndsWhatDoesNotEnd) {
  device_.options().most_instructions = 1000;
  ExpectOnly(FaultKind::kEndless, "LOOP: bra LOOP;");
  EXPECT_EQ(error_, LaunchError::kFailed);
}

TEST_F(Machine, RefusesWhatADriverRefuses) {
  const std::string body = "st.global.u32 [%out], %t;";
  Run(body, {1, 65, 0});
  EXPECT_EQ(error_, LaunchError::kOutOfResources);  // .maxntid
  Run(body, {1, 64, (48 << 10) + 1});
  EXPECT_EQ(error_, LaunchError::kInvalidValue);
  Run(body, {1, 2048, 0});
  EXPECT_EQ(error_, LaunchError::kInvalidConfiguration);
  EXPECT_EQ(device_.launches(), 0u);
}

TEST_F(Machine, CountsWhatAccessesCost) {
  device_.options().count_memory = true;
  const std::string body = R"(
    ld.global.u32 %r4, [%in];
    shl.b32 %r5, %own, 1;
    st.shared.u32 [%r5], %r4;
    st.global.u32 [%out], %r4;)";
  Run(body, {1, 32, 256});
  const Loaded& loaded = *device_.Load(Kernel(body));
  Count load, store;
  for (size_t i = 0; i < loaded.counts.size(); ++i) {
    const Class c = loaded.program.code[i].counted_as;
    if (c == Class::kGlobalLoad) load = loaded.counts[i];
    if (c == Class::kSharedStore) store = loaded.counts[i];
  }
  EXPECT_EQ(load.warps, 1u);
  EXPECT_EQ(load.lanes, 32u);
  EXPECT_LE(load.sectors, 5u);  // 128 bytes, wherever the host put them
  EXPECT_GE(load.sectors, 4u);
  EXPECT_EQ(store.waves, 2u);  // every other bank
}

TEST(MachineDeathTest, StopsAtWhatItDoesNotKnow) {
  EXPECT_DEATH(Device().Load(Kernel("add.rz.f32 %f1, %f1, %f2;")),
               "no such instruction: add.rz.f32 %f1, %f1, %f2");
  EXPECT_DEATH(Device().Load(Kernel("mov.u32 %r1, %clock;")),
               "no such instruction: mov.u32 %r1, %clock");
  EXPECT_DEATH(Device().Load(Kernel("add.s32 %r1, %rd1, %r2;")),
               "no such width of a register");
}

}  // namespace
}  // namespace ptx
}  // namespace tf_roialign
