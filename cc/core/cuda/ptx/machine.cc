#include "cc/core/cuda/ptx/machine.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "cc/core/cuda/ptx/lanes.h"
#include "cc/core/cuda/ptx/memory_access.h"
#include "cc/core/cuda/ptx/shared_memory.h"
#include "cc/core/cuda/ptx/warp.h"

namespace tf_roialign {
namespace ptx {
namespace {

constexpr int kNoGroup = INT32_MAX;

// A function and all that it calls.
void AddReachable(const Program& program, int function,
                  std::vector<int>* reachable) {
  if (std::count(reachable->begin(), reachable->end(), function) > 0) return;
  reachable->push_back(function);
  for (const int callee : program.functions[function].callees) {
    AddReachable(program, callee, reachable);
  }
}

class Machine {
 public:
  Machine(const Program& program, const Function& kernel,
          const LaunchSize& size, const void* const* arguments,
          const MachineOptions& options, Reporter* reporter,
          GlobalMemory* global, std::vector<Warp>* warps,
          std::vector<Count>* counts)
      : program_(program),
        kernel_(kernel),
        size_(size),
        options_(options),
        report_(*reporter),
        counts_(*counts),
        shared_(
            (program.static_shared_bytes + 15) / 16 * 16 + size.shared_bytes,
            program.shared_granule),
        memory_(program, options.count_memory, reporter, global, &shared_,
                counts),
        warps_(*warps) {
    const size_t count = (size.threads + kLanes - 1) / kLanes;
    if (warps_.size() != count) {
      std::vector<int> reachable;
      AddReachable(program, program.function_of.at(kernel.name), &reachable);
      warps_.assign(count, Warp());
      for (Warp& warp : warps_) Prepare(reachable, &warp);
    }
    for (size_t w = 0; w < count; ++w) {
      warps_[w].index = static_cast<int>(w);
      SetArguments(arguments, &warps_[w]);
    }
    order_.resize(warps_.size());
    std::iota(order_.begin(), order_.end(), 0);
    if (options.order == Order::kDescending) {
      std::reverse(order_.begin(), order_.end());
    }
  }

  void Run() {
    for (uint32_t i = 0; i < size_.blocks && !stopped_; ++i) {
      RunBlock(options_.order == Order::kDescending ? size_.blocks - 1 - i : i);
    }
  }

 private:
  // ---- Before the launch.

  void Prepare(const std::vector<int>& functions, Warp* warp) {
    warp->frame_of.assign(program_.functions.size(), -1);
    for (const int f : functions) {
      warp->frame_of[f] = static_cast<int>(warp->frames.size());
      warp->frames.emplace_back(program_.functions[f]);
      Frame& frame = warp->frames.back();
      for (const auto& [r, value] : frame.function->constants) {
        for (int lane = 0; lane < kLanes; ++lane) frame.Set(r, lane, value);
      }
    }
    warp->local.assign(size_t(kLanes) * program_.local_bytes, 0xcd);
    warp->undefined_local.assign(warp->local.size(), 1);
  }

  void SetArguments(const void* const* arguments, Warp* warp) {
    const int lanes = std::min(
        kLanes, static_cast<int>(size_.threads) - warp->index * kLanes);
    warp->all = lanes == kLanes ? kAllLanes : (1u << lanes) - 1;
    Frame& frame = warp->frames[0];
    for (size_t p = 0; p < kernel_.parameters.size(); ++p) {
      const Function::Parameter& parameter = kernel_.parameters[p];
      for (int lane = 0; lane < kLanes; ++lane) {
        const size_t at = lane * kernel_.parameter_bytes + parameter.at;
        std::memcpy(&frame.parameters[at], arguments[p], parameter.bytes);
        std::memset(&frame.undefined_parameters[at], 0, parameter.bytes);
      }
    }
  }

  // ---- A block.

  void RunBlock(uint32_t block) {
    report_.block = block;
    issued_ = 0;
    shared_.Restart();
    for (Warp& warp : warps_) Restart(&warp, block);
    for (;;) {
      if (options_.order == Order::kShuffled) {
        std::shuffle(order_.begin(), order_.end(), random_);
      }
      for (const int i : order_) RunWarp(&warps_[i]);
      if (stopped_ || !ReleaseBarrier()) return;
    }
  }

