#!/bin/sh
# Debian's cross compiler with its own linker: Bazel adds -B with the folder of the compiler,
# where the linker is that of the machine.
exec aarch64-linux-gnu-gcc -B/usr/aarch64-linux-gnu/bin "$@"
