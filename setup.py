"""Makes the package out of the Python files and what Bazel builds.

Everything about the project stands in pyproject.toml. Here is only what cannot:
the compiled parts come from Bazel, and setuptools compiles nothing.

`python setup.py build_native` puts the compiled parts into the checkout, where an
editable install finds them; `pip wheel` puts them into the wheel. A checkout has CUDA
kernels for the GPUs of this machine, a wheel those of build_deps/cuda.bzl's "default".

The core is compiled once. The libraries for TensorFlow have its minor version in their
names: a wheel has those of this Python's TensorFlow, and of the TensorFlow of each Python
that $TF_ROIALIGN_OTHER_PYTHONS names (paths, with ":" between).
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
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
PACKAGE = "tf_roialign"
CORE = "_tf_roialign_core.so"
OPS = "_tf_roialign.so"
# Compiled against headers of TensorFlow that move more often than others: without
# this, everything works but XLA.
XLA = "_tf_roialign_xla.so"
BUILD_INFO = "_build_info.py"
TARGETS = [f"//{PACKAGE}:{name}" for name in (CORE, OPS, "build_info")]


def find_bazelisk():
    beside_python = Path(sys.executable).with_name("bazelisk")
    bazelisk = shutil.which("bazelisk") or shutil.which(beside_python)
    if bazelisk is None:
        sys.exit("error: There is no bazelisk: run `make setup`.")
    return bazelisk


def run_bazel(*options, python=sys.executable, with_xla=True):
    """Builds the compiled parts for the TensorFlow of a Python; returns what there is."""
    command = [find_bazelisk(), "build", "--compilation_mode=opt", *options]
    # Bazel finds the checkout's own .venv by itself. Naming any other Python makes
    # it use the TensorFlow of the environment that the package is built for.
    if Path(python).parent.parent.resolve() != ROOT / ".venv":
        command.append(f"--repo_env=TF_ROIALIGN_PYTHON={python}")
    if not sys.stderr.isatty():
        command.append("--config=log")
    try:
        subprocess.run(command + TARGETS, cwd=ROOT, check=True)
    except subprocess.CalledProcessError:
        sys.exit("error: Bazel could not build the library; its messages are above.")
    if with_xla:
        command += [*TARGETS, f"//{PACKAGE}:{XLA}"]
        with_xla = subprocess.run(command, cwd=ROOT).returncode == 0
        if not with_xla:
            print(
                "warning: The part for XLA does not build with this TensorFlow; Bazel's messages "
                "are above. The package is made without it: jit_compile=True will not work.",
                file=sys.stderr,
            )
    return Built(ROOT / "bazel-bin" / PACKAGE, with_xla)


class Built:
    """What Bazel built for one TensorFlow."""

    def __init__(self, folder, has_xla):
        self.folder = folder
        self.has_xla = has_xla
        self.info = runpy.run_path(str(folder / BUILD_INFO))
        self.tensorflow = self.info["TF_VERSION"]

    def install(self, destination, strip=False):
        install(self.folder / CORE, destination / CORE, strip)
        for name, is_there in ((OPS, True), (XLA, self.has_xla)):
            versioned = destination / name_for(name, self.tensorflow)
            if is_there:
                install(self.folder / name, versioned, strip)
            else:
                versioned.unlink(missing_ok=True)  # an old one


def name_for(name, tensorflow):
    """Of a library for a version of TensorFlow; library.py asks for the same."""
    minor = "_".join(tensorflow.split(".")[:2])
    return name.replace(".so", f"_{minor}.so")


def install_build_info(builds, destination):
    """The facts that all share, and for which versions there are libraries."""
    text = (builds[0].folder / BUILD_INFO).read_text()
    versions = sorted((each.tensorflow for each in builds), key=version_key)
    text = re.sub(r"(?m)^TF_VERSION = .*$", f"TF_VERSIONS = {versions}", text)
    file = destination / BUILD_INFO
    if not file.exists() or file.read_text() != text:
        file.write_text(text)


def version_key(version):
    return [int(part) for part in version.split(".")[:2]]


def report(builds):
    """Says in a line or two what was built, and how to get what was left out."""
    info = builds[0].info
    with_xla = all(each.has_xla for each in builds)
    parts = ["CPU", *["XLA"] * with_xla]
    if info["CUDA"]:
        names = [f"{number // 10}.{number % 10}" for number in info["CUDA_ARCHITECTURES"]]
        parts.append(f"CUDA {info['CUDA']} for GPUs of {', '.join(names)} and later")
    versions = ", ".join(each.tensorflow for each in builds)
    text = f"Built for TensorFlow {versions}: {', '.join(parts)}."
    if info["CUDA_NOTE"]:
        text += f" {'CUDA' if info['CUDA'] else 'No CUDA kernels'}: {info['CUDA_NOTE']}."
    print(text, file=sys.stderr)


def check_extras(builds):
    """A wheel's own extras must name every TensorFlow that it was compiled against."""
    low, high = re.search(
        r'"tensorflow-cpu>=([\d.]+),<([\d.]+)"', (ROOT / "pyproject.toml").read_text()
    ).groups()
    for each in builds:
        if not version_key(low) <= version_key(each.tensorflow) < version_key(high):
            sys.exit(
                f"error: The library was compiled against TensorFlow {each.tensorflow}, but the "
                f"extras in pyproject.toml are from {low} to before {high}."
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
        with_xla = not self.ops_only or any((ROOT / PACKAGE).glob(XLA.replace(".so", "_*.so")))
        built = run_bazel(with_xla=with_xla)
        for library in (ROOT / PACKAGE).glob("_tf_roialign*.so"):
            kept = (CORE, name_for(OPS, built.tensorflow), name_for(XLA, built.tensorflow))
            if library.name not in kept:
                library.unlink()  # of another TensorFlow
        built.install(ROOT / PACKAGE)
        install_build_info([built], ROOT / PACKAGE)
        report([built])
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
        destination = Path(self.build_lib, PACKAGE)
        others = os.environ.get("TF_ROIALIGN_OTHER_PYTHONS", "").split(":")
        builds = []
        for python in [*filter(None, others), sys.executable]:
            built = run_bazel(
                f"--repo_env=TF_ROIALIGN_CUDA_ARCHITECTURES={architectures}", python=python
            )
            built.install(destination, strip=True)
            builds.append(built)
        check_extras(builds)
        install_build_info(builds, destination)
        report(builds)


class NativeDistribution(Distribution):
    """One for this platform only, though setuptools compiles nothing."""

    def has_ext_modules(self):
        return True


class BdistWheel(bdist_wheel):
    """For any Python: the libraries know nothing of its ABI."""

    def get_tag(self):
        return "py3", "none", super().get_tag()[2]


setup(
    cmdclass={"build_native": BuildNative, "build_py": BuildPy, "bdist_wheel": BdistWheel},
    distclass=NativeDistribution,
)
