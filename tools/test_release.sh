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
# are saved.
older=(forward feature_gradient box_gradient double_backward layer_calls layer_keras xla
  saved_model export multiscale max package)
# Under the newest `make test` runs everything, from the checkout. From the wheel: what could be
# missing in it, and what takes extras.
newest=(layer_calls layer_keras saved_model export package typing draw notebook)

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
  tests=("${older[@]}") extras=cpu others=()
  if [ "$minor" = "${minors[-1]}" ]; then
    tests=("${newest[@]}") extras=cpu,notebook
    # What type checkers say is that of their own versions.
    mapfile -t others < <(grep -E '^(mypy|pyright)' "$root/tools/requirements-dev.txt")
  fi
  "$minor/bin/pip" install --quiet "$wheel[$extras]" "tensorflow-cpu==$minor.*" "${keras[@]}" pytest \
    "${others[@]}"
  "$minor/bin/python" exchange_saved_models.py write "$minor.saved"
  "$minor/bin/python" -m pytest -o addopts=-rs -p no:cacheprovider \
    $(printf 'tests/test_%s.py ' "${tests[@]}")
done
for written in *.saved; do
  for minor in "${minors[@]}"; do
    say "TensorFlow $minor loads the SavedModel of ${written%.saved}."
    "$minor/bin/python" exchange_saved_models.py read "$written"
  done
done
