// operator new of a test program that has counting_new.cc: it counts what is
// allocated, and fails when it is told to. From all threads.

#ifndef TF_ROIALIGN_CC_CORE_TESTING_COUNTING_NEW_H_
#define TF_ROIALIGN_CC_CORE_TESTING_COUNTING_NEW_H_

#include <cstdint>

namespace tf_roialign {

// Of what has been allocated and not yet freed.
int64_t LiveBlocks();
int64_t LiveBytes();

// The most LiveBytes() since the last call of it, in which it begins anew.
int64_t TakePeakBytes();

// Which allocations fail, once some have succeeded.
enum class Failing { kOne, kAllFromThen };

void FailAfter(int64_t allocations, Failing failing);
// Returns whether any has failed.
bool StopFailing();

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_TESTING_COUNTING_NEW_H_
