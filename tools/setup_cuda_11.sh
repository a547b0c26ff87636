#!/usr/bin/env bash
# Puts CUDA 11.8 into .venv-release/cuda, for the kernels of a released wheel: they run with every
# driver that TensorFlow's own GPU builds run with. It comes out of Debian 12's packages, which
# apt checks; nothing is installed but the compiler that this nvcc wants on the host, GCC 11.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source tools/common.sh

cuda=$PWD/.venv-release/cuda
[ ! -e "$cuda/.done" ] || exit 0
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
[ -e "$keyring" ] || die "There is no $keyring: install Debian's debian-archive-keyring."
# The archive, or the mirror, that this machine has Debian's packages from. apt names only those
# whose lists it has.
find_archive() {
  apt-get indextargets --format '$(REPO_URI)' | grep -m 1 '/debian/*$'
}
archive=$(find_archive || { apt-get update -qq >/dev/null && find_archive; }) ||
  die "apt has no Debian archive among its sources."
command -v g++-11 >/dev/null || apt_install g++-11

say "Getting CUDA 11.8 out of Debian's packages (860 MB)."
rm -rf "$cuda"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/files"
echo "deb [signed-by=$keyring] $archive bookworm non-free" >"$work/sources.list"
apt=(apt-get -qq -o "Dir::Etc::sourcelist=$work/sources.list" -o Dir::Etc::sourceparts=-
  -o "Dir::State::lists=$work/lists" -o "Dir::Cache=$work/cache" -o APT::Sandbox::User=root)
"${apt[@]}" update
(cd "$work" && "${apt[@]}" download nvidia-cuda-toolkit nvidia-cuda-dev)
extract() {  # PACKAGE MEMBER...
  dpkg-deb --fsys-tarfile "$work/$1"_*.deb |
    tar --extract --directory "$work/files" --wildcards "${@:2}"
}
extract nvidia-cuda-toolkit './usr/bin/*' './usr/lib/nvidia-cuda-toolkit/*'
extract nvidia-cuda-dev './usr/include/*' '*/libcudart_static.a'

mkdir -p "$cuda"/{bin,include,lib64,nvvm/libdevice}
programs=$work/files/usr/lib/nvidia-cuda-toolkit
cp -r "$programs"/bin/{crt,cicc,nvcc} "$cuda/bin"
cp "$work"/files/usr/bin/{bin2c,cudafe++,cuobjdump,fatbinary,nvlink,ptxas} "$cuda/bin"
cp "$programs"/libdevice/* "$cuda/nvvm/libdevice"
cp -r "$work"/files/usr/include/. "$cuda/include"
cp "$work"/files/usr/lib/*/libcudart_static.a "$cuda/lib64"
cat >"$cuda/bin/nvcc.profile" <<'END'
TOP = $(_HERE_)/..
NVVMIR_LIBRARY_DIR = $(TOP)/nvvm/libdevice
PATH += $(_HERE_):
INCLUDES += "-I$(TOP)/include" $(_SPACE_)
LIBRARIES =+ $(_SPACE_) "-L$(TOP)/lib64"
END
# Where build_deps/cuda.bzl and nvcc look for the host's compiler.
for compiler in gcc g++; do
  printf '#!/bin/sh\nexec %s-11 "$@"\n' "$compiler" >"$cuda/bin/$compiler"
  chmod +x "$cuda/bin/$compiler"
done
"$cuda/bin/nvcc" --version | sed -n 's/^Cuda compilation tools, /==> CUDA: /p' >&2
touch "$cuda/.done"
