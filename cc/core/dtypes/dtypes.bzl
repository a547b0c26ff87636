"""The dtypes of dtypes.h that CUDA's compiler makes kernels of, one object each."""

FLOAT_TYPES = {
    "half": "Half",
    "bfloat16": "BFloat16",
    "float": "float",
    "double": "double",
}

# Those of quantized features.
CODE_TYPES = {
    "int8": "int8_t",
    "uint8": "uint8_t",
    "int32": "int32_t",
}
