"""Finds a CUDA toolkit, if there is one, and compiles with its nvcc.

Looked for, in this order: what $TF_ROIALIGN_CUDA, $CUDA_HOME or $CUDA_PATH name,
PyPI's NVIDIA wheels in the checkout's .venv, nvcc on PATH, /usr/local/cuda.
TF_ROIALIGN_CUDA may also be "none" (leave CUDA out) or "required" (fail if there is
no toolkit); --config=nocuda and --config=cuda set these.

TF_ROIALIGN_CUDA_ARCHITECTURES says what to compile for; code of the last architecture
can be compiled by the driver for later ones.
  "native": the GPUs of this machine. The default: CUDA is left out where there is none,
    unless TF_ROIALIGN_CUDA asks for it; then it is "default".
  "default": what a wheel should have.
  "all": every architecture from 75 to the newest that nvcc knows.
  "75,80,90": these.
build_deps/cuda_architectures.sh finds out which it is.

nvcc takes the C++ tool chain's own compiler for the host; the toolkit's bin/g++ where it has one,
as Debian's does, whose nvcc is too old for the newest GCC.
"""

_DEFAULT_ARCHITECTURES = [75, 80, 86, 89, 90, 100, 120]

_OLDEST_ARCHITECTURE = 75

_ENVIRON = [
    "TF_ROIALIGN_CUDA",
    "TF_ROIALIGN_CUDA_ARCHITECTURES",
    # Not read: the set-up sets these two to have this run again.
    "TF_ROIALIGN_CUDA_GPUS",
    "TF_ROIALIGN_CUDA_VERSION",
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

def _asked_for(repository_ctx):
    script = repository_ctx.path(Label("//build_deps:cuda_architectures.sh"))
    environ = repository_ctx.os.environ
    names = ["TF_ROIALIGN_CUDA", "TF_ROIALIGN_CUDA_ARCHITECTURES", "PATH"]
    result = repository_ctx.execute(
        ["sh", script],
        environment = {name: environ[name] for name in names if name in environ},
    )
    if result.return_code != 0:
        fail("{} does not run: {}".format(script, result.stderr.strip()))
    return result.stdout.strip()

def _known_architectures(repository_ctx, nvcc):
    known = []
    for line in _run(repository_ctx, [nvcc, "--list-gpu-code"]).split("\n"):
        number = line.strip()[len("sm_"):]
        if number.isdigit():
            known.append(int(number))
    return sorted(known)

def _join(numbers):
    return ", ".join([str(n) for n in numbers])

def _capabilities(numbers):
    return ", ".join(["{}.{}".format(n // 10, n % 10) for n in numbers])

def _architectures_for_gpus(gpus, known):
    """For each GPU the newest architecture that it runs; also the GPUs that run none.

    A GPU newer than all of them gets the newest one's PTX, which is always added.
    """
    possible = [a for a in known if a >= _OLDEST_ARCHITECTURE]
    chosen = {}
    too_old = []
    for gpu in gpus:
        fitting = [a for a in possible if a <= gpu]
        if fitting:
            chosen[fitting[-1]] = True
        else:
            too_old.append(gpu)
    return sorted(chosen.keys()), too_old

def _named_architectures(asked, known, nvcc):
    if asked == "all":
        return [a for a in known if a >= _OLDEST_ARCHITECTURE]
    if asked == "default":
        return [a for a in _DEFAULT_ARCHITECTURES if a in known]
    chosen = []
    for word in asked.split(","):
        if not word.strip().isdigit() or int(word) not in known:
            fail(("TF_ROIALIGN_CUDA_ARCHITECTURES must be \"native\", \"default\", \"all\" or " +
                  "numbers that {} knows ({}), got \"{}\"").format(nvcc, _join(known), asked))
        chosen.append(int(word))
    return sorted(chosen)

def _host_compiler(repository_ctx, toolkit):
    compiler = repository_ctx.path(toolkit + "/bin/g++")
    return str(compiler) if compiler.exists else None

def _write_toolkit(repository_ctx, version, nvcc, host_compiler, architectures, note):
    repository_ctx.file("toolkit.bzl", "\n".join([
        '"""The CUDA toolkit that is compiled with; None if CUDA is left out."""',
        "CUDA_VERSION = {}".format(repr(version)),
        "CUDA_NVCC = {}".format(repr(nvcc)),
        "CUDA_HOST_COMPILER = {}".format(repr(host_compiler)),
        "CUDA_ARCHITECTURES = {}".format(repr(architectures)),
        "# Why there are no kernels, or not for every GPU of this machine; None if there are.",
        "CUDA_NOTE = {}".format(repr(note)),
        "",
    ]))

def _leave_cuda_out(repository_ctx, why):
    repository_ctx.file("BUILD", _BUILD % "[]")
    _write_toolkit(repository_ctx, None, None, None, [], why)

def _local_cuda_impl(repository_ctx):
    wanted = repository_ctx.os.environ.get("TF_ROIALIGN_CUDA", "")
    if wanted not in ["", "none", "required"] and not wanted.startswith("/"):
        fail("TF_ROIALIGN_CUDA must be the path of a CUDA toolkit, \"none\" or \"required\", got " +
             "\"{}\"".format(wanted))
    asked = _asked_for(repository_ctx)
    if asked.startswith("none: "):
        _leave_cuda_out(repository_ctx, asked[len("none: "):])
        return
    toolkit = _find_toolkit(repository_ctx)
    if toolkit == None:
        if wanted:
            fail(("There is no CUDA toolkit with bin/nvcc and libcudart_static.a: install one, " +
                  "run `.venv/bin/pip install --requirement tools/requirements-cuda.txt`, or set " +
                  "TF_ROIALIGN_CUDA to its path. (TF_ROIALIGN_CUDA is \"{}\"; looked in {}.)").format(
                wanted,
                ", ".join(_candidates(repository_ctx)),
            ))
        _leave_cuda_out(repository_ctx, "no CUDA toolkit was found")
        return
    nvcc = toolkit + "/bin/nvcc"
    known = _known_architectures(repository_ctx, nvcc)
    note = None
    if asked.startswith("native: "):
        gpus = [int(word) for word in asked[len("native: "):].split(",")]
        architectures, too_old = _architectures_for_gpus(gpus, known)
        if too_old:
            oldest = [a for a in known if a >= _OLDEST_ARCHITECTURE][:1]
            note = "a GPU of compute capability {} is too old, the kernels need {} or later".format(
                _capabilities(too_old),
                _capabilities(oldest),
            )
    else:
        architectures = _named_architectures(asked, known, nvcc)
    if not architectures:
        if wanted:
            architectures = _named_architectures("default", known, nvcc)
        else:
            _leave_cuda_out(repository_ctx, note)
            return
    repository_ctx.symlink(_find_static_runtime(repository_ctx, toolkit), "libcudart_static.a")
    repository_ctx.file("BUILD", _BUILD % '["libcudart_static.a"]')
    _write_toolkit(
        repository_ctx,
        _version(repository_ctx, nvcc),
        nvcc,
        _host_compiler(repository_ctx, toolkit),
        architectures,
        note,
    )

local_cuda = repository_rule(
    implementation = _local_cuda_impl,
    configure = True,
    environ = _ENVIRON,
    local = True,
)

def cuda_objects(
        name,
        src,
        hdrs,
        nvcc,
        host_compiler,
        architectures,
        defines = [],
        ptx_only = False,
        **kwargs):
    """Compiles one .cu.cc file with nvcc.

    Args:
      name: The object is `<name>.pic.o`.
      src: The source file.
      hdrs: What it includes.
      nvcc: The path of nvcc.
      host_compiler: The path of its compiler for the host; None: that of the C++ tool chain.
      architectures: Numbers such as 90. The newest one's PTX is added.
      defines: Preprocessor definitions.
      ptx_only: PTX of each architecture instead, uncompressed, for the interpreter.
      **kwargs: Of the genrule.
    """
    code = [
        "-gencode=arch=compute_{a},code={kind}_{a}".format(
            a = a,
            kind = "compute" if ptx_only else "sm",
        )
        for a in architectures
    ]
    if not ptx_only:
        code.append("-gencode=arch=compute_{a},code=compute_{a}".format(a = architectures[-1]))
    native.genrule(
        name = name,
        srcs = [src] + hdrs,
        outs = [name + ".pic.o"],
        cmd = " ".join([
            nvcc,
            "-x cu -c $(location {}) -o $@".format(src),
            "-ccbin {} -I. -std=c++17 -O3".format(host_compiler or "$(CC)"),
            # The geometry rounds each operation by itself (geometry.h); sums may fuse.
            "-Xcompiler=-fPIC,-fvisibility=hidden,-fvisibility-inlines-hidden,-ffp-contract=off",
            "-Xfatbin=%s --cudart=none" % ("-compress=false" if ptx_only else "-compress-all"),
        ] + code + ["-D" + d for d in defines]),
        message = "Compiling CUDA",
        toolchains = ["@bazel_tools//tools/cpp:current_cc_toolchain"],
        **kwargs
    )
