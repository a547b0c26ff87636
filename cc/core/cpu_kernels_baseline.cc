#define TF_ROIALIGN_LEVEL baseline
#include "cc/core/cpu_kernels-inl.h"
