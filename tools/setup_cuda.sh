#!/usr/bin/env bash
# Installs nvcc into .venv where CUDA kernels are wanted and no toolkit is there, and tells
# Bazel what there is now. Quick where there is nothing to do: every build starts with it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source tools/common.sh

wanted=$(build_deps/cuda_architectures.sh)
if [[ $wanted != none:* && ${TF_ROIALIGN_CUDA:-} != /* && -z "$(nvcc_paths)" ]]; then
  say "Installing nvcc."
  pip_install --no-deps --requirement tools/requirements-cuda.txt ||
    say "It cannot be installed: the library will have no CUDA kernels." \
      "TF_ROIALIGN_CUDA=none saves the attempt."
fi

gpus=$(TF_ROIALIGN_CUDA='' TF_ROIALIGN_CUDA_ARCHITECTURES='' build_deps/cuda_architectures.sh)
set_repo_env TF_ROIALIGN_CUDA_GPUS "$(sed -n 's/^native: //p' <<<"$gpus")"
set_repo_env TF_ROIALIGN_CUDA_VERSION "$(nvcc_version)"
