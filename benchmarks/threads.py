"""Plots what calls take with 1 to 96 threads, as //benchmarks:serial_parts predicts it.

    .venv/bin/bazelisk build //benchmarks:serial_parts
    .venv/bin/python benchmarks/threads.py --output-dir build/threads

Times are CPU times of one thread, put together by the model at the top of serial_parts.cc,
which says what it leaves out. Nothing else should run meanwhile. About two minutes.
"""

import argparse
import csv
import pathlib
import subprocess

from matplotlib.figure import Figure

_ROOT = pathlib.Path(__file__).resolve().parent.parent
_WORKLOADS = ("W1", "W2", "W3", "W4", "S20")
_OPS = ("forward", "gradient", "box gradient")


def predictions(program):
    """{(workload, layout, op): {threads: milliseconds}}"""
    text = subprocess.run(
        [program, "--csv", *_WORKLOADS], capture_output=True, text=True, check=True
    ).stdout
    times = {}
    for workload, layout, op, threads, milliseconds in csv.reader(text.splitlines()):
        times.setdefault((workload, layout, op), {})[int(threads)] = float(milliseconds)
    return times


def plot(times):
    figure = Figure(figsize=(7, 9), dpi=130, layout="constrained")
    panels = figure.subplots(len(_OPS), 2, sharex=True)
    for column, layout in zip(panels.T, ("NHWC", "NCHW"), strict=True):
        for axes, op in zip(column, _OPS, strict=True):
            for workload in _WORKLOADS:
                call = times[workload, layout, op]
                threads = list(call)
                (line,) = axes.plot(
                    threads, list(call.values()), "o-", markersize=4, label=workload
                )
                ideal = [call[1] / number for number in threads]
                axes.plot(threads, ideal, ":", color=line.get_color(), linewidth=1)
            axes.set(title=f"{op}, {layout}", xscale="log", yscale="log")
            axes.set_xticks(list(call), [str(threads) for threads in call])
            axes.minorticks_off()
            axes.grid(alpha=0.3)
    for axes in panels[:, 0]:
        axes.set_ylabel("ms, predicted")
    for axes in panels[-1]:
        axes.set_xlabel("threads (dotted: no loss)")
    panels[0, 0].legend(fontsize=8)
    return figure


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    program = _ROOT / "bazel-bin/benchmarks/serial_parts"
    parser.add_argument("--serial-parts", type=pathlib.Path, default=program)
    parser.add_argument("--output-dir", type=pathlib.Path, default=_ROOT / "build/threads")
    options = parser.parse_args()
    times = predictions(options.serial_parts)
    options.output_dir.mkdir(parents=True, exist_ok=True)
    plot(times).savefig(options.output_dir / "threads.png")
    print("| efficiency at 8 / 32 / 96 threads, % | forward | gradient | box gradient |")
    print("| --- | --- | --- | --- |")
    for workload in _WORKLOADS:
        for layout in ("NHWC", "NCHW"):
            cells = []
            for op in _OPS:
                call = times[workload, layout, op]
                shares = [100 * call[1] / (threads * call[threads]) for threads in (8, 32, 96)]
                cells.append(" / ".join(f"{share:.0f}" for share in shares))
            print(f"| {workload} {layout} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
