#define TF_ROIALIGN_LEVEL avx512
#include "cc/core/cpu_kernels-inl.h"