  void Restart(Warp* warp, uint32_t block) {
    for (Frame& frame : warp->frames) {
      const Function& f = *frame.function;
      std::fill(frame.undefined.begin(), frame.undefined.end(), kAllLanes);
      for (const auto& constant : f.constants) {
        frame.undefined[constant.first.index] = 0;
      }
      const auto set = [&](const Register& r, uint32_t first, uint32_t step) {
        for (int lane = 0; r.exists() && lane < kLanes; ++lane) {
          frame.Set(r, lane, first + lane * step);
        }
      };
      set(f.thread, warp->index * kLanes, 1);
      set(f.lane, 0, 1);
      set(f.block_size, size_.threads, 0);
      set(f.block, block, 0);
      set(f.blocks, size_.blocks, 0);
      for (int lane = 0; f.local_bytes > 0 && lane < kLanes; ++lane) {
        std::memset(
            &warp->undefined_local[lane * program_.local_bytes + f.local_at], 1,
            f.local_bytes);
      }
    }
    warp->live = warp->all;
    warp->ready.clear();
    warp->at_barrier.clear();
    warp->at_meeting.clear();
    warp->ready.Add(kernel_.begin, warp->live);
  }

  // Every warp waits or has ended. False if all have.
  bool ReleaseBarrier() {
    int first = -1;  // the barrier that one of them waits at
    bool some_ended = false, is_or = false, any = false;
    for (Warp& warp : warps_) {
      some_ended = some_ended || warp.live != warp.all;
      for (const Group& group : warp.at_barrier) {
        if (first < 0) first = group.pc;
        if (group.pc != first) {
          Fault(FaultKind::kBarrier, group.pc, warp, group.mask,
                "other threads wait at another one, line " +
                    std::to_string(program_.code[first].line));
        }
        any = any || VoteAtBarrier(&warp, group);
        is_or = is_or || program_.code[group.pc].kind == Kind::kBarrierOr;
      }
    }
    if (first < 0) return false;
    for (Warp& warp : warps_) {
      if (warp.at_barrier.empty()) continue;
      if (some_ended) {
        Fault(FaultKind::kBarrier, warp.at_barrier.first().pc, warp,
              warp.at_barrier.first().mask, "other threads have ended");
        some_ended = false;  // once is enough
      }
      for (const Group& group : warp.at_barrier) {
        const Instruction& i = program_.code[group.pc];
        if (is_or && i.kind == Kind::kBarrierOr) {
          Frame& frame = FrameAt(&warp, group.pc);
          for (int lane = 0; lane < kLanes; ++lane) {
            if (HasLane(group.mask, lane)) {
              frame.Set(i.destination[0], lane, any);
            }
          }
        }
        warp.ready.Add(group.pc + 1, group.mask);
      }
      warp.at_barrier.clear();
    }
    shared_.Barrier();
    return true;
  }

  // Whether a lane of the group says yes.
  bool VoteAtBarrier(Warp* warp, const Group& group) {
    const Instruction& i = program_.code[group.pc];
    if (i.kind != Kind::kBarrierOr) return false;
    Frame& frame = FrameAt(warp, group.pc);
    CheckDefined(*warp, frame, group.pc, i.source[0], group.mask);
    return (MaskOf(Lanes<unsigned char>(frame.bytes(), i.source[0])) &
            group.mask) != 0;
  }

  // ---- A warp.

  Frame& FrameAt(Warp* warp, int pc) {
    return warp->frames[warp->frame_of[program_.owner[pc]]];
  }

  // Until all lanes wait for the block or have ended.
  void RunWarp(Warp* warp) {
    while (!stopped_) {
      if (!warp->ready.empty()) {
        RunGroup(warp);
      } else if (!warp->at_meeting.empty()) {
        const Group group = warp->at_meeting.TakeFirst();
        Fault(FaultKind::kVote, group.pc, *warp, group.mask,
              "other lanes do not come");
        Meet(warp, group);
      } else {
        return;
      }
    }
  }

