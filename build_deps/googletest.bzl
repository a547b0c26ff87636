"""Finds the system's GoogleTest (Debian: libgtest-dev).

$TF_ROIALIGN_GOOGLETEST=sources compiles its sources, which that package brings along, for
where the tests are for another processor.
"""

_BUILD = """
# The headers are in a system include directory already.
cc_library(
    name = "gtest_main",
    linkopts = ["-lgtest", "-lgtest_main", "-lpthread"],
    visibility = ["//visibility:public"],
)
"""

_BUILD_OF_SOURCES = """
cc_library(
    name = "gtest_main",
    srcs = [
        "googletest/src/gtest-all.cc",
        "googletest/src/gtest_main.cc",
    ],
    hdrs = glob(["googletest/include/**/*.h"]),
    textual_hdrs = glob([
        "googletest/src/*.cc",
        "googletest/src/*.h",
    ]),
    includes = [
        "googletest",
        "googletest/include",
    ],
    linkopts = ["-lpthread"],
    visibility = ["//visibility:public"],
)
"""

_SOURCES = "/usr/src/googletest/googletest"

def _local_googletest_impl(repository_ctx):
    if repository_ctx.os.environ.get("TF_ROIALIGN_GOOGLETEST", "") == "sources":
        if not repository_ctx.path(_SOURCES).exists:
            fail("GoogleTest's sources are not in {}: `apt-get install googletest`.".format(_SOURCES))
        repository_ctx.symlink(_SOURCES, "googletest")
        repository_ctx.file("BUILD", _BUILD_OF_SOURCES)
        return
    for prefix in ["/usr", "/usr/local"]:
        if repository_ctx.path(prefix + "/include/gtest/gtest.h").exists:
            repository_ctx.file("BUILD", _BUILD)
            return
    fail("GoogleTest is not installed: run `make setup`, or `apt-get install libgtest-dev`.")

local_googletest = repository_rule(
    implementation = _local_googletest_impl,
    configure = True,
    environ = ["TF_ROIALIGN_GOOGLETEST"],
    local = True,
)
