// Compiled once for each SIMD level, which TF_ROIALIGN_LEVEL names.

#include "cc/core/cpu/simd/kernels-inl.h"