  // The first group, until it waits, ends or is overtaken.
  void RunGroup(Warp* warp) {
    Group group = warp->ready.TakeFirst();
    const auto next = [&] {
      return warp->ready.empty() ? kNoGroup : warp->ready.first().pc;
    };
    int limit = next();
    Frame* frame = &FrameAt(warp, group.pc);
    while (!stopped_) {
      if (group.pc >= limit) {
        if (group.pc > limit) {
          warp->ready.Add(group.pc, group.mask);
          return;
        }
        group.mask |= warp->ready.TakeFirst().mask;
        limit = next();
      }
      const Instruction& i = program_.code[group.pc];
      const uint32_t lanes = Guarded(*warp, frame, i, group);
      Count& count = counts_[group.pc];
      ++count.warps;
      count.lanes +=
          __builtin_popcount(i.kind == Kind::kBranch ? group.mask : lanes);
      if (++issued_ > options_.most_instructions) {
        Fault(FaultKind::kEndless, group.pc, *warp, lanes,
              "the block does not end");
        stopped_ = true;
        return;
      }
      switch (i.kind) {
        case Kind::kArithmetic:
          if (lanes != 0) Compute(*warp, frame, i, group.pc, lanes);
          break;
        case Kind::kSelect:
          if (lanes != 0) Select(frame, i, lanes);
          break;
        case Kind::kPack:
          if (lanes != 0) Pack(frame, i, lanes);
          break;
        case Kind::kUnpack:
          if (lanes != 0) Unpack(frame, i, lanes);
          break;
        case Kind::kLoad:
        case Kind::kStore:
        case Kind::kAtomicAdd:
          if (lanes != 0) memory_.Run(warp, frame, i, group.pc, lanes);
          break;
        case Kind::kBranch:
          if (lanes == group.mask) {
            group.pc = i.target;
            continue;
          }
          if (lanes != 0) {
            warp->ready.Add(i.target, lanes);
            group.mask &= ~lanes;
            limit = next();
          }
          break;
        case Kind::kCall:
          group.pc = Call(warp, frame, i, group);
          frame = &FrameAt(warp, group.pc);
          continue;
        case Kind::kReturn:
          group.mask &= ~lanes;
          Return(warp, frame, lanes);
          limit = next();
          if (group.mask == 0) return;
          break;
        case Kind::kExit:
          group.mask &= ~lanes;
          warp->live &= ~lanes;
          if (group.mask == 0) return;
          break;
        case Kind::kBarrier:
        case Kind::kBarrierOr:
          warp->at_barrier.Add(group.pc, group.mask);
          return;
        case Kind::kWarpBarrier:
        case Kind::kBallot:
        case Kind::kShuffle:
          warp->at_meeting.Add(group.pc, group.mask);
          MeetIfAllCame(warp, i, group.pc);
          return;
      }
      ++group.pc;
    }
  }

  // The lanes of a group whose guard says yes.
  uint32_t Guarded(const Warp& warp, Frame* frame, const Instruction& i,
                   const Group& group) {
    if (!i.guard.exists()) return group.mask;
    CheckDefined(warp, *frame, group.pc, i.guard, group.mask);
    const uint32_t yes = MaskOf(Lanes<unsigned char>(frame->bytes(), i.guard));
    return group.mask & (i.guard_is_negated ? ~yes : yes);
  }

  void Compute(const Warp& warp, Frame* frame, const Instruction& i, int pc,
               uint32_t lanes) {
    if (i.divides) CheckDivisor(warp, *frame, i, pc, lanes);
    i.function(frame->bytes(), i, lanes);
    uint32_t undefined = 0;
    for (int s = 0; s < i.sources; ++s) {
      undefined |= frame->undefined[i.source[s].index];
    }
    frame->SetUndefined(i.destination[0], lanes, undefined);
  }

  void Select(Frame* frame, const Instruction& i, uint32_t lanes) {
    const uint32_t first =
        MaskOf(Lanes<unsigned char>(frame->bytes(), i.source[2]));
    const uint32_t undefined = (frame->undefined[i.source[0].index] & first) |
                               (frame->undefined[i.source[1].index] & ~first) |
                               frame->undefined[i.source[2].index];
    i.function(frame->bytes(), i, lanes);
    frame->SetUndefined(i.destination[0], lanes, undefined);
  }

