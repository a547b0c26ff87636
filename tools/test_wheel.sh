#!/usr/bin/env bash
# Installs a wheel into an empty virtual environment outside the checkout, and runs
# a copy of the Python tests there: test_wheel.sh WHEEL [PYTEST_ARG...]
set -euo pipefail
wheel=$(realpath "$1")
root=$(realpath "$(dirname "${BASH_SOURCE[0]}")/..")

# CUDA kernels for many architectures could make it large.
size=$(stat --format=%s "$wheel")
if [ "$size" -ge 30000000 ]; then
  echo "error: $wheel has $size bytes; 30 MB is the limit." >&2
  exit 1
fi

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

"$root/.venv/bin/python" -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet "$wheel[cpu,test]"
"$dir/venv/bin/pip" install --quiet --no-deps --requirement "$root/tools/requirements-keras2.txt"

cp -r "$root/tests" "$root/pyproject.toml" "$root/docs/notebook.ipynb" "$dir"
cd "$dir"
unset PYTHONPATH
venv/bin/python -c '
import tf_roialign, sys
assert tf_roialign.__file__.startswith(sys.prefix), tf_roialign.__file__
'
venv/bin/python -m pytest "${@:2}"
