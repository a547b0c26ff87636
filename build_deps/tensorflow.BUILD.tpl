package(default_visibility = ["//visibility:public"])

# Named on the link line by those who make a shared library: as a cc_library's
# source it would give that library an rpath into Bazel's output.
exports_files([
    "libtensorflow_cc.so.2",
    "libtensorflow_framework.so.2",
])

# `includes` makes TensorFlow's headers system headers: no warnings from them.
cc_library(
    name = "tensorflow",
    hdrs = glob([
        "include/**/*.def",
        "include/**/*.h",
        "include/**/*.hpp",
        "include/**/*.inc",
        "include/Eigen/**",
        "include/unsupported/**",
    ]),
    defines = %{DEFINES},
    includes = ["include"],
)

# What the headers of TensorFlow's compiler ask for besides.
cc_library(
    name = "compiler_headers",
    hdrs = glob([
        "include/external/farmhash_archive/src/*.h",
        "include/external/highwayhash/highwayhash/*.h",
        "jaxlib_include/**/*",
    ]),
    includes = [
        "include/external/farmhash_archive/src",
        "include/external/highwayhash",
        "jaxlib_include",
    ],
    deps = [":tensorflow"],
)

# For programs that have no TensorFlow in their process yet.
cc_library(
    name = "runtime",
    srcs = [
        "libtensorflow_cc.so.2",
        "libtensorflow_framework.so.2",
    ],
    deps = [":tensorflow"],
)
