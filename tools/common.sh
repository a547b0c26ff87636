# What the scripts here share. Sourced, from the checkout's root.

say() {
  echo "==> $*" >&2
}

die() {
  echo "error: $*" >&2
  exit 1
}

apt_install() {  # DEBIAN_PACKAGE...
  command -v apt-get >/dev/null ||
    die "This is no Debian: install what Debian calls $* and try again."
  [ "$(id -u)" = 0 ] || die "Not root: run \`apt-get install $*\` as root and try again."
  say "Installing $*."
  # The package lists may be missing or old.
  apt-get update -qq >/dev/null || true
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
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
