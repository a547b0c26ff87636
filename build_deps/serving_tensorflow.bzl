"""In the place of the installed TensorFlow, the one that TensorFlow Serving compiles.

For TensorFlow Serving's WORKSPACE: docs/serving.md.
"""

_BUILD = """
cc_library(
    name = "tensorflow",
    visibility = ["//visibility:public"],
    deps = [
        "@org_tensorflow//tensorflow/core:framework",
        "@org_tensorflow//tensorflow/core:lib",
    ],
)
"""

_VERSION = """
TF_VERSION = "of TensorFlow Serving"
TF_COPTS = []
"""

def _serving_tensorflow_impl(repository_ctx):
    repository_ctx.file("BUILD", _BUILD)
    repository_ctx.file("version.bzl", _VERSION)

serving_tensorflow = repository_rule(implementation = _serving_tensorflow_impl)

_NO_CUDA_BUILD = """
cc_library(
    name = "runtime",
    visibility = ["//visibility:public"],
)
"""

_NO_CUDA_TOOLKIT = """
CUDA_VERSION = None
CUDA_NVCC = None
CUDA_ARCHITECTURES = []
CUDA_NOTE = "TensorFlow Serving's build leaves them out"
"""

def _serving_without_cuda_impl(repository_ctx):
    repository_ctx.file("BUILD", _NO_CUDA_BUILD)
    repository_ctx.file("toolkit.bzl", _NO_CUDA_TOOLKIT)

serving_without_cuda = repository_rule(implementation = _serving_without_cuda_impl)
