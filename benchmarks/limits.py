"""The least that a machine can take: bytes over bandwidth, multiply-adds over their peak."""

import dataclasses
import json
import subprocess

import numpy as np
from peers.base import FORWARD, GRADIENT

OPS = (FORWARD, GRADIENT)


@dataclasses.dataclass(frozen=True)
class Demand:
    """What an op on a workload cannot do without; `output` is the part of `elements` written."""

    elements: int
    output: int
    multiply_adds: int


def axis_taps(c1, c2, length, bins, workload):
    """Which pixels each bin of a box touches on one axis, as `[bins, length]` of bool."""
    one = np.float32
    scale, offset = one(workload.spatial_scale), one(0.5 * workload.aligned)
    start, end = c1 * scale - offset, c2 * scale - offset
    extent = end - start if workload.aligned else max(end - start, one(1))
    bin_size = extent / one(bins)
    grid = workload.sampling_ratio if workload.sampling_ratio > 0 else int(np.ceil(bin_size))
    touched = np.zeros((bins, length), bool)
    if grid <= 0:
        return touched
    p = np.arange(bins, dtype=one)[:, None]
    t = np.arange(grid, dtype=one)[None]
    v = start + p * bin_size + (t + one(0.5)) * bin_size / one(grid)
    p = np.broadcast_to(np.arange(bins)[:, None], v.shape)
    inside = (v >= -1) & (v <= length)
    low = np.clip(np.floor(v[inside]), 0, length - 1).astype(int)
    touched[p[inside], low] = True
    touched[p[inside], np.minimum(low + 1, length - 1)] = True
    return touched


def box_taps(workload):
    """Yields (image, taps of y, taps of x) for each box."""
    _, _, height, width = workload.input_shape
    bins_y, bins_x = workload.output_size
    for image, x1, y1, x2, y2 in workload.rois:
        yield (
            int(image),
            axis_taps(y1, y2, height, bins_y, workload),
            axis_taps(x1, x2, width, bins_x, workload),
        )


def covered_pixels(workload):
    """Sum over the boxes of the feature pixels that each touches."""
    return sum(int(y.any(0).sum() * x.any(0).sum()) for _, y, x in box_taps(workload))


def demands(workload):
    """The `Demand` of each of `OPS`.

    Pixels that several boxes touch are read once. Multiply-adds: for each box the cheapest
    of summing its taps one by one, and of one axis first and then the other.
    """
    images, channels, height, width = workload.input_shape
    touched = np.zeros((images, height, width), bool)
    multiply_adds = 0
    for image, y, x in box_taps(workload):
        rows, columns = y.any(0), x.any(0)
        touched[image] |= rows[:, None] & columns[None]
        taps_y, taps_x = int(y.sum()), int(x.sum())
        multiply_adds += min(
            taps_y * taps_x,
            int(rows.sum()) * taps_x + taps_y * len(x),
            int(columns.sum()) * taps_y + taps_x * len(y),
        )
    pooled = int(np.prod(workload.output_shape))
    whole_map = int(np.prod(workload.input_shape))
    read = int(touched.sum()) * channels
    return {
        FORWARD: Demand(read + pooled, pooled, multiply_adds * channels),
        GRADIENT: Demand(pooled + whole_map, whole_map, multiply_adds * channels),
    }


class MachineLimits:
    """What the program `machine_limits` measured.

    Called several times during a run, for what a virtual machine gets changes: two virtual
    cores may have one path to the memory, and later one each.

    Attributes:
      values: Medians over the calls, by kind, number of threads and name.
      lowest: Likewise the least of the calls.
      highest: Likewise the best.
      problem: Why there are none, if there are none.
    """

    def __init__(self, program, threads):
        self.command = [str(program), *map(str, threads)]
        self.values, self.lowest, self.highest = {}, {}, {}
        self.problem = None
        self._calls = []

    def measure(self):
        try:
            done = subprocess.run(self.command, capture_output=True, text=True, timeout=120)
        except (OSError, subprocess.TimeoutExpired) as error:
            self.problem = f"{error}; build it with: bazelisk build //benchmarks:machine_limits"
            return
        if done.returncode:
            self.problem = done.stderr.strip()
            return
        self._calls.append(json.loads(done.stdout))
        self.values = self._over_calls(np.median)
        self.lowest = self._over_calls(min)
        self.highest = self._over_calls(max)

    def _over_calls(self, summary):
        return {
            kind: {
                int(threads): {
                    name: float(summary([call[kind][threads][name] for call in self._calls]))
                    for name in by_name
                }
                for threads, by_name in by_threads.items()
            }
            for kind, by_threads in self._calls[0].items()
        }

    def seconds(self, demand, threads, item_size=4):
        """(by memory, by arithmetic); the limit is the larger one."""
        bandwidth = self.values["bandwidth"][threads]
        copy = max(bandwidth["copy"], bandwidth["copy_stream"]) * 1e9
        peak = max(self.values["multiply_adds"][threads].values(), default=np.inf) * 1e9
        return demand.elements * item_size / copy, demand.multiply_adds / peak

    def page_seconds(self, demand, threads, item_size=4):
        """What the kernel takes for the output's pages: (small ones, huge ones)."""
        bandwidth = self.values["bandwidth"][threads]
        size = demand.output * item_size * 1e-9
        return size / bandwidth["fill_fresh"], size / bandwidth["fill_fresh_huge"]
