// Sorts boxes by a number each.

#ifndef TF_ROIALIGN_CC_CORE_CPU_BOX_ORDER_H_
#define TF_ROIALIGN_CC_CORE_CPU_BOX_ORDER_H_

#include <cstdint>

#include "cc/core/cpu/raw_array.h"

namespace tf_roialign {

struct BoxKey {
  uint64_t key;
  int64_t box;
};

// By key, those of one key by box; they come by box. Keys have `bits` bits.
//
// No other thread works meanwhile, so it is a radix sort: 2.7 ns a box where
// std::sort takes 31 (1000 boxes, keys of 13 bits).
void SortByKey(int bits, RawArray<BoxKey>* keys);

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CPU_BOX_ORDER_H_
