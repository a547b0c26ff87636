#include "cc/core/cuda/ptx/arithmetic.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <type_traits>
#include <vector>

#include "cc/core/cuda/ptx/lanes.h"
#include "cc/core/cuda/ptx/operations.h"

namespace tf_roialign {
namespace ptx {
namespace {

using Words = std::vector<std::string>;

bool Has(const Words& words, const char* word) {
  return std::find(words.begin() + 1, words.end(), word) != words.end();
}

// ---- A warp's worth of an operation.

template <typename Operation, typename D, typename A>
void Unary(unsigned char* r, const Instruction& i, uint32_t mask) {
  const A* const a = Lanes<A>(r, i.source[0]);
  StoreLanes(Lanes<D>(r, i.destination[0]), mask,
             [&](int lane) { return Operation::Of(a[lane]); });
}

template <typename Operation, typename D, typename A, typename B>
void Binary(unsigned char* r, const Instruction& i, uint32_t mask) {
  const A* const a = Lanes<A>(r, i.source[0]);
  const B* const b = Lanes<B>(r, i.source[1]);
  StoreLanes(Lanes<D>(r, i.destination[0]), mask,
             [&](int lane) { return Operation::Of(a[lane], b[lane]); });
}

template <typename Operation, typename D, typename A, typename B, typename C>
void Ternary(unsigned char* r, const Instruction& i, uint32_t mask) {
  const A* const a = Lanes<A>(r, i.source[0]);
  const B* const b = Lanes<B>(r, i.source[1]);
  const C* const c = Lanes<C>(r, i.source[2]);
  StoreLanes(Lanes<D>(r, i.destination[0]), mask, [&](int lane) {
    return Operation::Of(a[lane], b[lane], c[lane]);
  });
}

template <typename T>
void Select(unsigned char* r, const Instruction& i, uint32_t mask) {
  const T* const a = Lanes<T>(r, i.source[0]);
  const T* const b = Lanes<T>(r, i.source[1]);
  const unsigned char* const choice = Lanes<unsigned char>(r, i.source[2]);
  StoreLanes(Lanes<T>(r, i.destination[0]), mask,
             [&](int lane) { return choice[lane] ? a[lane] : b[lane]; });
}

// Registers may be wider than the types: the value is in their lower bytes,
// and what is written is extended by its sign, if it has one.
template <typename Operation, typename D, typename S>
void Convert(unsigned char* r, const Instruction& i, uint32_t mask) {
  const Register& to = i.destination[0];
  const Register& from = i.source[0];
  if (to.bytes == sizeof(D) && from.bytes == sizeof(S)) {
    Unary<Operation, D, S>(r, i, mask);
    return;
  }
  for (int lane = 0; lane < kLanes; ++lane) {
    if (!HasLane(mask, lane)) continue;
    const uint64_t bits = ReadLane(r, from, lane);
    S source;
    std::memcpy(&source, &bits, sizeof(source));
    const D value = Operation::Of(source);
    uint64_t wide = 0;
    if constexpr (std::is_integral_v<D>) {
      wide = static_cast<uint64_t>(value);
    } else {
      std::memcpy(&wide, &value, sizeof(value));
    }
    WriteLane(r, to, lane, wide);
  }
}

// ---- The same for the type asked for.

template <template <typename> class Function>
LaneFunction ForInteger(Type type) {
  switch (type) {
    case Type::kU16:
    case Type::kB16:
      return Function<uint16_t>::Get();
    case Type::kU32:
    case Type::kB32:
      return Function<uint32_t>::Get();
    case Type::kU64:
    case Type::kB64:
      return Function<uint64_t>::Get();
    case Type::kS16:
      return Function<int16_t>::Get();
    case Type::kS32:
      return Function<int32_t>::Get();
    case Type::kS64:
      return Function<int64_t>::Get();
    default:
      return nullptr;
  }
}

template <template <typename> class Function>
LaneFunction ForFloat(Type type) {
  if (type == Type::kF32) return Function<float>::Get();
  if (type == Type::kF64) return Function<double>::Get();
  return nullptr;
}

template <typename Operation>
struct Of {
  template <typename T>
  struct UnaryOf {
    static LaneFunction Get() { return Unary<Operation, T, T>; }
  };
  template <typename T>
  struct CountOf {
    static LaneFunction Get() { return Unary<Operation, uint32_t, T>; }
  };
  template <typename T>
  struct BinaryOf {
    static LaneFunction Get() { return Binary<Operation, T, T, T>; }
  };
  template <typename T>
  struct CompareOf {
    static LaneFunction Get() { return Binary<Operation, uint8_t, T, T>; }
  };
  template <typename T>
  struct ShiftOf {
    static LaneFunction Get() { return Binary<Operation, T, T, uint32_t>; }
  };
  template <typename T>
  struct TernaryOf {
    static LaneFunction Get() { return Ternary<Operation, T, T, T, T>; }
  };
  template <typename T>
  struct FieldOf {
    static LaneFunction Get() {
      return Ternary<Operation, T, T, uint32_t, uint32_t>;
    }
  };
};

// By type: an integer operation, or one of floats.
template <typename Operation>
LaneFunction BinaryFor(Type type) {
  return IsFloat(type) ? ForFloat<Of<Operation>::template BinaryOf>(type)
                       : ForInteger<Of<Operation>::template BinaryOf>(type);
}
template <typename Operation>
LaneFunction UnaryFor(Type type) {
  return IsFloat(type) ? ForFloat<Of<Operation>::template UnaryOf>(type)
                       : ForInteger<Of<Operation>::template UnaryOf>(type);
}

template <Comparison kComparison, bool kWithNaN>
LaneFunction CompareFor(Type type) {
  using Operation = Compare<kComparison, kWithNaN>;
  return IsFloat(type) ? ForFloat<Of<Operation>::template CompareOf>(type)
                       : ForInteger<Of<Operation>::template CompareOf>(type);
}

LaneFunction FindComparison(const std::string& name, Type type) {
  // Unsigned integers have names of their own, too.
  const auto is = [&](const char* one, const char* other) {
    return name == one || name == other;
  };
  if (name == "eq") return CompareFor<Comparison::kEqual, false>(type);
  if (name == "ne") return CompareFor<Comparison::kNotEqual, false>(type);
  if (is("lt", "lo")) return CompareFor<Comparison::kLess, false>(type);
  if (is("le", "ls")) return CompareFor<Comparison::kLessOrEqual, false>(type);
  if (is("gt", "hi")) return CompareFor<Comparison::kGreater, false>(type);
  if (is("ge", "hs")) {
    return CompareFor<Comparison::kGreaterOrEqual, false>(type);
  }
  if (!IsFloat(type)) return nullptr;
  if (name == "equ") return CompareFor<Comparison::kEqual, true>(type);
  if (name == "neu") return CompareFor<Comparison::kNotEqual, true>(type);
  if (name == "ltu") return CompareFor<Comparison::kLess, true>(type);
  if (name == "leu") return CompareFor<Comparison::kLessOrEqual, true>(type);
  if (name == "gtu") return CompareFor<Comparison::kGreater, true>(type);
  if (name == "geu") return CompareFor<Comparison::kGreaterOrEqual, true>(type);
  if (name == "num") return CompareFor<Comparison::kNumbers, false>(type);
  if (name == "nan") return CompareFor<Comparison::kNaN, false>(type);
  return nullptr;
}

// ---- cvt.

template <typename S>
LaneFunction ConvertInteger(Type to) {
  switch (to) {
    case Type::kU8:
    case Type::kB8:
      return Convert<To<uint8_t>, uint8_t, S>;
    case Type::kU16:
    case Type::kB16:
      return Convert<To<uint16_t>, uint16_t, S>;
    case Type::kU32:
    case Type::kB32:
      return Convert<To<uint32_t>, uint32_t, S>;
    case Type::kU64:
    case Type::kB64:
      return Convert<To<uint64_t>, uint64_t, S>;
    case Type::kS8:
      return Convert<To<int8_t>, int8_t, S>;
    case Type::kS16:
      return Convert<To<int16_t>, int16_t, S>;
    case Type::kS32:
      return Convert<To<int32_t>, int32_t, S>;
    case Type::kS64:
      return Convert<To<int64_t>, int64_t, S>;
    case Type::kF32:
      return Convert<To<float>, float, S>;
    case Type::kF64:
      return Convert<To<double>, double, S>;
    default:
      return nullptr;
  }
}

template <typename S, typename Round>
LaneFunction FloatToInteger(Type to) {
  switch (to) {
    case Type::kU32:
      return Convert<ToInteger<uint32_t, Round>, uint32_t, S>;
    case Type::kU64:
      return Convert<ToInteger<uint64_t, Round>, uint64_t, S>;
    case Type::kS32:
      return Convert<ToInteger<int32_t, Round>, int32_t, S>;
    case Type::kS64:
      return Convert<ToInteger<int64_t, Round>, int64_t, S>;
    default:
      return nullptr;
  }
}

template <typename S>
LaneFunction ConvertFloat(Type to, const Words& words) {
  const bool same = to == (sizeof(S) == 4 ? Type::kF32 : Type::kF64);
  if (same) {
    if (Has(words, "rpi")) return Convert<Ceil, S, S>;
    if (Has(words, "rmi")) return Convert<Floor, S, S>;
    if (Has(words, "rni")) return Convert<RoundToEven, S, S>;
    if (Has(words, "rzi")) return Convert<Truncate, S, S>;
    return nullptr;
  }
  if (to == Type::kF64) return Convert<To<double>, double, S>;
  if (to == Type::kF32 && Has(words, "rn")) return Convert<To<float>, float, S>;
  if (sizeof(S) == 4 && Has(words, "rn")) {
    if (to == Type::kF16) return Convert<FloatToHalf, uint16_t, float>;
    if (to == Type::kBF16) return Convert<FloatToBFloat16, uint16_t, float>;
  }
  if (Has(words, "rzi")) return FloatToInteger<S, Truncate>(to);
  if (Has(words, "rni")) return FloatToInteger<S, RoundToEven>(to);
  if (Has(words, "rmi")) return FloatToInteger<S, Floor>(to);
  if (Has(words, "rpi")) return FloatToInteger<S, Ceil>(to);
  return nullptr;
}

LaneFunction FindConversion(Type to, Type from, const Words& words) {
  if (IsFloat(to) && !IsFloat(from) && from != Type::kF16 &&
      from != Type::kBF16 && !Has(words, "rn")) {
    return nullptr;
  }
  switch (from) {
    case Type::kU8:
    case Type::kB8:
      return ConvertInteger<uint8_t>(to);
    case Type::kU16:
    case Type::kB16:
      return ConvertInteger<uint16_t>(to);
    case Type::kU32:
    case Type::kB32:
      return ConvertInteger<uint32_t>(to);
    case Type::kU64:
    case Type::kB64:
      return ConvertInteger<uint64_t>(to);
    case Type::kS8:
      return ConvertInteger<int8_t>(to);
    case Type::kS16:
      return ConvertInteger<int16_t>(to);
    case Type::kS32:
      return ConvertInteger<int32_t>(to);
    case Type::kS64:
      return ConvertInteger<int64_t>(to);
    case Type::kF32:
      return ConvertFloat<float>(to, words);
    case Type::kF64:
      return ConvertFloat<double>(to, words);
    case Type::kF16:
      return to == Type::kF32 ? Convert<HalfToFloat, float, uint16_t> : nullptr;
    case Type::kBF16:
      return to == Type::kF32 ? Convert<BFloat16ToFloat, float, uint16_t>
                              : nullptr;
    default:
      return nullptr;
  }
}

// ---- Everything by name.

LaneFunction FindPredicateLogic(const std::string& name) {
  if (name == "and") return Binary<And, uint8_t, uint8_t, uint8_t>;
  if (name == "or") return Binary<Or, uint8_t, uint8_t, uint8_t>;
  if (name == "xor") return Binary<Xor, uint8_t, uint8_t, uint8_t>;
  if (name == "not") return Unary<NotPredicate, uint8_t, uint8_t>;
  if (name == "mov") return Unary<Same, uint8_t, uint8_t>;
  return nullptr;
}

template <typename T>
struct SelectOf {
  static LaneFunction Get() { return Select<T>; }
};

LaneFunction FindWideProduct(const std::string& name, Type type) {
  const bool add = name == "mad";
  switch (type) {
    case Type::kS16:
      return add ? LaneFunction(Ternary<MultiplyAddWide<int32_t>, int32_t,
                                        int16_t, int16_t, int32_t>)
                 : Binary<MultiplyWide<int32_t>, int32_t, int16_t, int16_t>;
    case Type::kU16:
      return add ? LaneFunction(Ternary<MultiplyAddWide<uint32_t>, uint32_t,
                                        uint16_t, uint16_t, uint32_t>)
                 : Binary<MultiplyWide<uint32_t>, uint32_t, uint16_t, uint16_t>;
    case Type::kS32:
      return add ? LaneFunction(Ternary<MultiplyAddWide<int64_t>, int64_t,
                                        int32_t, int32_t, int64_t>)
                 : Binary<MultiplyWide<int64_t>, int64_t, int32_t, int32_t>;
    case Type::kU32:
      return add ? LaneFunction(Ternary<MultiplyAddWide<uint64_t>, uint64_t,
                                        uint32_t, uint32_t, uint64_t>)
                 : Binary<MultiplyWide<uint64_t>, uint64_t, uint32_t, uint32_t>;
    default:
      return nullptr;
  }
}

// Of twice as many bits.
Type Widened(Type type) {
  switch (type) {
    case Type::kS16:
      return Type::kS32;
    case Type::kU16:
      return Type::kU32;
    case Type::kS32:
      return Type::kS64;
    default:
      return Type::kU64;
  }
}

class Finder {
 public:
  explicit Finder(const Words& words) : words_(words), name_(words[0]) {
    for (size_t i = 1; i < words.size(); ++i) {
      const Type type = ParseType(words[i]);
      if (type == Type::kNone) continue;
      (type_ == Type::kNone ? type_ : other_type_) = type;
    }
  }

