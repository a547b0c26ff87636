// The table of dtypes. Instantiations, kernels, registrations with TensorFlow
// and XLA and the tests go through it: a dtype is a line here, and what makes
// it one of its own (Accumulator, NaN, the SIMD lanes and the CUDA
// conversions), which the compiler asks for.
//
// The names that hosts have for a type are words here, which only those who
// know the host expand.

#ifndef TF_ROIALIGN_CC_CORE_DTYPES_DTYPES_H_
#define TF_ROIALIGN_CC_CORE_DTYPES_DTYPES_H_

#include <cstdint>

#include "cc/core/dtypes/float16.h"

// Of features and what is pooled of them:
//   X(type, in TensorFlow's C++ API, in xla::ffi::DataType).
// dtypes.bzl lists the same for CUDA's compiler; what is missing there does not
// link.
#define TF_ROIALIGN_FOR_EACH_FLOAT(X) \
  X(Half, Eigen::half, F16)           \
  X(BFloat16, Eigen::bfloat16, BF16)  \
  X(float, float, F32)                \
  X(double, double, F64)

// Of quantized features:
//   X(type, in TensorFlow's C++ API as an integer, and as a quantized type, in
//     xla::ffi::DataType).
#define TF_ROIALIGN_FOR_EACH_CODE(X)          \
  X(int8_t, int8_t, tensorflow::qint8, S8)    \
  X(uint8_t, uint8_t, tensorflow::quint8, U8) \
  X(int32_t, int32_t, tensorflow::qint32, S32)

// Of boxes: X(type).
#define TF_ROIALIGN_FOR_EACH_BOX_TYPE(X) \
  X(float)                               \
  X(double)

#endif  // TF_ROIALIGN_CC_CORE_DTYPES_DTYPES_H_
