#!/usr/bin/env bash
# Makes .venv-triton: PyTriton, which carries the Triton Inference Server, the
# TensorFlow that the package was built for, and the checkout's own package.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source tools/common.sh

# Triton's Python backend is a program with a Python in it.
version=$(python3 -c 'import sys; print("{}.{}".format(*sys.version_info))')
python3 -c 'import ctypes, sys; ctypes.CDLL("libpython{}.{}.so.1.0".format(*sys.version_info))' \
  2>/dev/null || apt_install "libpython$version"

[ -x .venv-triton/bin/pip ] || python3 -m venv --clear .venv-triton
say "Installing Triton, and a TensorFlow beside it, into .venv-triton."
.venv-triton/bin/pip install --quiet "tensorflow-cpu==$(tensorflow_version)" \
  --requirement tools/requirements-triton.txt
# A path is enough: the library in the checkout fits this TensorFlow as well.
pwd >"$(.venv-triton/bin/python -c 'import site; print(site.getsitepackages()[0])')/tf_roialign.pth"
touch .venv-triton/.setup-done
