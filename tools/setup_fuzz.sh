#!/usr/bin/env bash
# Installs what `make fuzz` needs: Clang with libFuzzer and its sanitizers.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source tools/common.sh

missing=()
command -v clang >/dev/null || missing+=(clang)
compgen -G "$(clang -print-resource-dir 2>/dev/null)/lib/linux/libclang_rt.fuzzer-*" >/dev/null ||
  missing+=(libclang-rt-dev)
command -v llvm-symbolizer >/dev/null || missing+=(llvm)
apt_install "${missing[@]}"
