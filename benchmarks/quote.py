"""Puts the figures of committed runs into the pages that quote them.

    .venv/bin/python benchmarks/quote.py

rewrites, in README.md and docs, everything between `<!-- figures: NAME -->` and
`<!-- end of figures -->` from docs/figures/*.json, which are the `results.json` of
`benchmarks/run.py`, one for each SIMD level. A test holds the pages against them.
"""

import json
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[1]
PAGES = ("README.md", "docs/performance.md")
LEVELS = {"avx2": "AVX2", "avx512": "AVX-512"}
WORKLOADS = ("W1", "W2", "W3", "W4")
_BLOCK = re.compile(r"(<!-- figures: (\w+) -->\n).*?(<!-- end of figures -->)", re.DOTALL)


def load(folder=ROOT / "docs/figures"):
    """The committed runs by SIMD level."""
    return {level: json.loads((folder / f"{level}.json").read_text()) for level in LEVELS}


def rewrite(text, runs):
    """The page with the figures of `runs`."""
    return _BLOCK.sub(lambda found: f"{found[1]}{TABLES[found[2]](runs)}\n{found[3]}", text)


def _table(header, rows):
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def _number(value):
    if value is None:
        return "-"
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def _targets(run, *starts):
    for target in run["targets"]:
        if target["name"].startswith(starts):
            yield target


def _measured(target):
    return " / ".join(
        _number(target["measured"].get(name)) for name in WORKLOADS if name in target["measured"]
    )


def contest(runs):
    """How many times as fast as others: W1 / W2 / W3 / W4, or W1 / W2."""
    others = {
        "torchvision": ("torchvision / ours, NHWC",),
        "torchvision, ours in NCHW": ("torchvision / ours, NCHW",),
        "best of onnxruntime, Paddle, OpenVINO": ("best of onnxruntime",),
        "`tf.image.crop_and_resize` + pooling (W1 / W2)": (
            "crop_and_resize + avg_pool2d / ours, NHWC, plain",
        ),
        "the same, both with TensorFlow's BFC allocator": (
            "crop_and_resize + avg_pool2d / ours, NHWC, bfc",
        ),
    }
    rows = []
    for name, starts in others.items():
        cells = {
            (level, target["op"]): _measured(target)
            for level, run in runs.items()
            for target in _targets(run, *starts)
        }
        columns = [(level, op) for op in ("forward", "gradient") for level in LEVELS]
        rows.append([name, *(cells.get(column, "-") for column in columns)])
    header = [
        "times as fast as",
        *(f"{op}, {name}" for op in ("forward", "gradient") for name in LEVELS.values()),
    ]
    return _table(header, rows)


def goals(runs):
    """Every target of the benchmark with what was measured."""
    parts = []
    for level, run in runs.items():
        rows = []
        for target in run["targets"]:
            cells = []
            for name in WORKLOADS:
                value = target["measured"].get(name)
                missed = target["passes"].get(name) is False
                cells.append(_number(value) + (" (missed)" if missed else "") if value else "")
            bounds = [f"{bound:g}" for bound in target["bounds"].values()]
            bounds = bounds[:1] if len(set(bounds)) == 1 else bounds
            sign = "at least" if target["at_least"] else "at most"
            rows.append([target["name"], target["op"], f"{sign} {' / '.join(bounds)}", *cells])
        parts.append(
            f"{LEVELS[level]}:\n\n" + _table(["ratio of times", "op", "goal", *WORKLOADS], rows)
        )
    return "\n\n".join(parts)


def times(runs):
    """Our own times."""
    rows = {}
    for level, run in runs.items():
        threads = max(timing["threads"] for timing in run["timings"])
        for timing in run["timings"]:
            is_ours = timing["peer"].startswith("tf_roialign")
            if not is_ours or timing["dtype"] != "float32" or timing["threads"] != threads:
                continue
            if timing["workload"] not in WORKLOADS or timing["op"] == "both":
                continue
            row = LEVELS[level], timing["op"], timing["layout"], timing["peer"].partition("@")[2]
            ms = timing["ms"]
            rows.setdefault(row, {})[timing["workload"]] = (
                f"{ms['median']:.3g} ({ms['quartile_1']:.3g}..{ms['quartile_3']:.3g})"
            )
    return _table(
        ["level", "op", "layout", "allocator", *WORKLOADS],
        [[*row, *(cells.get(name, "-") for name in WORKLOADS)] for row, cells in rows.items()],
    )


def machine(runs):
    """Where the runs were made."""
    names = dict.fromkeys(name for run in runs.values() for name in run["machine"])
    rows = [[name, *(run["machine"].get(name, "-") for run in runs.values())] for name in names]
    versions = [
        ", ".join(f"{name} {version}" for name, version in run["versions"].items())
        for run in runs.values()
    ]
    return _table(["", *LEVELS.values()], [*rows, ["versions", *versions]])


TABLES = {"contest": contest, "goals": goals, "times": times, "machine": machine}


def main():
    runs = load()
    for page in PAGES:
        path = ROOT / page
        path.write_text(rewrite(path.read_text(), runs))


if __name__ == "__main__":
    main()