  void Pack(Frame* frame, const Instruction& i, uint32_t lanes) {
    uint32_t undefined = 0;
    for (int e = 0; e < i.width; ++e) {
      undefined |= frame->undefined[i.source[e].index];
    }
    const int bits = 8 * BytesOf(i.type) / i.width;
    for (int lane = 0; lane < kLanes; ++lane) {
      if (!HasLane(lanes, lane)) continue;
      uint64_t value = 0;
      for (int e = 0; e < i.width; ++e) {
        value |= ReadLane(frame->bytes(), i.source[e], lane) << (e * bits);
      }
      WriteLane(frame->bytes(), i.destination[0], lane, value);
    }
    frame->SetUndefined(i.destination[0], lanes, undefined);
  }

  void Unpack(Frame* frame, const Instruction& i, uint32_t lanes) {
    const uint32_t undefined = frame->undefined[i.source[0].index];
    const int bits = 8 * BytesOf(i.type) / i.width;
    for (int lane = 0; lane < kLanes; ++lane) {
      if (!HasLane(lanes, lane)) continue;
      const uint64_t value = ReadLane(frame->bytes(), i.source[0], lane);
      for (int e = 0; e < i.width; ++e) {
        if (!i.destination[e].exists()) continue;
        WriteLane(frame->bytes(), i.destination[e], lane, value >> (e * bits));
      }
    }
    for (int e = 0; e < i.width; ++e) {
      if (i.destination[e].exists()) {
        frame->SetUndefined(i.destination[e], lanes, undefined);
      }
    }
  }

  // ---- Calls.

  // Returns where the group goes on.
  int Call(Warp* warp, Frame* from, const Instruction& i, const Group& group) {
    Frame* const to = &warp->frames[warp->frame_of[i.target]];
    for (int lane = 0; lane < kLanes; ++lane) {
      if (!HasLane(group.mask, lane)) continue;
      for (const PassedParameter& p : i.arguments) Pass(*from, p, lane, to);
      to->Set(to->function->return_to, lane, group.pc);
    }
    return to->function->begin;
  }

  // Lanes may have come from several calls.
  void Return(Warp* warp, Frame* from, uint32_t lanes) {
    for (int lane = 0; lane < kLanes; ++lane) {
      if (!HasLane(lanes, lane)) continue;
      const int pc = static_cast<int>(
          ReadLane(from->bytes(), from->function->return_to, lane));
      for (const PassedParameter& p : program_.code[pc].results) {
        Pass(*from, p, lane, &FrameAt(warp, pc));
      }
      warp->ready.Add(pc + 1, 1u << lane);
    }
  }

  static void Pass(const Frame& from, const PassedParameter& p, int lane,
                   Frame* to) {
    const size_t source = lane * from.function->parameter_bytes + p.from;
    const size_t target = lane * to->function->parameter_bytes + p.to;
    std::memcpy(&to->parameters[target], &from.parameters[source], p.bytes);
    std::memcpy(&to->undefined_parameters[target],
                &from.undefined_parameters[source], p.bytes);
  }

  // ---- Lanes that meet.

  uint32_t Wanted(Warp* warp, const Instruction& i, const Group& group) {
    const Register& r = i.source[i.kind == Kind::kWarpBarrier ? 0 : 1];
    return static_cast<uint32_t>(ReadLane(FrameAt(warp, group.pc).bytes(), r,
                                          __builtin_ctz(group.mask)));
  }

  void MeetIfAllCame(Warp* warp, const Instruction& i, int pc) {
    const Group group = {pc, warp->at_meeting.MaskAt(pc)};
    const uint32_t wanted = Wanted(warp, i, group);
    if ((group.mask & wanted) != (wanted & warp->live)) return;
    if ((group.mask & ~wanted) != 0) {
      Fault(FaultKind::kVote, pc, *warp, group.mask & ~wanted,
            "a lane that the mask does not name");
    }
    warp->at_meeting.Remove(pc);
    Meet(warp, group);
  }

