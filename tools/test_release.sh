#!/usr/bin/env bash
# Tests a release's wheel as its users get it, under each TensorFlow named, all in
# tools/tensorflows.txt unless some are: test_release.sh WHEEL [MINOR...]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
wheel=$(realpath "$1")
root=$(realpath "$(dirname "${BASH_SOURCE[0]}")/..")
cd "$root"
minors=("${@:2}")
[ "${#minors[@]}" != 0 ] || mapfile -t minors < <(release_minors)

# What another TensorFlow or Keras could break: the op, its gradients, the layers, XLA, graphs that
# are saved. `make test-wheel` runs all tests under the newest.
tests=(forward feature_gradient box_gradient double_backward layer_calls layer_keras xla
  saved_model export multiscale max package)

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cp -r tests pyproject.toml docs/notebook.ipynb tools/exchange_saved_models.py "$dir"
cd "$dir"
unset PYTHONPATH

for minor in "${minors[@]}"; do
  say "Testing under TensorFlow $minor."
  python3 -m venv "$minor"
  # The oldest has the oldest Keras that it takes.
  keras=()
  [ "$minor" != "${minors[0]}" ] || [ "${#minors[@]}" = 1 ] || keras=("keras==$OLDEST_KERAS")
  # What type checkers say is that of their own versions, and of one TensorFlow.
  checkers=() typing=()
  if [ "$minor" = "${minors[-1]}" ]; then
    mapfile -t checkers < <(grep -E '^(mypy|pyright)' "$root/tools/requirements-dev.txt")
    typing=(typing)
  fi
  "$minor/bin/pip" install --quiet "$wheel[cpu]" "tensorflow-cpu==$minor.*" "${keras[@]}" pytest \
    "${checkers[@]}"
  "$minor/bin/python" exchange_saved_models.py write "$minor.saved"
  "$minor/bin/python" -m pytest -o addopts=-rs -p no:cacheprovider \
    $(printf 'tests/test_%s.py ' "${tests[@]}" "${typing[@]}")
done
# Under the newest: what takes extras.
"$minor/bin/pip" install --quiet "$wheel[cpu,notebook]" "tensorflow-cpu==$minor.*"
"$minor/bin/python" -m pytest -o addopts=-rs -p no:cacheprovider tests/test_draw.py tests/test_notebook.py
for written in *.saved; do
  for minor in "${minors[@]}"; do
    say "TensorFlow $minor loads the SavedModel of ${written%.saved}."
    "$minor/bin/python" exchange_saved_models.py read "$written"
  done
done
