// Numbers out of any bytes.

#ifndef TF_ROIALIGN_CC_CORE_FUZZ_BYTE_READER_H_
#define TF_ROIALIGN_CC_CORE_FUZZ_BYTE_READER_H_

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace tf_roialign {

// When the bytes are used up, others follow that depend on all before, so that
// few bytes make a call with boxes of every kind.
class ByteReader {
 public:
  ByteReader(const uint8_t* data, size_t size) : data_(data), left_(size) {}

  uint8_t Byte() {
    if (left_ == 0) return static_cast<uint8_t>(Random() >> 56);
    --left_;
    state_ = (state_ ^ *data_) * kFactor + 1;
    return *data_++;
  }
  // 0 <= result < count <= 256.
  int64_t Below(int64_t count) { return Byte() % count; }
  // Of each `count` of all bytes one says yes, 0 never.
  bool OneIn(int count) { return Below(count) == count - 1; }
  template <typename Number>
  Number Bits() {
    unsigned char bytes[sizeof(Number)];
    for (unsigned char& byte : bytes) byte = Byte();
    Number number;
    std::memcpy(&number, bytes, sizeof(number));
    return number;
  }
  template <typename Number, size_t kCount>
  Number OneOf(const Number (&numbers)[kCount]) {
    static_assert(kCount <= 256, "");
    return numbers[Below(kCount)];
  }

  // Of what follows the bytes; takes none.
  uint64_t Random() {
    state_ = state_ * kFactor + 0x9e3779b97f4a7c15u;
    return (state_ ^ (state_ >> 29)) * kFactor;
  }

 private:
  static constexpr uint64_t kFactor = 0xd1342543de82ef95u;

  const uint8_t* data_;
  size_t left_;
  uint64_t state_ = 1;
};

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_FUZZ_BYTE_READER_H_
