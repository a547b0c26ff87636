// The documentation of the graph ops.

#ifndef TF_ROIALIGN_CC_OPS_DOCS_H_
#define TF_ROIALIGN_CC_OPS_DOCS_H_

#include <string>

#include "cc/core/call/op.h"

namespace tf_roialign {

// As OpDefBuilder::Doc takes it: a summary, then inputs, outputs and
// attributes.
std::string DocOf(const OpInfo& info);

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_OPS_DOCS_H_
