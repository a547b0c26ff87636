"""Finds the TensorFlow that is installed and makes it a C++ dependency.

The Python that is asked is, in this order: $TF_ROIALIGN_PYTHON, the checkout's
.venv/bin/python, python3 on PATH.
"""

# An answer of TensorFlow's own, one `key=value` a line; TF's start-up may print more.
_QUERY = """
import tensorflow as tf
print("version=" + tf.__version__)
print("include=" + tf.sysconfig.get_include())
print("lib=" + tf.sysconfig.get_lib())
for flag in tf.sysconfig.get_compile_flags():
    print("flag=" + flag)
import importlib.util
jaxlib = importlib.util.find_spec("jaxlib")
if jaxlib:
    print("jaxlib=" + jaxlib.submodule_search_locations[0])
"""

# The C++ face of XLA's custom calls. TensorFlow 2.18 has the C one that it is written against,
# but not the file itself; jaxlib 0.4.34, of the same XLA, has both.
_FFI = "include/xla/ffi/api/"

def _add_ffi_header(repository_ctx, found):
    """Puts the header into jaxlib_include if TensorFlow has none and a fitting jaxlib does."""
    repository_ctx.file("jaxlib_include/README", "Empty, or what TensorFlow's headers lack.\n")
    if repository_ctx.path(_FFI + "ffi.h").exists or "jaxlib" not in found:
        return
    theirs = found["jaxlib"] + "/" + _FFI
    for header in ["api.h", "c_api.h"]:
        if repository_ctx.read(theirs + header) != repository_ctx.read(_FFI + header):
            return
    repository_ctx.symlink(theirs + "ffi.h", "jaxlib_include/xla/ffi/api/ffi.h")

# $TF_ROIALIGN_TF_VERSION is not read: `make setup` sets it (in .bazelrc.local) so
# that Bazel runs this rule again when another TensorFlow is installed.
# PYTHONPATH: pip builds with a TensorFlow that is only there.
_ENVIRON = ["TF_ROIALIGN_PYTHON", "TF_ROIALIGN_TF_VERSION", "PATH", "PYTHONPATH"]

def _find_python(repository_ctx):
    named = repository_ctx.os.environ.get("TF_ROIALIGN_PYTHON", "")
    if named:
        return named
    workspace = repository_ctx.path(Label("//:WORKSPACE")).dirname
    in_venv = workspace.get_child(".venv").get_child("bin").get_child("python")
    if in_venv.exists:
        return str(in_venv)
    on_path = repository_ctx.which("python3")
    if on_path:
        return str(on_path)
    fail("There is no python3 on PATH: install Python, or set TF_ROIALIGN_PYTHON to one.")

def _query_tensorflow(repository_ctx, python):
    # CUDA is no matter here; hiding it makes the import faster and quieter.
    result = repository_ctx.execute(
        [python, "-c", _QUERY],
        environment = {"CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    if result.return_code != 0:
        fail(("TensorFlow cannot be imported by {}: run `make setup`, or set TF_ROIALIGN_PYTHON " +
              "to a Python that has TensorFlow ({}).").format(
            python,
            (result.stderr.strip().split("\n") or [""])[-1],
        ))
    found = {"flag": []}
    for line in result.stdout.split("\n"):
        key, separator, value = line.strip().partition("=")
        if key == "flag":
            found["flag"].append(value)
        elif separator:
            found[key] = value
    return found

def _local_tensorflow_impl(repository_ctx):
    found = _query_tensorflow(repository_ctx, _find_python(repository_ctx))

    # -I is replaced by the symlink below; what remains is the ABI and the language.
    defines = [f[2:] for f in found["flag"] if f.startswith("-D")]
    copts = [f for f in found["flag"] if f.startswith("-std=") or f.startswith("--std=")]

    header = repository_ctx.path(found["include"] + "/tensorflow/core/public/version.h")
    if not header.exists:
        fail("TensorFlow {} has no C++ headers in {}: reinstall it.".format(
            found["version"],
            found["include"],
        ))
    if hasattr(repository_ctx, "watch"):  # Bazel 7.1 and later
        repository_ctx.watch(header)

    repository_ctx.symlink(found["include"], "include")
    for library in ["libtensorflow_framework.so.2", "libtensorflow_cc.so.2"]:
        repository_ctx.symlink(found["lib"] + "/" + library, library)
    _add_ffi_header(repository_ctx, found)
    repository_ctx.template(
        "BUILD",
        Label("//build_deps:tensorflow.BUILD.tpl"),
        {"%{DEFINES}": repr(defines)},
    )
    repository_ctx.file("version.bzl", "\n".join([
        '"""The TensorFlow that is compiled against."""',
        "TF_VERSION = {}".format(repr(found["version"])),
        "TF_COPTS = {}".format(repr(copts)),
        "",
    ]))

local_tensorflow = repository_rule(
    implementation = _local_tensorflow_impl,
    configure = True,
    environ = _ENVIRON,
    local = True,
)