  Arithmetic Find() const {
    // These change results, and no instruction here has them.
    for (const char* modifier : {"ftz", "sat", "approx", "full", "cc"}) {
      if (Has(words_, modifier)) return {};
    }
    if (type_ == Type::kNone) return {};
    if (name_ == "cvt") return Conversion();
    if (type_ == Type::kPred) return Predicates();
    if (name_ == "mov") return Uniform(1, Class::kMove, UnaryFor<Same>(type_));
    if (name_ == "setp") return Compared();
    if (name_ == "selp") return Selection();
    if (IsFloat(type_)) return Floats();
    return Integers();
  }

 private:
  // All registers of the one type.
  Arithmetic Uniform(int sources, Class counted_as,
                     LaneFunction function) const {
    return {function, sources, counted_as, type_, {type_, type_, type_}};
  }

  Arithmetic Conversion() const {
    if (other_type_ == Type::kNone) return {};
    return {FindConversion(type_, other_type_, words_), 1, Class::kConversion};
  }

  Arithmetic Predicates() const {
    return Uniform(name_ == "not" || name_ == "mov" ? 1 : 2, Class::kCompare,
                   FindPredicateLogic(name_));
  }

  Arithmetic Compared() const {
    // A comparison and what is done with it at once has more words.
    if (words_.size() != 3) return {};
    Arithmetic found =
        Uniform(2, Class::kCompare, FindComparison(words_[1], type_));
    found.destination = Type::kPred;
    return found;
  }

