// The headers of TensorFlow's compiler, which move from version to version:
// whoever needs one includes this first.

#ifndef TF_ROIALIGN_CC_XLA_COMPILER_HEADERS_H_
#define TF_ROIALIGN_CC_XLA_COMPILER_HEADERS_H_

#include "tensorflow/core/public/version.h"

// TensorFlow 2.19 includes headers of LLVM that it does not ship, for a class
// that nobody here uses.
#if TF_MAJOR_VERSION == 2 && TF_MINOR_VERSION == 19
#define XLA_STREAM_EXECUTOR_GPU_TMA_METADATA_H_
namespace stream_executor::gpu {
class TmaDescriptor {};
}  // namespace stream_executor::gpu
#endif

// IWYU pragma: begin_exports
#include "tensorflow/compiler/tf2xla/xla_op_kernel.h"
#include "tensorflow/compiler/tf2xla/xla_op_registry.h"
#include "xla/literal.h"
#include "xla/shape_util.h"
#if __has_include("xla/hlo/builder/xla_builder.h")
#include "xla/hlo/builder/xla_builder.h"
#else  // TensorFlow 2.18
#include "xla/client/xla_builder.h"
#endif
// IWYU pragma: end_exports

#endif  // TF_ROIALIGN_CC_XLA_COMPILER_HEADERS_H_
