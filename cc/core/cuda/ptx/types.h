// PTX's scalar types and state spaces.

#ifndef TF_ROIALIGN_CC_CORE_CUDA_PTX_TYPES_H_
#define TF_ROIALIGN_CC_CORE_CUDA_PTX_TYPES_H_

#include <cstdint>
#include <string>

namespace tf_roialign {
namespace ptx {

enum class Type : uint8_t {
  kU8,
  kU16,
  kU32,
  kU64,
  kS8,
  kS16,
  kS32,
  kS64,
  kB8,
  kB16,
  kB32,
  kB64,
  kF16,
  kBF16,
  kF32,
  kF64,
  kPred,
  kNone,
};

// "s32", without the point; kNone if there is no such type.
Type ParseType(const std::string& word);

// Of a value in memory or in a register; a predicate is one.
int BytesOf(Type type);

bool IsSigned(Type type);
bool IsFloat(Type type);  // f32 or f64

// kParam: of a kernel or of a call.
enum class Space : uint8_t { kGeneric, kGlobal, kShared, kLocal, kParam };

// Where a space begins among generic addresses; global memory is at 0, as
// host addresses are.
constexpr int kSpaceShift = 56;
constexpr uint64_t GenericBase(Space space) {
  switch (space) {
    case Space::kShared:
      return uint64_t(1) << kSpaceShift;
    case Space::kLocal:
      return uint64_t(2) << kSpaceShift;
    case Space::kParam:
      return uint64_t(3) << kSpaceShift;
    default:
      return 0;
  }
}
inline Space SpaceOfGeneric(uint64_t address) {
  switch (address >> kSpaceShift) {
    case 1:
      return Space::kShared;
    case 2:
      return Space::kLocal;
    case 3:
      return Space::kParam;
    default:
      return Space::kGlobal;
  }
}

const char* NameOf(Space space);

}  // namespace ptx
}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CUDA_PTX_TYPES_H_
