#!/usr/bin/env bash
# Makes the wheel that serves several TensorFlows, into dist/: release.sh [MINOR...]
# The versions, all of tools/tensorflows.txt unless some are named, are installed side by
# side in .venv-release. The last has to be that of .venv.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source tools/common.sh

minors=("$@")
[ $# != 0 ] || mapfile -t minors < <(release_minors)
own=$(tensorflow_version | cut -d. -f1,2)
[ "${minors[-1]}" = "$own" ] ||
  die "The newest version asked for is ${minors[-1]}, and .venv has TensorFlow $own."

pythons=()
for minor in "${minors[@]:0:${#minors[@]}-1}"; do
  line=$(grep "^$minor\b" tools/tensorflows.txt) || die "tools/tensorflows.txt has no $minor."
  venv=.venv-release/$minor
  if [ ! -e "$venv/.done" ]; then
    say "Installing TensorFlow $minor."
    python3 -m venv --clear "$venv"
    "$venv/bin/pip" install --quiet "tensorflow-cpu==$minor.*"
    for headers in ${line#"$minor"}; do
      "$venv/bin/pip" install --quiet --no-deps "$headers"
    done
    touch "$venv/.done"
  fi
  pythons+=("$PWD/$venv/bin/python")
done

tools=.venv-release/tools
if [ ! -e "$tools/.done" ] || [ tools/requirements-release.txt -nt "$tools/.done" ]; then
  python3 -m venv --clear "$tools"
  "$tools/bin/pip" install --quiet --requirement tools/requirements-release.txt
  touch "$tools/.done"
fi

rm -rf build/lib* build/bdist* build/wheel dist
if [ -z "${TF_ROIALIGN_CUDA:-}" ]; then
  if tools/setup_cuda_11.sh; then
    export TF_ROIALIGN_CUDA=$PWD/.venv-release/cuda
  else
    say "CUDA 11.8 cannot be had here: the kernels of this wheel will want a newer driver."
  fi
fi
tools/setup_cuda.sh
TF_ROIALIGN_OTHER_PYTHONS=$(IFS=:; echo "${pythons[*]:-}") \
  .venv/bin/python -W "ignore:setup.py install" setup.py --quiet bdist_wheel --dist-dir build/wheel

# The tag for the oldest systems whose C libraries have what the wheel asks of them.
# TensorFlow's libraries are TensorFlow's to bring, and the core is beside its users.
PATH="$PWD/$tools/bin:$PATH" auditwheel repair --only-plat --wheel-dir dist \
  --exclude 'libtensorflow_*' --exclude _tf_roialign_core.so build/wheel/*.whl
rm -r build/wheel
say "Made $(ls dist/*.whl)."
