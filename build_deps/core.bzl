"""How the core's libraries and their tests are compiled."""

load("//build_deps:copts.bzl", "COPTS")

def core_library(name, copts = [], **kwargs):
    """A cc_library of cc/core.

    Args:
      name: Of the target.
      copts: Besides those of all C++ code.
      **kwargs: Of cc_library.
    """
    native.cc_library(
        name = name,
        copts = COPTS + ["-O3"] + copts,
        **kwargs
    )

def core_test(name, deps, size = "small", **kwargs):
    """A GoogleTest program: the file of that name, beside what it tests.

    Args:
      name: Of the target, and of the file but for its ending.
      deps: What it tests.
      size: As Bazel has it.
      **kwargs: Of cc_test.
    """
    native.cc_test(
        name = name,
        size = size,
        srcs = [name + ".cc"],
        copts = COPTS,
        deps = deps + ["@local_googletest//:gtest_main"],
        **kwargs
    )
