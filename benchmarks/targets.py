"""What this project sets out to reach, and whether this run has reached it.

Ratios are with the largest number of threads measured and in float32, unless they say
otherwise.
"""

import dataclasses

from measure import Contender
from peers import CROP, OURS, SIMD_LEVEL
from peers.base import BOX_GRADIENT, FORWARD, GRADIENT
from results import ours
from workloads import STORED

FIXED = ("W1", "W2")

# By SIMD level: times of torchvision over ours, by layout and op, W1 to W4.
_TORCHVISION = {
    "avx512": {
        "NHWC": {FORWARD: (30, 30, 20, 20), GRADIENT: (60, 60, 60, 60)},
        "NCHW": {FORWARD: (8, 8, 8, 8), GRADIENT: (20, 20, 20, 20)},
    },
    "avx2": {
        "NHWC": {FORWARD: (28, 28, 25, 35), GRADIENT: (60, 60, 110, 90)},
        "NCHW": {FORWARD: (12, 10, 15, 30), GRADIENT: (25, 25, 50, 50)},
    },
}
# Times of crop_and_resize + avg_pool2d over ours, both with the same allocator, W1 and W2.
_CROP = {
    "plain": {FORWARD: (9, 14), GRADIENT: (10, 10)},
    "bfc": {FORWARD: (3.5, 4.5), GRADIENT: (4, 5)},
}
# What it gains that memory of outputs is kept, W1 and W2.
_KEPT = {FORWARD: (1.2, 1.2), GRADIENT: (1.5, 1.5)}
# Ours over the machine's limit, buffers reused, W1 to W4.
_LIMIT = {FORWARD: (2.5, 2.5, 3, 3), GRADIENT: (3, 3, 3, 3)}


@dataclasses.dataclass
class Outcome:
    """One line of the table: by workload, the bound and what was measured, None if nothing."""

    name: str
    op: str
    bounds: dict
    measured: dict
    at_least: bool = True

    def passes(self, workload):
        value = self.measured[workload]
        if value is None:
            return None
        bound = self.bounds[workload]
        return value >= bound if self.at_least else value <= bound


def outcomes(results):
    """The `Outcome` of each target, in the order of the table."""
    threads = results.threads
    lines = []

    def line(name, op, bounds, measure, names=STORED, at_least=True):
        if not isinstance(bounds, tuple):
            bounds = (bounds,) * len(names)
        bounds = dict(zip(names, bounds, strict=True))
        lines.append(Outcome(name, op, bounds, {w: measure(w) for w in names}, at_least))

    def peer(name, layout="NCHW"):
        return Contender(name, layout, "float32", threads)

    def of_ours(allocator):
        return peer(f"{OURS}@{allocator}", "NHWC")

    def ratio(slow, fast, op):
        return lambda workload: results.ratio(slow, fast, workload, op)

    for allocator, goals in _CROP.items():
        for op, bounds in goals.items():
            measure = ratio(peer(f"{CROP}@{allocator}", "NHWC"), of_ours(allocator), op)
            name = f"crop_and_resize + avg_pool2d / ours, NHWC, {allocator}"
            line(name, op, bounds, measure, FIXED)
    for op, bounds in _KEPT.items():
        measure = ratio(of_ours("fresh"), of_ours("plain"), op)
        line("own fresh outputs / kept memory", op, bounds, measure, FIXED)

    level = results.machine.get(SIMD_LEVEL)
    for layout, goals in _TORCHVISION.get(level, {}).items():
        for op, bounds in goals.items():
            measure = ratio(peer("torchvision"), ours(layout, threads=threads), op)
            line(f"torchvision / ours, {layout}, {level}", op, bounds, measure)

    def best_of_others(op):
        def measure(workload):
            ratios = [
                results.ratio(peer(name), ours(threads=threads), workload, op)
                for name in ("onnxruntime", "paddle", "openvino")
            ]
            return min((r for r in ratios if r is not None), default=None)

        return measure

    for op, bound in {FORWARD: 10, GRADIENT: 40}.items():
        line("best of onnxruntime, Paddle, OpenVINO / ours, NHWC", op, bound, best_of_others(op))

    for dtype in ("float16", "bfloat16"):
        for op in (FORWARD, GRADIENT):
            for layout in ("NHWC", "NCHW"):
                full, half = ours(layout, threads=threads), ours(layout, dtype, threads)
                line(f"own float32 / {dtype}, {layout}", op, 1, ratio(full, half, op))
    measure = ratio(ours(threads=threads), ours("NHWC", "int8", threads), FORWARD)
    line("own float32 / int8, NHWC", FORWARD, 1.5, measure, FIXED)
    for op in (FORWARD, GRADIENT):
        measure = ratio(ours("NCHW", threads=threads), ours(threads=threads), op)
        line("own NCHW / NHWC", op, 1, measure)

    for op, bounds in _LIMIT.items():
        line(
            "ours, NHWC, bfc / limit of this run",
            op,
            bounds,
            lambda workload, op=op: results.over_limit(of_ours("bfc"), workload, op),
            at_least=False,
        )

    for op in (FORWARD, GRADIENT):
        for layout in ("NHWC", "NCHW"):
            one, two = ours(layout, threads=1), ours(layout, threads=2)
            line(f"one thread / two threads, {layout}", op, 1.7, ratio(one, two, op))

    # Timed in two cells, not in the same rounds.
    for layout in ("NHWC", "NCHW"):

        def over_forward(workload, layout=layout):
            pair = [
                results.get(ours(layout, threads=threads), workload, op)
                for op in (BOX_GRADIENT, FORWARD)
            ]
            return pair[0].median / pair[1].median if all(pair) else None

        line(f"box gradient / forward, {layout}", BOX_GRADIENT, 3, over_forward, at_least=False)
    return lines