  Arithmetic Selection() const {
    LaneFunction function = ForInteger<SelectOf>(type_);
    if (IsFloat(type_)) function = ForFloat<SelectOf>(type_);
    Arithmetic found = Uniform(3, Class::kCompare, function);
    found.source[2] = Type::kPred;
    return found;
  }

  Arithmetic Floats() const {
    const Class adds = type_ == Type::kF64 ? Class::kFloat64 : Class::kFloat32;
    const bool nearest = Has(words_, "rn") || words_.size() == 2;
    if (name_ == "min") return Uniform(2, adds, BinaryFor<Least>(type_));
    if (name_ == "max") return Uniform(2, adds, BinaryFor<Largest>(type_));
    if (name_ == "neg") return Uniform(1, adds, UnaryFor<Negate>(type_));
    if (name_ == "abs") return Uniform(1, adds, UnaryFor<Absolute>(type_));
    if (!nearest) return {};
    if (name_ == "add") return Uniform(2, adds, BinaryFor<Add>(type_));
    if (name_ == "sub") return Uniform(2, adds, BinaryFor<Subtract>(type_));
    if (name_ == "mul") return Uniform(2, adds, BinaryFor<Multiply>(type_));
    if (!Has(words_, "rn")) return {};
    if (name_ == "fma") {
      return Uniform(3, adds, ForFloat<Of<FusedMultiplyAdd>::TernaryOf>(type_));
    }
    const Class divides = Class::kFloatDivision;
    if (name_ == "div") return Uniform(2, divides, BinaryFor<Divide>(type_));
    if (name_ == "rcp") {
      return Uniform(1, divides, ForFloat<Of<Reciprocal>::UnaryOf>(type_));
    }
    if (name_ == "sqrt") {
      return Uniform(1, divides, ForFloat<Of<SquareRoot>::UnaryOf>(type_));
    }
    return {};
  }

