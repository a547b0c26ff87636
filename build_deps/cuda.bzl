"""Finds a CUDA toolkit, if there is one, and compiles with its nvcc.

Looked for, in this order: what $TF_ROIALIGN_CUDA, $CUDA_HOME or $CUDA_PATH name,
PyPI's NVIDIA wheels in the checkout's .venv, nvcc on PATH, /usr/local/cuda.
TF_ROIALIGN_CUDA may also be "none" (leave CUDA out) or "required" (fail if there is
no toolkit); --config=nocuda and --config=cuda set these.

TF_ROIALIGN_CUDA_ARCHITECTURES, "75,80,90", names the architectures to compile for;
code of the last one can be compiled by the driver for later ones. Default: "default",
what a wheel should have; "all": every major one from 75 to the newest that nvcc knows.
"""

_DEFAULT_ARCHITECTURES = [75, 80, 86, 89, 90, 100, 120]

_ENVIRON = [
    "TF_ROIALIGN_CUDA",
    "TF_ROIALIGN_CUDA_ARCHITECTURES",
    "TF_ROIALIGN_CUDA_VERSION",  # not read: the set-up sets it to have this run again
    "CUDA_HOME",
    "CUDA_PATH",
    "PATH",
]

_BUILD = """
package(default_visibility = ["//visibility:public"])

# Statically linked, so that the library needs no CUDA where it is loaded.
cc_library(
    name = "runtime",
    srcs = %s,
    linkopts = ["-ldl", "-lpthread", "-lrt"],
)
"""

def _candidates(repository_ctx):
    environ = repository_ctx.os.environ
    found = []
    for name in ["TF_ROIALIGN_CUDA", "CUDA_HOME", "CUDA_PATH"]:
        value = environ.get(name, "")
        if value.startswith("/"):
            found.append(value)
    libs = repository_ctx.path(Label("//:WORKSPACE")).dirname.get_child(".venv").get_child("lib")
    if libs.exists:
        for python in libs.readdir():
            nvidia = python.get_child("site-packages").get_child("nvidia")
            if nvidia.exists:
                for toolkit in nvidia.readdir():
                    found.append(str(toolkit))
    nvcc = repository_ctx.which("nvcc")
    if nvcc:
        found.append(str(nvcc.realpath.dirname.dirname))
    found.append("/usr/local/cuda")
    return found

def _find_static_runtime(repository_ctx, toolkit):
    for folder in ["lib64", "lib", "targets/x86_64-linux/lib", "targets/sbsa-linux/lib"]:
        library = repository_ctx.path(toolkit + "/" + folder + "/libcudart_static.a")
        if library.exists:
            return library
    return None

def _find_toolkit(repository_ctx):
    for toolkit in _candidates(repository_ctx):
        nvcc = repository_ctx.path(toolkit + "/bin/nvcc")
        if nvcc.exists and _find_static_runtime(repository_ctx, toolkit):
            return toolkit
    return None

def _run(repository_ctx, command):
    result = repository_ctx.execute(command)
    if result.return_code != 0:
        fail("{} does not run: {}".format(command[0], result.stderr.strip()))
    return result.stdout

def _version(repository_ctx, nvcc):
    for word in _run(repository_ctx, [nvcc, "--version"]).replace(",", " ").split(" "):
        if word.startswith("V") and "." in word:
            return ".".join(word.strip()[1:].split(".")[:2])
    return "of unknown version"

def _architectures(repository_ctx, nvcc):
    known = []
    for line in _run(repository_ctx, [nvcc, "--list-gpu-code"]).split("\n"):
        number = line.strip()[len("sm_"):]
        if number.isdigit():
            known.append(int(number))
    asked = repository_ctx.os.environ.get("TF_ROIALIGN_CUDA_ARCHITECTURES", "default")
    if asked == "all":
        return [a for a in known if a >= 75]
    if asked == "default":
        return [a for a in _DEFAULT_ARCHITECTURES if a in known]
    chosen = []
    for word in asked.split(","):
        if not word.strip().isdigit() or int(word) not in known:
            fail(("TF_ROIALIGN_CUDA_ARCHITECTURES must be \"default\", \"all\" or numbers that {} " +
                  "knows ({}), got \"{}\"").format(nvcc, ", ".join([str(a) for a in known]), asked))
        chosen.append(int(word))
    return sorted(chosen)

