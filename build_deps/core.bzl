"""How the core's libraries and their tests are compiled."""

load("//build_deps:copts.bzl", "COPTS")

def _headers_of(label):
    """The label of a core_library's headers: "//a/b" is //a/b:b, hence //a/b:b_headers."""
    if label.startswith("@"):
        return label
    if ":" not in label:
        label += ":" + label.split("/")[-1]
    return label + "_headers"

def core_library(name, srcs = [], hdrs = [], deps = [], link_deps = [], copts = [], **kwargs):
    """A cc_library of cc/core, and `<name>_headers`: its headers, with nothing to link.

    The libraries for TensorFlow and XLA compile against the headers, and find the rest in
    the core's shared library.

    Args:
      name: Of the target.
      srcs: As cc_library has it.
      hdrs: As cc_library has it.
      deps: Core libraries whose headers the headers or the sources include.
      link_deps: What is only linked.
      copts: Besides those of all C++ code.
      **kwargs: Of both targets.
    """
    native.cc_library(
        name = name + "_headers",
        hdrs = hdrs,
        deps = [_headers_of(label) for label in deps],
        **kwargs
    )
    native.cc_library(
        name = name,
        srcs = srcs,
        hdrs = hdrs,
        copts = COPTS + ["-O3"] + copts,
        deps = deps + link_deps,
        # All of it becomes the shared library.
        alwayslink = True,
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
