#!/usr/bin/env bash
# Whether each SIMD level keeps what it defines to its own namespace. The linker takes one
# copy of what several objects define with external linkage, perhaps the AVX-512 one for all.
# Usage: levels_leak_nothing_test.sh LEVEL=ARCHIVE...
set -euo pipefail

[ "$#" != 0 ] || { echo "no archives given" >&2; exit 1; }
leaks=0
for argument in "$@"; do
  level=${argument%%=*}
  archive=${argument#*=}
  symbols=$(nm "$archive")
  if grep -qE ' U __(asan|tsan|ubsan)_' <<<"$symbols"; then
    echo "$level: not looked at, since sanitizers keep functions from being inlined"
    continue
  fi
  # Defined, and external or weak. DW.ref is a pointer for exceptions, the same in all.
  shown=$(nm --extern-only --defined-only --demangle "$archive" |
    grep -E '^[0-9a-f]+ ' | grep -v ' V DW\.ref\.__gxx_personality_v0$' || true)
  if ! grep -q "tf_roialign::$level::Kernels<" <<<"$shown"; then
    echo "$level: $archive does not define its kernels" >&2
    leaks=1
  fi
  of_level="^[0-9a-f]+ . (tf_roialign::CpuKernels<[^<>]*> const& )?tf_roialign::$level::"
  if others=$(grep -vE "$of_level" <<<"$shown"); then
    echo "$level: external linkage outside tf_roialign::$level:" >&2
    echo "$others" >&2
    leaks=1
  fi
done
exit "$leaks"
