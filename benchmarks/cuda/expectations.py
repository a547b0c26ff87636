"""What the CUDA kernels are to reach, and whether a run's rows show it.

On one H100. A row is a dictionary as `run.time_workload` makes it.
"""

import dataclasses
import statistics

WORKLOADS = ("W1", "W2", "W3", "W4")


@dataclasses.dataclass(frozen=True)
class Expectation:
    """`measure(rows)` gives a number, or None where the rows that it needs are missing."""

    text: str
    least: float
    measure: object

    def outcome(self, rows):
        value = self.measure(rows)
        if value is None:
            return value, "not measured"
        return value, "held" if value >= self.least else "MISSED"


def _row(rows, workload, op, dtype, layout):
    wanted = {"workload": workload, "pass": op, "dtype": dtype, "layout": layout}
    for row in rows:
        if wanted.items() <= row.items():
            return row
    return None


def _over_torchvision(workload, op, layout):
    def measure(rows):
        row = _row(rows, workload, op, "float32", layout)
        return None if row is None else row["ratio"]

    return measure


def _of_copy(workload, op):
    def measure(rows):
        row = _row(rows, workload, op, "float32", "NHWC")
        return None if row is None else row["of_copy"]

    return measure


def _over_float32(op, dtype):
    """The median of the workloads, in NHWC."""

    def measure(rows):
        ratios = []
        for workload in WORKLOADS:
            pair = [_row(rows, workload, op, each, "NHWC") for each in ("float32", dtype)]
            if all(pair):
                ratios.append(pair[0]["ours_us"] / pair[1]["ours_us"])
        return statistics.median(ratios) if ratios else None

    return measure


def all_of_them():
    least = {("forward", "NHWC"): 4, ("gradient", "NHWC"): 8}
    least |= {("forward", "NCHW"): 2, ("gradient", "NCHW"): 4}
    for (op, layout), times in least.items():
        for workload in WORKLOADS:
            text = f"torchvision / ours, {op}, float32 {layout}, {workload}"
            yield Expectation(text, times, _over_torchvision(workload, op, layout))
    for dtype in ("float16", "bfloat16"):
        for op in ("forward", "gradient"):
            text = f"own float32 / {dtype}, {op}, NHWC, median of the workloads"
            yield Expectation(text, 1.5, _over_float32(op, dtype))
    yield Expectation("of copy bandwidth, forward, W2", 0.75, _of_copy("W2", "forward"))
    yield Expectation("of copy bandwidth, gradient, W2", 0.5, _of_copy("W2", "gradient"))


def markdown(rows):
    lines = ["| expectation | at least | measured | |", "|---|---|---|---|"]
    for each in all_of_them():
        value, outcome = each.outcome(rows)
        shown = "-" if value is None else f"{value:.2f}"
        lines.append(f"| {each.text} | {each.least:g} | {shown} | {outcome} |")
    return "\n".join(lines)
