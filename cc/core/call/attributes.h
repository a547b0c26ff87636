// The ranges of attributes, by type.

#ifndef TF_ROIALIGN_CC_CORE_CALL_ATTRIBUTES_H_
#define TF_ROIALIGN_CC_CORE_CALL_ATTRIBUTES_H_

#include <cstdint>
#include <string>

#include "cc/core/base/status.h"
#include "cc/core/base/visibility.h"
#include "cc/core/call/op.h"
#include "cc/core/call/params.h"
#include "cc/core/call/shape.h"

namespace tf_roialign {

// `name`: of the attribute.
Status CheckAttribute(const char* name, const OutputSize& value);
Status CheckAttribute(const char* name, const Scale& value);
Status CheckAttribute(const char* name, int64_t value);
inline Status CheckAttribute(const char*, bool) { return {}; }
Status CheckAttribute(const char* name, double value);
inline Status CheckAttribute(const char*, Layout) { return {}; }
inline Status CheckAttribute(const char*, Mode) { return {}; }

// All of them.
TF_ROIALIGN_API Status CheckParams(Op op, const OpParams& params);

// Of what is no output size: not two numbers, or one that is less than 1.
TF_ROIALIGN_API Status BadOutputSize(const char* name, const Shape& sizes);

// Of quantized features, whose codes are in [lowest, highest].
TF_ROIALIGN_API Status CheckQuantization(float scale, int64_t zero_point,
                                         int64_t lowest, int64_t highest);

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CALL_ATTRIBUTES_H_
