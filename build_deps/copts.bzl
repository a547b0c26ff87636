"""Compiler options of all C++ code in this repository."""

COPTS = [
    "-std=c++17",
    "-Wall",
    "-Wextra",
    "-fvisibility=hidden",
    "-fvisibility-inlines-hidden",
    # No contraction to fused multiply-add: the geometry decides which samples
    # count, and has to decide the same at every SIMD level and on every device.
    "-ffp-contract=off",
]
