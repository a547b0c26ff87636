"""The dtypes of dtypes.h that CUDA's compiler makes kernels of, one object each."""

FLOAT_TYPES = {
    "half": "Half",
    "bfloat16": "BFloat16",
    "float": "float",
    "double": "double",
}
