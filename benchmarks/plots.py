"""The plots."""

import numpy as np
import workloads
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter
from peers import CROP, OURS, VARIANTS
from peers.base import FORWARD, FUNCTION, GRADIENT

_COLOURS = {
    OURS: "#0b6e4f",
    CROP: "#f2a541",
    "torchvision": "#c1443c",
    "onnxruntime": "#5b7db1",
    "openvino": "#8e6bbf",
    "paddle": "#7a7a7a",
    "identity": "#c9c9c9",
}
_HATCHES = {"NCHW": "//"}


def write(results, folder):
    """Writes the PNGs and returns their paths."""
    figures = {"contest.png": _contest(results), "serving.png": _serving(results)}
    if results.scaling:
        figures["scaling.png"] = _scaling(results)
    paths = []
    for name, figure in figures.items():
        if figure is not None:
            paths.append(folder / name)
            figure.savefig(paths[-1])
    return paths


def _contest(results):
    threads = results.threads
    ops = [op for op in results.ops(workloads.STORED) if op in (FORWARD, GRADIENT)]
    if not ops:
        return None
    figure = Figure(figsize=(7, 4.2 * len(ops)), dpi=130, layout="constrained")
    for axes, op in zip(figure.subplots(len(ops), 1, squeeze=False).flat, ops, strict=True):
        names = [n for n in results.workloads(op) if n in workloads.STORED]
        shown = [
            c
            for c in results.contenders(op, names)
            if c.threads == threads and c.dtype == "float32" and c.peer not in VARIANTS
        ]
        _bars(axes, results, op, names, shown, 1e3)
        if results.limits.values:
            for i, name in enumerate(names):
                limit = max(results.limits.seconds(results.demands[name][op], threads)) * 1e3
                label = "limit of this machine" if i == 0 else None
                axes.hlines(limit, i - 0.42, i + 0.42, "black", "dotted", label=label)
        axes.set(title=f"{op}, float32, {threads} threads", ylabel="ms")
        axes.legend(fontsize=9, ncol=3, loc="upper center", bbox_to_anchor=(0.5, -0.08))
    return figure


def _bars(axes, results, op, names, contenders, unit):
    """Groups of bars, one group per workload, and their medians in figures."""
    width = 0.84 / len(contenders)
    for i, contender in enumerate(contenders):
        timings = [results.get(contender, name, op) for name in names]
        heights = [t.median * unit if t else np.nan for t in timings]
        bars = axes.bar(
            np.arange(len(names)) - 0.42 + (i + 0.5) * width,
            heights,
            width,
            label=f"{contender.peer} {contender.layout}",
            color=_COLOURS[contender.peer],
            hatch=_HATCHES.get(contender.layout) if contender.is_ours else None,
            edgecolor="white",
        )
        texts = ["" if np.isnan(h) else f"{h:.0f}" if h >= 100 else f"{h:.3g}" for h in heights]
        axes.bar_label(bars, texts, fontsize=9, padding=2, rotation=90)
    axes.set_yscale("log")
    axes.margins(y=0.15)
    axes.set_xticks(range(len(names)), names)
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)


def _serving(results):
    names = [n for n in workloads.SERVING if n in results.demands]
    if not names:
        return None
    figure = Figure(figsize=(7, 8), dpi=130, layout="constrained")
    titles = {FORWARD: "eager", FUNCTION: "inside a tf.function"}
    for axes, (op, title) in zip(figure.subplots(2, 1), titles.items(), strict=True):
        shown = [c for c in results.contenders(op, names) if c.threads == results.threads]
        if not shown:
            continue
        _bars(axes, results, op, names, shown, 1e6)
        boxes = [f"{name[1:]} box{'es' if name != 'S1' else ''}" for name in names]
        axes.set_xticks(range(len(names)), boxes)
        axes.set(title=f"batch 1, {title}, {results.threads} threads", ylabel="us")
        axes.legend(fontsize=9, ncol=3, loc="upper center", bbox_to_anchor=(0.5, -0.08))
    return figure


def _scaling(results):
    names = list(dict.fromkeys(series.name for series in results.scaling))
    ops = list(dict.fromkeys(series.op for series in results.scaling))
    # Narrow enough for a phone: what it is against goes down.
    figure = Figure(figsize=(3.5 * len(ops), 2.6 * len(names)), dpi=130, layout="constrained")
    panels = figure.subplots(len(names), len(ops), squeeze=False)
    for series in results.scaling:
        axes = panels[names.index(series.name), ops.index(series.op)]
        line = np.array([0, max(series.sizes)])
        axes.plot(line, series.line(line) * 1e3, color="#bbbbbb", label="straight line")
        axes.plot(series.sizes, np.array(series.times) * 1e3, "o", color=_COLOURS[OURS])
        axes.set(title=f"{series.op}, R² = {series.r_squared:.4f}", xlabel=series.name, ylabel="ms")
        axes.set_ylim(bottom=0)
        axes.set_xlim(left=0)
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.grid(alpha=0.3)
    return figure
