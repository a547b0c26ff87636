#!/usr/bin/env bash
# Sets a checkout up: .venv with TensorFlow and the Python packages, Bazel, and the
# package itself, importable from .venv once `setup.py build_native` has built it. What is
# there already is kept. `setup.sh dev` adds what the tests and linters need.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source tools/common.sh

dev=${1:-}

missing=()
command -v python3 >/dev/null || missing+=(python3)
# Debian leaves ensurepip, which venv needs, to a package of its own.
[ -x .venv/bin/pip ] || python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
command -v g++ >/dev/null || missing+=(g++)
find_bazelisk >/dev/null || command -v npm >/dev/null || missing+=(npm)
[ -z "$dev" ] || [ -e /usr/include/gtest/gtest.h ] || [ -e /usr/local/include/gtest/gtest.h ] ||
  missing+=(libgtest-dev)
if [ "${#missing[@]}" != 0 ] && [ "$(id -u)" != 0 ] && command -v apt-get >/dev/null; then
  # Whether Debian's Bazel is needed too can only be known later: name it now.
  bazel=$(missing_debian_bazel | paste -sd ' ')
  die "Not root: run \`apt-get install ${missing[*]}\` as root and try again." \
    "${bazel:+(Where bazelisk cannot download Bazel, also: $bazel.)}"
fi
apt_install "${missing[@]}"

python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
  die "Python 3.10 or later is needed, and python3 is $(python3 -V)."

if [ ! -x .venv/bin/pip ]; then
  say "Making .venv."
  python3 -m venv --clear .venv
fi

# While pip works, which is one process most of the time: Bazel, and what it can compile
# without TensorFlow. Should that fail, the build will do it again.
meanwhile=".venv/bin/bazelisk build --config=log //cc/core/cpu || true"
if [ "$(id -u)" = 0 ] || [ -z "$(missing_debian_bazel)" ]; then
  meanwhile="tools/install_bazel.sh && { $meanwhile; }"
else
  tools/install_bazel.sh # says at once what root would have to install
fi
# A process group of its own, to be stopped as one.
setsid bash -c "$meanwhile" </dev/null &
meanwhile_pid=$!
trap 'kill -- "-$meanwhile_pid" 2>/dev/null || true' EXIT

requirements=(--requirement tools/requirements.txt)
[ -z "$dev" ] || requirements+=(--requirement tools/requirements-dev.txt)
if tensorflow_version >/dev/null; then
  say "Installing the Python packages."
  .venv/bin/pip install --quiet "${requirements[@]}"
else
  say "Installing TensorFlow (about 270 MB, then it unpacks for a while) and other packages."
  pip_install "${requirements[@]}" --requirement tools/requirements-tensorflow.txt
fi
[ -z "$dev" ] ||
  .venv/bin/pip install --quiet --no-deps --requirement tools/requirements-keras2.txt
TF_ROIALIGN_BUILD_NATIVE=later \
  .venv/bin/pip install --quiet --no-build-isolation --no-deps --editable .

wait "$meanwhile_pid"
trap - EXIT
# Another TensorFlow makes Bazel look again.
set_repo_env TF_ROIALIGN_TF_VERSION "$(tensorflow_version)"

touch .venv/.setup-done
[ -z "$dev" ] || touch .venv/.dev-done
