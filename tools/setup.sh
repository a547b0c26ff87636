#!/usr/bin/env bash
# Sets a checkout up: .venv with TensorFlow and the tools, Bazel, GoogleTest, and
# the built package, importable from .venv. What is there already is kept.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source tools/common.sh

install_missing() {  # COMMAND DEBIAN_PACKAGE
  command -v "$1" >/dev/null || apt_install "$2"
}

install_missing python3 python3
install_missing g++ g++
install_missing npm npm
[ -e /usr/include/gtest/gtest.h ] || [ -e /usr/local/include/gtest/gtest.h ] ||
  apt_install libgtest-dev

python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
  die "Python 3.10 or later is needed, and python3 is $(python3 -V)."

if [ ! -x .venv/bin/pip ]; then
  # Debian leaves ensurepip, which venv needs, to a package of its own.
  python3 -c 'import ensurepip' 2>/dev/null || apt_install python3-venv
  say "Making .venv."
  python3 -m venv --clear .venv
fi

say "Installing the Python tools."
.venv/bin/pip install --quiet --requirement tools/requirements.txt
if ! tensorflow_version >/dev/null; then
  say "Installing TensorFlow."
  .venv/bin/pip install --quiet --requirement tools/requirements-tensorflow.txt
fi

# The CUDA kernels are compiled wherever nvcc is found; TF_ROIALIGN_CUDA (see
# build_deps/cuda.bzl) may name a toolkit, or leave them out.
if [ -z "$(nvcc_paths)" ] && [[ ${TF_ROIALIGN_CUDA:-} != none && ${TF_ROIALIGN_CUDA:-} != /* ]]; then
  say "Installing nvcc."
  .venv/bin/pip install --quiet --no-deps --requirement tools/requirements-cuda.txt ||
    say "It cannot be installed: the library will have no CUDA kernels."
fi

tools/install_bazel.sh

say "Building tf_roialign."
.venv/bin/pip install --quiet --no-build-isolation --no-deps --editable .
touch .venv/.setup-done
