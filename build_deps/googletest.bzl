"""Finds the system's GoogleTest (Debian: libgtest-dev)."""

_BUILD = """
# The headers are in a system include directory already.
cc_library(
    name = "gtest_main",
    linkopts = ["-lgtest", "-lgtest_main", "-lpthread"],
    visibility = ["//visibility:public"],
)
"""

def _local_googletest_impl(repository_ctx):
    for prefix in ["/usr", "/usr/local"]:
        if repository_ctx.path(prefix + "/include/gtest/gtest.h").exists:
            repository_ctx.file("BUILD", _BUILD)
            return
    fail("GoogleTest is not installed: run `make setup`, or `apt-get install libgtest-dev`.")

local_googletest = repository_rule(
    implementation = _local_googletest_impl,
    configure = True,
    local = True,
)