  Arithmetic Integers() const {
    const Class adds = BytesOf(type_) == 8 ? Class::kInt64 : Class::kInt32;
    if (name_ == "mul" || name_ == "mad") return Products(adds);
    if (name_ == "add") return Uniform(2, adds, BinaryFor<Add>(type_));
    if (name_ == "sub") return Uniform(2, adds, BinaryFor<Subtract>(type_));
    if (name_ == "min") return Uniform(2, adds, BinaryFor<Least>(type_));
    if (name_ == "max") return Uniform(2, adds, BinaryFor<Largest>(type_));
    if (name_ == "and") return Uniform(2, adds, Integer<And>());
    if (name_ == "or") return Uniform(2, adds, Integer<Or>());
    if (name_ == "xor") return Uniform(2, adds, Integer<Xor>());
    if (name_ == "not") {
      return Uniform(1, adds, ForInteger<Of<Not>::UnaryOf>(type_));
    }
    if (name_ == "neg") return Uniform(1, adds, UnaryFor<Negate>(type_));
    if (name_ == "abs") return Uniform(1, adds, UnaryFor<Absolute>(type_));
    if (name_ == "div" || name_ == "rem") {
      Arithmetic found =
          Uniform(2, Class::kIntDivision,
                  name_ == "div" ? Integer<Divide>() : Integer<Remainder>());
      found.divides = true;
      return found;
    }
    if (name_ == "shl" || name_ == "shr") {
      Arithmetic found =
          Uniform(2, adds,
                  name_ == "shl" ? ForInteger<Of<ShiftLeft>::ShiftOf>(type_)
                                 : ForInteger<Of<ShiftRight>::ShiftOf>(type_));
      found.source[1] = Type::kU32;
      return found;
    }
    if (name_ == "bfe") {
      Arithmetic found =
          Uniform(3, adds, ForInteger<Of<ExtractBits>::FieldOf>(type_));
      found.source[1] = found.source[2] = Type::kU32;
      return found;
    }
    if (name_ == "popc" || name_ == "clz") {
      Arithmetic found = Uniform(
          1, Class::kInt32,
          name_ == "popc" ? ForInteger<Of<CountOnes>::CountOf>(type_)
                          : ForInteger<Of<CountLeadingZeros>::CountOf>(type_));
      found.destination = Type::kU32;
      return found;
    }
    if (type_ != Type::kB32) return {};
    if (name_ == "prmt" && words_.size() == 2) return Three32<Permute>();
    if (name_ == "shf" && Has(words_, "wrap")) {
      return Has(words_, "l") ? Three32<FunnelShiftLeft>()
                              : Three32<FunnelShiftRight>();
    }
    return {};
  }