def _local_cuda_impl(repository_ctx):
    wanted = repository_ctx.os.environ.get("TF_ROIALIGN_CUDA", "")
    if wanted not in ["", "none", "required"] and not wanted.startswith("/"):
        fail("TF_ROIALIGN_CUDA must be the path of a CUDA toolkit, \"none\" or \"required\", got " +
             "\"{}\"".format(wanted))
    toolkit = None if wanted == "none" else _find_toolkit(repository_ctx)
    if toolkit == None and wanted not in ["", "none"]:
        fail(("There is no CUDA toolkit with bin/nvcc and libcudart_static.a: install one, run " +
              "`.venv/bin/pip install --requirement tools/requirements-cuda.txt`, or set " +
              "TF_ROIALIGN_CUDA to its path. (TF_ROIALIGN_CUDA is \"{}\"; looked in {}.)").format(
            wanted,
            ", ".join(_candidates(repository_ctx)),
        ))
    if toolkit == None:
        repository_ctx.file("BUILD", _BUILD % "[]")
        repository_ctx.file("toolkit.bzl", "\n".join([
            '"""There is no CUDA toolkit here, or it is not wanted."""',
            "CUDA_VERSION = None",
            "CUDA_NVCC = None",
            "CUDA_ARCHITECTURES = []",
            "",
        ]))
        return
    nvcc = toolkit + "/bin/nvcc"
    repository_ctx.symlink(_find_static_runtime(repository_ctx, toolkit), "libcudart_static.a")
    repository_ctx.file("BUILD", _BUILD % '["libcudart_static.a"]')
    repository_ctx.file("toolkit.bzl", "\n".join([
        '"""The CUDA toolkit that is compiled with."""',
        "CUDA_VERSION = {}".format(repr(_version(repository_ctx, nvcc))),
        "CUDA_NVCC = {}".format(repr(nvcc)),
        "CUDA_ARCHITECTURES = {}".format(repr(_architectures(repository_ctx, nvcc))),
        "",
    ]))

local_cuda = repository_rule(
    implementation = _local_cuda_impl,
    configure = True,
    environ = _ENVIRON,
    local = True,
)

def cuda_objects(name, src, hdrs, nvcc, architectures, defines = []):
    """Compiles one .cu.cc file with nvcc and the C++ tool chain's own compiler.

    Args:
      name: The object is `<name>.pic.o`.
      src: The source file.
      hdrs: What it includes.
      nvcc: The path of nvcc.
      architectures: Numbers such as 90. The newest one's PTX is added.
      defines: Preprocessor definitions.
    """
    code = [
        "-gencode=arch=compute_{a},code=sm_{a}".format(a = a)
        for a in architectures
    ] + ["-gencode=arch=compute_{a},code=compute_{a}".format(a = architectures[-1])]
    native.genrule(
        name = name,
        srcs = [src] + hdrs,
        outs = [name + ".pic.o"],
        cmd = " ".join([
            nvcc,
            "-x cu -c $(location {}) -o $@".format(src),
            "-ccbin $(CC) -I. -std=c++17 -O3",
            # The geometry rounds each operation by itself (geometry.h); sums may fuse.
            "-Xcompiler=-fPIC,-fvisibility=hidden,-fvisibility-inlines-hidden,-ffp-contract=off",
            "-Xfatbin=-compress-all --cudart=none",
        ] + code + ["-D" + d for d in defines]),
        message = "Compiling CUDA",
        toolchains = ["@bazel_tools//tools/cpp:current_cc_toolchain"],
    )
