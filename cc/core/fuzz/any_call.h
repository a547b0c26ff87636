// A call of any op with anything in it, right or wrong, out of bytes.

#ifndef TF_ROIALIGN_CC_CORE_FUZZ_ANY_CALL_H_
#define TF_ROIALIGN_CC_CORE_FUZZ_ANY_CALL_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "cc/core/call/op.h"
#include "cc/core/call/params.h"
#include "cc/core/call/shape.h"
#include "cc/core/call/signature.h"
#include "cc/core/fuzz/byte_reader.h"
#include "cc/core/fuzz/tensor.h"

namespace tf_roialign {

// What a host knows before it reads any data.
struct AnyCall {
  struct Operand {
    Input input;
    int map;
    Shape shape;  // perhaps wrong, or unknown in part
  };

  OpInfo info;
  OpParams params;
  Dtype dtype;      // of features
  Dtype box_dtype;  // float or double
  bool indices_are_64_bit;
  bool levels_are_64_bit;
  int64_t map_count;  // that is claimed; there are operands if it may be
  std::vector<Operand> operands;
  int64_t features_sizes[kMaxMaps][4];  // the values of features_shape

  // How it is run: by which of the usable SIMD levels, and in how many pieces,
  // by two threads or by one.
  int level;
  int64_t pieces;
  bool by_threads;
  bool aligned;  // the memory, to cache lines
};

AnyCall ReadCall(ByteReader* bytes);

// The data of an operand whose shape is right.
Tensor ReadData(const AnyCall& call, const AnyCall::Operand& operand,
                const Signature& signature, ByteReader* bytes);

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_FUZZ_ANY_CALL_H_
