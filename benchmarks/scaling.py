"""How our time grows with the size of the problem."""

import dataclasses

import limits
import numpy as np
import workloads
from peers.base import FORWARD, GRADIENT

OPS = (FORWARD, GRADIENT)


@dataclasses.dataclass
class Series:
    """Times (seconds) against sizes, and the straight line through them."""

    name: str
    op: str
    sizes: list
    times: list

    def __post_init__(self):
        self.slope, self.intercept = map(float, np.polyfit(self.sizes, self.times, 1))
        residual = np.var(np.subtract(self.times, self.line(self.sizes)))
        self.r_squared = float(1 - residual / np.var(self.times))

    def line(self, sizes):
        return self.intercept + self.slope * np.asarray(sizes)

    def as_json(self):
        return {**dataclasses.asdict(self), "slope": self.slope, "r_squared": self.r_squared}


def _workload(rois, channels=256, bins=7, ratio=2, maps=1):
    return workloads.Workload(
        rois=rois,
        input_shape=(1, channels, 200, 272),
        spatial_scale=0.25,
        output_size=(bins, bins),
        sampling_ratio=ratio,
        aligned=True,
        feature_seed=4101,
        grad_seed=4201,
        maps=maps,
    )


def _boxes(count, low=16, high=128):
    return workloads.random_boxes(np.random.default_rng(4000), count, low, high, (800, 1088))


def families():
    """Name of the size, and pairs (size, workload)."""
    yield "boxes", [(n, _workload(_boxes(n))) for n in (250, 500, 1000, 1500, 2000)]
    yield (
        "output bins",
        [(200 * p * p, _workload(_boxes(200), bins=p)) for p in (5, 8, 11, 14, 17)],
    )
    few = _boxes(250)  # and maps that fit in no cache
    yield "channels", [(c, _workload(few, channels=c)) for c in (256, 448, 640, 832, 1024)]
    adaptive = []
    for share in (0.04, 0.2, 0.4, 0.6, 0.8, 1):
        side = 780 * share**0.5
        workload = _workload(_boxes(64, 0.97 * side, side), ratio=0)
        adaptive.append((limits.covered_pixels(workload), workload))
    yield "covered pixels, adaptive sampling", adaptive
    # The first is a call of the op for one map.
    yield "levels of 250 boxes", [(n, _workload(_boxes(250 * n), maps=n)) for n in range(1, 6)]


def measure(contest, threads):
    """The `Series` of each family and op."""
    result = []
    for name, members in families():
        sizes = {f"{size} {name}": size for size, _ in members}
        family = dict(zip(sizes, [workload for _, workload in members], strict=True))
        timings = contest.time_ours(family, OPS, threads)
        for op in OPS:
            times = {sizes[t.workload]: t.median for t in timings if t.op == op}
            result.append(Series(name, op, list(times), list(times.values())))
    return result
