#!/usr/bin/env bash
# Makes `bazelisk build` work in this checkout. Bazelisk comes from npm, and fetches
# the Bazel of .bazelversion; where it may not, Debian's Bazel is used.
# Writes .bazelrc.local, and .bazeliskrc for Debian's Bazel; links .venv/bin/bazelisk.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source tools/common.sh

BAZELISK_PACKAGE=@bazel/bazelisk@1.28.1
DEBIAN_BAZEL=/usr/bin/bazel-4

bazelisk=$(PATH=${PATH//"$PWD/.venv/bin:"/} command -v bazelisk || true)
if [ -z "$bazelisk" ]; then
  # The package has a `bazel` too. Only `bazelisk` goes on PATH: root may have Debian's.
  if [ "$(id -u)" = 0 ]; then
    prefix=/usr/local/lib/bazelisk
  else
    prefix=$PWD/.venv/lib/bazelisk
  fi
  bazelisk=$prefix/bin/bazelisk
  if [ ! -x "$bazelisk" ]; then
    say "Installing bazelisk."
    npm install --silent --global --prefix "$prefix" "$BAZELISK_PACKAGE" >/dev/null ||
      die "npm cannot install $BAZELISK_PACKAGE: is the npm registry in reach?"
  fi
  if [ "$(id -u)" = 0 ]; then
    ln -sf "$bazelisk" /usr/local/bin/bazelisk
  else
    say "Put $PWD/.venv/bin on PATH to have the command bazelisk."
  fi
fi
ln -sf "$bazelisk" .venv/bin/bazelisk

# Bazelisk asked for its Bazel's version downloads that Bazel.
say "Looking for Bazel $(cat .bazelversion)."
if ! version=$(timeout 300 "$bazelisk" --version 2>/dev/null); then
  say "It cannot be downloaded: using Debian's Bazel."
  [ -x "$DEBIAN_BAZEL" ] || packages=bazel-bootstrap
  for package in bazel-platforms bazel-rules-java bazel-rules-proto bazel-skylib; do
    dpkg -s "$package" >/dev/null 2>&1 || packages="${packages:-} $package"
  done
  # shellcheck disable=SC2086
  [ -z "${packages:-}" ] || apt_install $packages
  echo "USE_BAZEL_VERSION=$DEBIAN_BAZEL" >.bazeliskrc
  version=$("$bazelisk" --version)
fi

{
  case $version in
    "bazel no_version" | "bazel 4."*) # Debian's does not know its number.
      echo "build --config=debian"
      for rules in rules_cc remote_coverage_tools; do
        echo "build:debian --override_repository=$rules=$PWD/build_deps/debian/$rules"
      done
      ;;
    *)
      echo "common --noenable_bzlmod"
      ;;
  esac
  # Another TensorFlow, or another CUDA toolkit, makes Bazel look again.
  echo "build --repo_env=TF_ROIALIGN_TF_VERSION=$(tensorflow_version || echo none)"
  echo "build --repo_env=TF_ROIALIGN_CUDA_VERSION=$(nvcc_version)"
} >.bazelrc.local
