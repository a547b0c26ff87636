#!/usr/bin/env bash
# Installs what `make aarch64` needs: a compiler for 64-bit ARM, and an emulator.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source tools/common.sh

missing=()
command -v aarch64-linux-gnu-g++ >/dev/null || missing+=(g++-aarch64-linux-gnu)
command -v qemu-aarch64 >/dev/null || missing+=(qemu-user)
[ -e /usr/src/googletest ] || missing+=(googletest)
apt_install "${missing[@]}"