  void Meet(Warp* warp, const Group& group) {
    const Instruction& i = program_.code[group.pc];
    Frame& frame = FrameAt(warp, group.pc);
    if (i.kind == Kind::kWarpBarrier) {
      if (group.mask == warp->live) shared_.WarpBarrier(warp->index);
    } else if (i.kind == Kind::kBallot) {
      CheckDefined(*warp, frame, group.pc, i.source[0], group.mask);
      const uint32_t yes =
          MaskOf(Lanes<unsigned char>(frame.bytes(), i.source[0])) & group.mask;
      for (int lane = 0; lane < kLanes; ++lane) {
        if (HasLane(group.mask, lane)) frame.Set(i.destination[0], lane, yes);
      }
    } else {
      ShuffleLanes(&frame, i, group.mask);
    }
    warp->ready.Add(group.pc + 1, group.mask);
  }

  static void ShuffleLanes(Frame* frame, const Instruction& i, uint32_t lanes) {
    const int clamp = i.offset & 31, segments = i.offset >> 8 & 31;
    uint64_t values[kLanes];
    uint32_t undefined = 0, in_range = 0;
    for (int lane = 0; lane < kLanes; ++lane) {
      const int by =
          static_cast<int>(ReadLane(frame->bytes(), i.source[2], lane) & 31);
      const int last = (lane & segments) | (clamp & ~segments);
      int from = lane;
      bool fits = false;
      switch (i.shuffle) {
        case Shuffle::kUp:
          from = lane - by;
          fits = from >= last;
          break;
        case Shuffle::kDown:
          from = lane + by;
          fits = from <= last;
          break;
        case Shuffle::kButterfly:
          from = lane ^ by;
          fits = from <= last;
          break;
        case Shuffle::kIndex:
          from = (lane & segments) | (by & ~segments);
          fits = from <= last;
          break;
      }
      if (!fits) from = lane;
      if (fits) in_range |= 1u << lane;
      values[lane] = ReadLane(frame->bytes(), i.source[0], from);
      if (!HasLane(lanes, from) ||
          HasLane(frame->undefined[i.source[0].index], from)) {
        undefined |= 1u << lane;
      }
    }
    for (int lane = 0; lane < kLanes; ++lane) {
      if (!HasLane(lanes, lane)) continue;
      WriteLane(frame->bytes(), i.destination[0], lane, values[lane]);
      if (i.destination[1].exists()) {
        frame->Set(i.destination[1], lane, in_range >> lane & 1);
      }
    }
    frame->SetUndefined(i.destination[0], lanes, undefined);
  }

  // ---- Checks.

  void Fault(FaultKind kind, int pc, const Warp& warp, uint32_t lanes,
             const std::string& text) {
    report_.Add(kind, program_.code[pc], warp.index,
                lanes == 0 ? 0 : __builtin_ctz(lanes), [&] { return text; });
  }

  void CheckDefined(const Warp& warp, const Frame& frame, int pc,
                    const Register& r, uint32_t lanes) {
    const uint32_t undefined = frame.undefined[r.index] & lanes;
    if (undefined != 0) {
      Fault(FaultKind::kUndefined, pc, warp, undefined, "a condition");
    }
  }

  void CheckDivisor(const Warp& warp, Frame& frame, const Instruction& i,
                    int pc, uint32_t lanes) {
    for (int lane = 0; lane < kLanes; ++lane) {
      if (!HasLane(lanes, lane) ||
          ReadLane(frame.bytes(), i.source[1], lane) != 0) {
        continue;
      }
      Fault(FaultKind::kDivision, pc, warp, 1u << lane, "");
      return;
    }
  }

  const Program& program_;
  const Function& kernel_;
  const LaunchSize size_;
  const MachineOptions& options_;
  Reporter& report_;
  std::vector<Count>& counts_;
  SharedMemory shared_;
  MemoryAccess memory_;
  std::vector<Warp>& warps_;
  std::vector<int> order_;
  std::mt19937 random_{17};
  uint64_t issued_ = 0;  // by the block in hand
  bool stopped_ = false;
};

}  // namespace

void RunKernel(const Program& program, const Function& kernel,
               const std::string& name, const LaunchSize& size,
               const void* const* arguments, uint64_t launch,
               const MachineOptions& options, DeviceMemory* memory,
               Faults* faults, std::vector<Warp>* warps,
               std::vector<Count>* counts) {
  Reporter reporter(name, faults);
  GlobalMemory global(memory, launch, size.threads, program.global_granule);
  Machine(program, kernel, size, arguments, options, &reporter, &global, warps,
          counts)
      .Run();
}

}  // namespace ptx
}  // namespace tf_roialign
