#!/bin/sh
# Prints what the CUDA kernels are to be compiled for. Nothing else decides it: the
# set-up and build_deps/cuda.bzl both ask here. One line, which is
#   "none: WHY"    TF_ROIALIGN_CUDA is "none", or nobody asks for kernels by name and
#                  nvidia-smi shows no GPU;
#   "native: 86,90"  the compute capabilities of this machine's GPUs;
#   otherwise what is asked for by name: $TF_ROIALIGN_CUDA_ARCHITECTURES, or "default"
#                  where $TF_ROIALIGN_CUDA asks for CUDA and there is no GPU.
set -eu

if [ "${TF_ROIALIGN_CUDA:-}" = none ]; then
  echo "none: TF_ROIALIGN_CUDA=none leaves them out"
  exit
fi
asked=${TF_ROIALIGN_CUDA_ARCHITECTURES:-native}
if [ "$asked" != native ]; then
  echo "$asked"
  exit
fi

gpus=
if ! command -v nvidia-smi >/dev/null; then
  why="no NVIDIA GPU was found (there is no nvidia-smi)"
elif ! answer=$(timeout 30 nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null); then
  why="no NVIDIA GPU was found (nvidia-smi fails)"
else
  gpus=$(echo "$answer" | sed -n 's/^ *\([0-9][0-9]*\)\.\([0-9]\) *$/\1\2/p' | sort -nu | paste -sd,)
  why="no NVIDIA GPU was found (nvidia-smi lists none)"
fi

if [ -n "$gpus" ]; then
  echo "native: $gpus"
elif [ -n "${TF_ROIALIGN_CUDA:-}" ]; then
  echo default
else
  echo "none: $why"
fi
