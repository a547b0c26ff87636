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
"""

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
