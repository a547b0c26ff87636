"""What this project sets out to reach, and whether this run has reached it.

Ratios are with the largest number of threads measured and in float32, unless they say
otherwise.
"""

import dataclasses

from measure import Contender
from peers import CROP
from peers.base import BOX_GRADIENT, FORWARD, GRADIENT
from results import ours
from workloads import STORED

FIXED = ("W1", "W2")
ADAPTIVE = ("W3", "W4")


@dataclasses.dataclass
class Outcome:
    """One line of the table; `measured` by workload, None where it could not be had."""

    name: str
    op: str
    bound: float
    measured: dict
    at_least: bool = True

    def passes(self, workload):
        value = self.measured[workload]
        if value is None:
            return None
        return value >= self.bound if self.at_least else value <= self.bound


def outcomes(results):
    """The `Outcome` of each target, in the order of the table."""
    threads = results.threads
    lines = []

    def than_peer(name, peers, names, bounds, layout="NHWC"):
        for op, bound in bounds.items():
            measured = {}
            for workload in names:
                ratios = [
                    results.ratio(
                        Contender(peer, "NHWC" if peer == CROP else "NCHW", "float32", threads),
                        ours(layout, threads=threads),
                        workload,
                        op,
                    )
                    for peer in peers
                ]
                measured[workload] = min((r for r in ratios if r is not None), default=None)
            lines.append(Outcome(name, op, bound, measured))

    than_peer(
        "crop_and_resize + avg_pool2d / ours, NHWC", [CROP], FIXED, {FORWARD: 2.5, GRADIENT: 2}
    )
    than_peer("torchvision / ours, NHWC", ["torchvision"], FIXED, {FORWARD: 30, GRADIENT: 60})
    than_peer("torchvision / ours, NHWC", ["torchvision"], ADAPTIVE, {FORWARD: 20, GRADIENT: 60})
    than_peer(
        "best of onnxruntime, Paddle, OpenVINO / ours, NHWC",
        ["onnxruntime", "paddle", "openvino"],
        STORED,
        {FORWARD: 10, GRADIENT: 40},
    )
    than_peer(
        "torchvision / ours, NCHW", ["torchvision"], STORED, {FORWARD: 8, GRADIENT: 20}, "NCHW"
    )

    for dtype in ("float16", "bfloat16"):
        for op in (FORWARD, GRADIENT):
            for layout in ("NHWC", "NCHW"):
                full, half = ours(layout, threads=threads), ours(layout, dtype, threads)
                measured = {w: results.ratio(full, half, w, op) for w in STORED}
                lines.append(Outcome(f"own float32 / {dtype}, {layout}", op, 1, measured))

    measured = {
        w: results.ratio(ours(threads=threads), ours("NHWC", "int8", threads), w, FORWARD)
        for w in FIXED
    }
    lines.append(Outcome("own float32 / int8, NHWC", FORWARD, 1.5, measured))

    for op, bound in {FORWARD: 2, GRADIENT: 2.5}.items():
        measured = {w: results.over_limit(ours(threads=threads), w, op) for w in FIXED}
        lines.append(Outcome("ours, NHWC / limit of this run", op, bound, measured, False))

    for op in (FORWARD, GRADIENT):
        for layout in ("NHWC", "NCHW"):
            one, two = ours(layout, threads=1), ours(layout, threads=2)
            measured = {w: results.ratio(one, two, w, op) for w in STORED}
            lines.append(Outcome(f"one thread / two threads, {layout}", op, 1.7, measured))

    # Timed in two cells, not in the same rounds.
    for layout in ("NHWC", "NCHW"):
        measured = {}
        for workload in STORED:
            pair = [
                results.get(ours(layout, threads=threads), workload, op)
                for op in (BOX_GRADIENT, FORWARD)
            ]
            measured[workload] = pair[0].median / pair[1].median if all(pair) else None
        lines.append(Outcome(f"box gradient / forward, {layout}", BOX_GRADIENT, 3, measured, False))
    return lines
