#!/usr/bin/env bash
# Makes `bazelisk build` work in this checkout. Bazelisk comes from npm, and fetches
# the Bazel of .bazelversion; where it may not, Debian's Bazel is used.
# Writes .bazelrc.local, and .bazeliskrc for Debian's Bazel; links .venv/bin/bazelisk.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source tools/common.sh

BAZELISK_PACKAGE=@bazel/bazelisk@1.28.1

if ! bazelisk=$(find_bazelisk); then
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
  # Ubuntu 22.04, for one, has Bazel 3.5, without the rules.
  apt_knows bazel-rules-proto ||
    die "It cannot be downloaded, and this system has no packages of Bazel 4 to take its place:" \
      "let bazelisk reach its downloads, or name a mirror of them in BAZELISK_BASE_URL."
  say "It cannot be downloaded: using Debian's Bazel."
  # shellcheck disable=SC2046
  apt_install $(missing_debian_bazel)
  echo "USE_BAZEL_VERSION=$DEBIAN_BAZEL" >.bazeliskrc
  version=$("$bazelisk" --version)
fi

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
esac >.bazelrc.local