  Arithmetic Products(Class adds) const {
    const int sources = name_ == "mad" ? 3 : 2;
    if (Has(words_, "wide")) {
      Arithmetic found =
          Uniform(sources, Class::kInt64, FindWideProduct(name_, type_));
      found.destination = found.source[2] = Widened(type_);
      return found;
    }
    if (Has(words_, "hi") && sources == 2) {
      return Uniform(2, adds, Integer<MultiplyHigh>());
    }
    if (!Has(words_, "lo")) return {};
    return Uniform(sources, adds,
                   sources == 3 ? ForInteger<Of<MultiplyAdd>::TernaryOf>(type_)
                                : BinaryFor<Multiply>(type_));
  }

  template <typename Operation>
  LaneFunction Integer() const {
    return ForInteger<Of<Operation>::template BinaryOf>(type_);
  }
  template <typename Operation>
  Arithmetic Three32() const {
    return Uniform(3, Class::kInt32,
                   Ternary<Operation, uint32_t, uint32_t, uint32_t, uint32_t>);
  }

  const Words& words_;
  const std::string& name_;
  Type type_ = Type::kNone;
  Type other_type_ = Type::kNone;
};

}  // namespace

Arithmetic FindArithmetic(const std::vector<std::string>& words) {
  return Finder(words).Find();
}

}  // namespace ptx
}  // namespace tf_roialign
