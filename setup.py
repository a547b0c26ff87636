"""Makes the package out of the Python files and what Bazel builds.

Everything about the project stands in pyproject.toml. Here is only what cannot:
the compiled parts come from Bazel, and setuptools compiles nothing.

`python setup.py build_native` puts the compiled parts into the checkout, where an
editable install finds them; `pip wheel` puts them into the wheel. A checkout has CUDA
kernels for the GPUs of this machine, a wheel those of build_deps/cuda.bzl's "default".
"""

import filecmp
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Command, Distribution, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
PACKAGE = "tf_roialign"
TARGETS = [
    "//tf_roialign:_tf_roialign_core.so",
    "//tf_roialign:_tf_roialign.so",
    "//tf_roialign:build_info",
]
FILES = ["_tf_roialign_core.so", "_tf_roialign.so", "_build_info.py"]
# Compiled against headers of TensorFlow that move more often than others: without
# these, everything works but XLA.
XLA_TARGETS = ["//tf_roialign:_tf_roialign_xla.so"]
XLA_FILES = ["_tf_roialign_xla.so"]


def find_bazelisk():
    beside_python = Path(sys.executable).with_name("bazelisk")
    bazelisk = shutil.which("bazelisk") or shutil.which(beside_python)
    if bazelisk is None:
        sys.exit("error: There is no bazelisk: run `make setup`.")
    return bazelisk


def run_bazel(*options, with_xla=True):
    """Builds the compiled parts; returns the folder and the files in it."""
    command = [find_bazelisk(), "build", "--compilation_mode=opt", *options]
    # Bazel finds the checkout's own .venv by itself. Naming any other Python makes
    # it use the TensorFlow of the environment that the package is built for.
    if Path(sys.prefix).resolve() != ROOT / ".venv":
        command.append(f"--repo_env=TF_ROIALIGN_PYTHON={sys.executable}")
    if not sys.stderr.isatty():
        command.append("--config=log")
    try:
        subprocess.run(command + TARGETS, cwd=ROOT, check=True)
    except subprocess.CalledProcessError:
        sys.exit("error: Bazel could not build the library; its messages are above.")
    files = list(FILES)
    if with_xla:
        if subprocess.run(command + TARGETS + XLA_TARGETS, cwd=ROOT).returncode == 0:
            files += XLA_FILES
        else:
            print(
                "warning: The part for XLA does not build with this TensorFlow; Bazel's messages "
                "are above. The package is made without it: jit_compile=True will not work.",
                file=sys.stderr,
            )
    return ROOT / "bazel-bin" / PACKAGE, files


def read_build_info(built):
    return runpy.run_path(str(built / "_build_info.py"))


def report(built, files):
    """Says in a line or two what was built, and how to get what was left out."""
    info = read_build_info(built)
    parts = ["CPU", *["XLA"] * (XLA_FILES[0] in files)]
    if info["CUDA"]:
        names = [f"{number // 10}.{number % 10}" for number in info["CUDA_ARCHITECTURES"]]
        parts.append(f"CUDA {info['CUDA']} for GPUs of {', '.join(names)} and later")
    text = f"Built for TensorFlow {info['TF_VERSION']}: {', '.join(parts)}."
    if info["CUDA_NOTE"]:
        text += f" {'CUDA' if info['CUDA'] else 'No CUDA kernels'}: {info['CUDA_NOTE']}."
    print(text, file=sys.stderr)


def check_extras(built):
    """A wheel's own extras must install the TensorFlow that it was compiled against."""
    built_for = ".".join(read_build_info(built)["TF_VERSION"].split(".")[:2])
    named = re.search(r'"tensorflow-cpu~=(\d+\.\d+)', (ROOT / "pyproject.toml").read_text())[1]
    if built_for != named:
        sys.exit(
            f"error: The library was compiled against TensorFlow {built_for}, but the extras in "
            f"pyproject.toml name {named}: change them to {built_for} for a wheel."
        )


def install(source, destination, strip=False):
    """Copies a file, unless it is there already, in one step: it may be in use."""
    if not strip and destination.exists() and filecmp.cmp(source, destination, shallow=False):
        return
    destination.parent.mkdir(parents=True, exist_ok=True)
    new = destination.with_name(destination.name + ".new")
    shutil.copyfile(source, new)
    if strip:
        subprocess.run(["strip", "--strip-unneeded", new], check=True)
    os.replace(new, destination)


class BuildNative(Command):
    """Builds the library with Bazel and puts it into the checkout."""

    description = "build the library with Bazel and put it into the checkout"
    user_options = [
        ("ops-only", None, "leave the part for XLA for later, unless it is there already"),
    ]
    boolean_options = ["ops-only"]

    def initialize_options(self):
        self.ops_only = False

    def finalize_options(self):
        pass

    def run(self):
        with_xla = not self.ops_only or (ROOT / PACKAGE / XLA_FILES[0]).exists()
        built, files = run_bazel(with_xla=with_xla)
        for name in files:
            install(built / name, ROOT / PACKAGE / name)
        for name in set(XLA_FILES) - set(files):
            (ROOT / PACKAGE / name).unlink(missing_ok=True)  # an old one
        report(built, files)
        more = [] if with_xla else ["`make build` adds XLA"]
        if os.environ.get("TF_ROIALIGN_CUDA") != "none" and os.environ.get(
            "TF_ROIALIGN_CUDA_ARCHITECTURES", ""
        ) in ("", "native"):
            more.append(
                "`TF_ROIALIGN_CUDA_ARCHITECTURES=default make build` compiles for the usual GPUs"
            )
        if more:
            print(f"For more, {', and '.join(more)}.", file=sys.stderr)


class BuildPy(build_py):
    """Adds what Bazel builds to the Python files."""

    def run(self):
        super().run()
        if self.editable_mode:
            # The set-up makes the checkout importable first; Make builds it then, in the open.
            if os.environ.get("TF_ROIALIGN_BUILD_NATIVE") != "later":
                self.run_command("build_native")
            return
        # By name: a wheel is for other machines than this one.
        architectures = os.environ.get("TF_ROIALIGN_CUDA_ARCHITECTURES") or "default"
        built, files = run_bazel(f"--repo_env=TF_ROIALIGN_CUDA_ARCHITECTURES={architectures}")
        check_extras(built)
        for name in files:
            install(built / name, Path(self.build_lib, PACKAGE, name), strip=name.endswith(".so"))
        report(built, files)


class NativeDistribution(Distribution):
    """One for this platform and this Python only, though setuptools compiles nothing."""

    def has_ext_modules(self):
        return True


setup(
    cmdclass={"build_native": BuildNative, "build_py": BuildPy},
    distclass=NativeDistribution,
)
