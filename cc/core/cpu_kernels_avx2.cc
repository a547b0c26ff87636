#define TF_ROIALIGN_LEVEL avx2
#include "cc/core/cpu_kernels-inl.h"
