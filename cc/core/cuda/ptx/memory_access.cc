#include "cc/core/cuda/ptx/memory_access.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>

#include "cc/core/cuda/ptx/lanes.h"

namespace tf_roialign {
namespace ptx {
namespace {

std::string Hex(uint64_t value) {
  char text[24];
  std::snprintf(text, sizeof(text), "0x%llx",
                static_cast<unsigned long long>(value));
  return text;
}

// A value of memory as a register has it: extended by its sign, if it has one.
uint64_t Extended(uint64_t value, Type type, int register_bytes) {
  const int bytes = BytesOf(type);
  if (!IsSigned(type) || bytes >= register_bytes) return value;
  const int shift = 64 - 8 * bytes;
  return static_cast<uint64_t>(static_cast<int64_t>(value << shift) >> shift);
}

template <typename T>
uint64_t Sum(uint64_t a, uint64_t b) {
  T x, y;
  std::memcpy(&x, &a, sizeof(T));
  std::memcpy(&y, &b, sizeof(T));
  x += y;
  uint64_t sum = 0;
  std::memcpy(&sum, &x, sizeof(T));
  return sum;
}

}  // namespace

std::string Reporter::Text(const Instruction& i, int thread,
                           const std::string& detail) const {
  return "block " + std::to_string(block) + ", thread " +
         std::to_string(thread) + ", line " + std::to_string(i.line) + ": " +
         i.text + (detail.empty() ? "" : ": ") + detail;
}

GlobalMemory::GlobalMemory(DeviceMemory* memory, uint64_t launch,
                           uint32_t block_threads, int granule)
    : memory_(*memory),
      launch_(launch),
      block_threads_(block_threads),
      cached_(kCached) {
  while ((2 << granule_log2_) <= granule) ++granule_log2_;
}

Allocation* GlobalMemory::Find(const Instruction* i, uint64_t address,
                               int size) {
  Cached& cached =
      cached_[reinterpret_cast<uintptr_t>(i) / sizeof(Instruction) % kCached];
  if (cached.instruction == i && version_ == memory_.version() &&
      cached.piece->Has(address, size)) {
    return cached.piece;
  }
  if (version_ != memory_.version()) {
    std::fill(cached_.begin(), cached_.end(), Cached());
    version_ = memory_.version();
  }
  Allocation* const piece = memory_.Find(address);
  if (piece == nullptr || !piece->Has(address, size)) return nullptr;
  cached = {i, piece};
  return piece;
}

void GlobalMemory::Begin(Allocation* piece) const {
  if (piece->launch == launch_) return;
  piece->launch = launch_;
  piece->writer.clear();
  piece->reader.clear();
}

bool GlobalMemory::Read(Allocation* piece, uint64_t at, int size,
                        uint32_t who) {
  // Who writes to an input is told so anyway.
  if (piece->read_only) return false;
  Begin(piece);
  const size_t cells = (piece->bytes >> granule_log2_) + 1;
  if (piece->reader.empty()) piece->reader.assign(cells, 0);
  bool races = false;
  const uint64_t end = (at + size - 1) >> granule_log2_;
  for (uint64_t cell = at >> granule_log2_; cell <= end; ++cell) {
    if (!piece->writer.empty()) {
      const uint32_t writer = piece->writer[cell];
      races = races || (writer != 0 && writer != who);
    }
    uint32_t& reader = piece->reader[cell];
    reader = reader == 0 || reader == who ? who : Allocation::kSeveral;
  }
  return races;
}

bool GlobalMemory::Write(Allocation* piece, uint64_t at, int size,
                         uint32_t who) {
  Begin(piece);
  const size_t cells = (piece->bytes >> granule_log2_) + 1;
  if (piece->writer.empty()) piece->writer.assign(cells, 0);
  bool races = false;
  const uint64_t end = (at + size - 1) >> granule_log2_;
  for (uint64_t cell = at >> granule_log2_; cell <= end; ++cell) {
    uint32_t& writer = piece->writer[cell];
    races = races || (writer != 0 && writer != who);
    writer = who;
    if (!piece->reader.empty()) {
      const uint32_t reader = piece->reader[cell];
      races = races || (reader != 0 && reader != who);
    }
  }
  return races;
}

// A kernel's parameters are the same for all lanes: one place is read once.
bool MemoryAccess::LoadForAll(Frame* frame, const Instruction& i,
                              uint32_t lanes) {
  const Function& f = *frame->function;
  if (i.space != Space::kParam || i.kind != Kind::kLoad || i.width != 1 ||
      !f.is_kernel || f.parameters.empty() ||
      i.destination[0].bytes != BytesOf(i.type)) {
    return false;
  }
  uint64_t at = i.offset;
  if (i.address.exists()) {
    const int first = __builtin_ctz(lanes);
    const uint64_t base = ReadLane(frame->bytes(), i.address, first);
    if ((frame->undefined[i.address.index] & lanes) != 0) return false;
    for (int lane = first; lane < kLanes; ++lane) {
      if (HasLane(lanes, lane) &&
          ReadLane(frame->bytes(), i.address, lane) != base) {
        return false;
      }
    }
    at += base;
  }
  const uint64_t end = f.parameters.back().at + f.parameters.back().bytes;
  // Behind them are those of calls; what is wrong is told elsewhere.
  if (at >= end || at + BytesOf(i.type) > end || at % BytesOf(i.type) != 0) {
    return false;
  }
  const unsigned char* const from = &frame->parameters[at];
  const Register& r = i.destination[0];
  const auto copy = [&](auto zero) {
    using T = decltype(zero);
    T value;
    std::memcpy(&value, from, sizeof(T));
    StoreLanes(Lanes<T>(frame->bytes(), r), lanes, [&](int) { return value; });
  };
  switch (r.bytes) {
    case 1:
      copy(uint8_t());
      break;
    case 2:
      copy(uint16_t());
      break;
    case 4:
      copy(uint32_t());
      break;
    default:
      copy(uint64_t());
      break;
  }
  frame->SetUndefined(r, lanes, 0);
  return true;
}

void MemoryAccess::Run(Warp* warp, Frame* frame, const Instruction& i, int pc,
                       uint32_t lanes) {
  if (LoadForAll(frame, i, lanes)) return;
  const int size = BytesOf(i.type) * i.width;
  sector_count_ = word_count_ = 0;
  if (i.address.exists()) {
    const uint32_t undefined = frame->undefined[i.address.index] & lanes;
    if (undefined != 0) {
      report_.Add(FaultKind::kUndefined, i, warp->index,
                  __builtin_ctz(undefined),
                  [&] { return std::string("an address"); });
    }
  }
  for (int lane = 0; lane < kLanes; ++lane) {
    if (!HasLane(lanes, lane)) continue;
    uint64_t address = i.offset;
    if (i.address.exists()) {
      address += ReadLane(frame->bytes(), i.address, lane);
    }
    // Addresses in shared memory may be of 32 bits, and wrap around.
    if (i.address.exists() && i.address.bytes == 4) address &= 0xffffffffu;
    Place place;
    if (address % size == 0) {
      place = Find(warp, frame, i, lane, address, size);
    } else {
      report_.Add(FaultKind::kMisaligned, i, warp->index, lane, [&] {
        return Hex(address) + " of " + std::to_string(size) + " bytes";
      });
    }
    if (i.kind == Kind::kLoad) {
      Load(frame, i, lane, place);
    } else if (place.data == nullptr) {
      if (i.destination[0].exists()) frame->Set(i.destination[0], lane, 0);
    } else if (i.kind == Kind::kStore) {
      Store(warp, frame, i, lane, place);
    } else {
      Add(frame, i, lane, place);
    }
  }
  if (count_) {
    counts_[pc].sectors += SectorsOf(sectors_, sector_count_);
    counts_[pc].waves += WavesOf(words_, word_count_, size);
  }
}

MemoryAccess::Place MemoryAccess::Find(Warp* warp, Frame* frame,
                                       const Instruction& i, int lane,
                                       uint64_t address, int size) {
  Space space = i.space;
  if (space == Space::kGeneric) {
    space = SpaceOfGeneric(address);
    address -= GenericBase(space);
  }
  Place place;
  switch (space) {
    case Space::kParam: {
      const int bytes = frame->function->parameter_bytes;
      if (address + size <= uint64_t(bytes)) {
        const size_t at = size_t(lane) * bytes + address;
        place = {&frame->parameters[at], &frame->undefined_parameters[at],
                 /*has_padding=*/true};
      }
      break;
    }
    case Space::kLocal:
      if (address + size <= uint64_t(program_.local_bytes)) {
        const size_t at = size_t(lane) * program_.local_bytes + address;
        place = {&warp->local[at], &warp->undefined_local[at]};
      }
      break;
    case Space::kShared:
      place = FindShared(warp, i, lane, address, size);
      break;
    default:
      place = FindGlobal(warp, i, lane, address, size);
      break;
  }
  if (place.data == nullptr) {
    report_.Add(FaultKind::kOutOfBounds, i, warp->index, lane, [&] {
      return std::string(NameOf(space)) + " memory, " + std::to_string(size) +
             " bytes at " +
             (space == Space::kGlobal ? global_.Describe(address)
                                      : Hex(address));
    });
  }
  return place;
}

MemoryAccess::Place MemoryAccess::FindShared(Warp* warp, const Instruction& i,
                                             int lane, uint64_t at, int size) {
  if (!shared_.Has(at, size)) return {};
  words_[word_count_++] = at;
  const int thread = warp->index * kLanes + lane;
  const int other = i.kind == Kind::kLoad    ? shared_.Read(thread, at, size)
                    : i.kind == Kind::kStore ? shared_.Write(thread, at, size)
                                             : SharedMemory::kNobody;
  if (other != SharedMemory::kNobody) {
    report_.Add(FaultKind::kSharedRace, i, warp->index, lane, [&] {
      return "byte " + std::to_string(at) + ", with " +
             (other == SharedMemory::kSeveral
                  ? "several threads"
                  : "thread " + std::to_string(other));
    });
  }
  return {shared_.data(at), shared_.undefined(at)};
}

MemoryAccess::Place MemoryAccess::FindGlobal(Warp* warp, const Instruction& i,
                                             int lane, uint64_t address,
                                             int size) {
  Allocation* const piece = global_.Find(&i, address, size);
  if (piece == nullptr) return {};
  sectors_[sector_count_++] = address;
  const uint64_t at = address - piece->begin;
  const uint32_t who =
      global_.NumberOf(report_.block, warp->index * kLanes + lane);
  bool races = false;
  if (i.kind == Kind::kLoad) {
    races = global_.Read(piece, at, size, who);
  } else {
    if (piece->read_only) {
      report_.Add(FaultKind::kWriteToInput, i, warp->index, lane,
                  [&] { return global_.Describe(address); });
    }
    races = i.kind == Kind::kStore && global_.Write(piece, at, size, who);
  }
  if (races) {
    report_.Add(FaultKind::kGlobalRace, i, warp->index, lane, [&] {
      return global_.Describe(address) + ", with another thread";
    });
  }
  return {reinterpret_cast<unsigned char*>(address),
          piece->undefined.empty() ? nullptr : &piece->undefined[at]};
}

void MemoryAccess::Load(Frame* frame, const Instruction& i, int lane,
                        const Place& place) {
  const int bytes = BytesOf(i.type);
  for (int e = 0; e < i.width; ++e) {
    uint64_t value = 0;
    int undefined = 0;
    if (place.data != nullptr) {
      value = ReadBytes(place.data + e * bytes, bytes);
      for (int b = 0; place.undefined != nullptr && b < bytes; ++b) {
        undefined += place.undefined[e * bytes + b];
      }
    }
    const Register& r = i.destination[e];
    WriteLane(frame->bytes(), r, lane, Extended(value, i.type, r.bytes));
    const bool counts = undefined > (place.has_padding ? bytes - 1 : 0);
    frame->SetUndefined(r, 1u << lane, counts ? kAllLanes : 0);
  }
}

void MemoryAccess::Store(Warp* warp, Frame* frame, const Instruction& i,
                         int lane, const Place& place) {
  const int bytes = BytesOf(i.type);
  for (int e = 0; e < i.width; ++e) {
    const uint64_t value = ReadLane(frame->bytes(), i.source[e], lane);
    WriteBytes(place.data + e * bytes, bytes, value);
    const bool undefined = HasLane(frame->undefined[i.source[e].index], lane);
    if (place.undefined != nullptr) {
      std::memset(place.undefined + e * bytes, undefined, bytes);
    } else if (undefined) {
      report_.Add(FaultKind::kUndefined, i, warp->index, lane,
                  [&] { return std::string("stored to global memory"); });
    }
  }
}

void MemoryAccess::Add(Frame* frame, const Instruction& i, int lane,
                       const Place& place) {
  const int bytes = BytesOf(i.type);
  uint64_t old = 0;
  std::memcpy(&old, place.data, bytes);
  const uint64_t value = ReadLane(frame->bytes(), i.source[0], lane);
  const uint64_t sum = i.type == Type::kF32   ? Sum<float>(old, value)
                       : i.type == Type::kF64 ? Sum<double>(old, value)
                                              : old + value;
  std::memcpy(place.data, &sum, bytes);
  if (i.destination[0].exists()) frame->Set(i.destination[0], lane, old);
}

}  // namespace ptx
}  // namespace tf_roialign
