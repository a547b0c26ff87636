# What the scripts here share. Sourced, from the checkout's root.

say() {
  echo "==> $*" >&2
}

die() {
  echo "error: $*" >&2
  exit 1
}

apt_install() {  # DEBIAN_PACKAGE...
  [ "$#" != 0 ] || return 0
  command -v apt-get >/dev/null ||
    die "This is no Debian: install what Debian calls $* and try again."
  [ "$(id -u)" = 0 ] || die "Not root: run \`apt-get install $*\` as root and try again."
  say "Installing $*."
  # The package lists may be missing or old.
  apt-get update -qq >/dev/null || true
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" \
    </dev/null >/dev/null
}

# Whether there is such a package to install, or installed; on a machine without apt, as if.
apt_knows() {  # DEBIAN_PACKAGE
  command -v apt-cache >/dev/null || return 0
  ! apt-cache show "$1" >/dev/null 2>&1 || return 0
  [ "$(id -u)" != 0 ] || apt-get update -qq >/dev/null || true
  apt-cache show "$1" >/dev/null 2>&1
}

# pip install into .venv: with pip's progress bars on a terminal, elsewhere with a line
# for each large file.
pip_install() {  # PIP_ARGUMENT...
  if [ -t 1 ]; then
    .venv/bin/pip install "$@"
  else
    .venv/bin/pip install --progress-bar off "$@" | sed -nu \
      -e 's/^ *\(Downloading .* ([0-9]\{2,\}\(\.[0-9]*\)\{0,1\} MB)\).*/    \1/p' \
      -e 's/^Installing collected packages:.*/    Unpacking/p'
  fi
}

# Sets a variable for Bazel's repository rules in .bazelrc.local: with another value, the
# rules that name it look again at what is installed.
set_repo_env() {  # NAME VALUE
  local line="build --repo_env=$1=$2"
  ! grep -qxF -- "$line" .bazelrc.local 2>/dev/null || return 0
  { grep -v -- "--repo_env=$1=" .bazelrc.local || true; echo "$line"; } >.bazelrc.local.new
  mv .bazelrc.local.new .bazelrc.local
}

# Prints the path of the bazelisk that there is, on PATH or put there by the set-up.
find_bazelisk() {
  PATH=${PATH//"$PWD/.venv/bin:"/} command -v bazelisk ||
    compgen -G "$PWD/.venv/lib/bazelisk/bin/bazelisk"
}

DEBIAN_BAZEL=/usr/bin/bazel-4

# Prints the packages that Debian's Bazel needs and that are not installed.
missing_debian_bazel() {
  [ -x "$DEBIAN_BAZEL" ] || echo bazel-bootstrap
  local package
  for package in bazel-platforms bazel-rules-java bazel-rules-proto bazel-skylib; do
    dpkg -s "$package" >/dev/null 2>&1 || echo "$package"
  done
}

# Prints the version of the TensorFlow in .venv, whatever its package is called;
# fails if there is none.
tensorflow_version() {
  .venv/bin/python - <<'END'
import importlib.metadata
import importlib.util
import sys

if importlib.util.find_spec("tensorflow") is None:
    sys.exit(1)
names = importlib.metadata.packages_distributions().get("tensorflow", [])
print(importlib.metadata.version(names[0]) if names else "unknown")
END
}

# Prints the paths of the nvcc compilers that the build takes: those with a runtime to
# link statically.
nvcc_paths() {
  local nvcc
  for nvcc in "${CUDA_HOME:-}/bin/nvcc" "${CUDA_PATH:-}/bin/nvcc" \
    .venv/lib/python3*/site-packages/nvidia/*/bin/nvcc \
    "$(command -v nvcc || true)" /usr/local/cuda/bin/nvcc; do
    [ -x "$nvcc" ] || continue
    local root
    root=$(dirname "$(dirname "$(readlink -f "$nvcc")")")
    if compgen -G "$root/lib*/libcudart_static.a" >/dev/null ||
      compgen -G "$root/targets/*/lib/libcudart_static.a" >/dev/null; then
      echo "$nvcc"
    fi
  done
}

# Prints the version of the first of them, or "none".
nvcc_version() {
  local nvcc
  nvcc=$(nvcc_paths | head -n 1)
  [ -z "$nvcc" ] || "$nvcc" --version | sed -n 's/.*, V\([0-9.]*\)$/\1/p'
  [ -n "$nvcc" ] || echo none
}

# The minor versions that a release serves, oldest first.
release_minors() {
  grep -o '^[0-9.]*' tools/tensorflows.txt
}

# The oldest Keras that the oldest of them takes.
OLDEST_KERAS=3.5.0
