"""The results as Markdown and as JSON."""

import limits
import targets
import workloads
from measure import ratio
from peers import IDENTITY, OURS
from peers.base import FORWARD, RAW
from results import ours

ABSENT = "-"


def markdown(results):
    sections = [
        "# Benchmark of tf_roialign",
        _machine(results),
        "## Targets\n\n" + _targets(results),
        *_contest(results),
        "## The machine's limit\n\n" + _limit(results),
        *_serving(results),
        *_scaling(results),
        "## Absent\n\n" + _absent(results),
    ]
    return "\n\n".join(sections) + "\n"


def as_json(results):
    return {
        "machine": results.machine,
        "versions": results.versions,
        "machine_limits": {
            "median": results.limits.values,
            "lowest": results.limits.lowest,
            "highest": results.limits.highest,
        },
        "disturbance": results.disturbance,
        "timings": [
            {
                "workload": t.workload,
                "op": t.op,
                "peer": t.contender.peer,
                "layout": t.contender.layout,
                "dtype": t.contender.dtype,
                "threads": t.contender.threads,
                "rounds": len(t.rounds),
                "ms": dict(
                    zip(
                        ("median", "least", "quartile_1", "quartile_3"),
                        (float(f"{s * 1e3:.4g}") for s in (t.median, *t.spread)),
                        strict=True,
                    )
                ),
            }
            for t in results.timings
        ],
        "targets": [
            {
                "name": o.name,
                "op": o.op,
                "bounds": o.bounds,
                "at_least": o.at_least,
                "measured": {
                    name: value and float(f"{value:.3g}") for name, value in o.measured.items()
                },
                "passes": {name: o.passes(name) for name in o.measured},
            }
            for o in targets.outcomes(results)
        ],
        "scaling": [series.as_json() for series in results.scaling],
        "absent": [
            {"who": str(who), "workload": workload, "op": op, "reason": reason}
            for who, workload, op, reason in results.absent
        ],
    }


def table(header, rows):
    """A Markdown table, padded so that it reads as text too."""
    lines = [list(map(str, header)), *[list(map(str, row)) for row in rows]]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join(
        "| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |"
        for line in lines
    )


def _machine(results):
    lines = [f"* {name}: {value}" for name, value in results.machine.items()]
    versions = ", ".join(f"{name} {version}" for name, version in results.versions.items())
    lines.append(f"* versions: {versions}")
    worst = sorted(results.disturbance.items(), key=lambda item: -sum(item[1]))[:3]
    if worst:
        shown = [f"{what}: {100 * o:.0f}% / {100 * s:.0f}%" for what, (o, s) in worst]
        lines.append(
            "* CPU time that went to other programs / the hypervisor's other guests while "
            f"something was timed, where it was most: {'; '.join(shown)}"
        )
    return "\n".join(lines)


def _targets(results):
    rows = []
    for outcome in targets.outcomes(results):
        cells = [
            _verdict(outcome, name) if name in outcome.measured else "" for name in workloads.STORED
        ]
        sign = ">=" if outcome.at_least else "<="
        bounds = list(outcome.bounds.values())
        bounds = bounds[:1] if len(set(bounds)) == 1 else bounds
        shown = f"{sign} {' / '.join(f'{bound:g}' for bound in bounds)}"
        rows.append([outcome.name, outcome.op, shown, *cells])
    header = ["ratio of times", "op", "target", *workloads.STORED]
    return (
        f"{results.threads} threads, float32 unless said; `-`: not measured in this run.\n\n"
        + table(header, rows)
    )


def _verdict(outcome, name):
    passes = outcome.passes(name)
    if passes is None:
        return ABSENT
    return f"{outcome.measured[name]:.2f} {'pass' if passes else 'FAIL'}"


def _contest(results):
    for op in results.ops(workloads.STORED):
        names = [n for n in results.workloads(op) if n in workloads.STORED]
        yield f"## {op.capitalize()}\n\n" + _times(results, op, names)


def _times(results, op, names):
    """Times, and below them what they are in ours, layout by layout."""
    contenders = results.contenders(op, names)
    times = [
        [*_columns(c), *[_time(results.get(c, name, op)) for name in names]] for c in contenders
    ]
    ratios = []
    for c in contenders:
        cells = []
        for name in names:
            by_layout = [
                results.ratio(c, ours(layout, threads=c.threads), name, op)
                for layout in ("NHWC", "NCHW")
            ]
            cells.append(" / ".join(_number(r) for r in by_layout))
        ratios.append([*_columns(c), *cells])
    header = ["implementation", "layout", "dtype", "threads", *names]
    return "\n\n".join(
        [
            "Milliseconds: median (minimum; quartiles).",
            table(header, times),
            "As a multiple of ours in NHWC / in NCHW (float32, the same number of threads).",
            table(header, ratios),
        ]
    )


def _columns(contender):
    return [contender.peer, contender.layout, contender.dtype, contender.threads]


def _time(timing):
    if timing is None:
        return ABSENT
    low, first, third = (_number(s * 1e3) for s in timing.spread)
    return f"{_number(timing.median * 1e3)} ({low}; {first}-{third})"


def _number(value):
    """Three digits that count."""
    if value is None:
        return ABSENT
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _measured(value, low, high):
    return f"{_number(value)} ({_number(low)}-{_number(high)})"


def _limit(results):
    if not results.limits.values:
        return f"Absent: {results.limits.problem}"
    parts = []
    for kind, unit in [("bandwidth", "GB/s"), ("multiply_adds", "1e9 multiply-adds/s")]:
        by_threads = results.limits.values[kind]
        names = list(next(iter(by_threads.values())))
        low, high = results.limits.lowest[kind], results.limits.highest[kind]
        rows = [
            [t, *[_measured(v[n], low[t][n], high[t][n]) for n in names]]
            for t, v in by_threads.items()
        ]
        parts.append(
            f"Measured after each workload, {unit}, median (range):\n\n"
            + table(["threads", *names], rows)
        )
    rows = []
    for name in results.demands:
        for op in limits.OPS:
            demand = results.demands[name][op]
            for threads in results.limits.values["bandwidth"]:
                timing = results.get(ours(threads=threads), name, op)
                if timing is None:
                    continue
                memory, arithmetic = results.limits.seconds(demand, threads)
                small, huge = results.limits.page_seconds(demand, threads)
                rows.append(
                    [
                        name,
                        op,
                        threads,
                        _number(demand.elements * 4e-6),
                        _number(demand.multiply_adds * 1e-6),
                        _number(memory * 1e3),
                        _number(arithmetic * 1e3),
                        _number(timing.median * 1e3),
                        _number(results.over_limit(ours(threads=threads), name, op)),
                        f"{_number(small * 1e3)} / {_number(huge * 1e3)}",
                    ]
                )
    header = ["workload", "op", "threads", "MB", "1e6 multiply-adds", "memory ms"]
    header += ["arithmetic ms", "ours ms", "ours / limit", "fresh pages ms (4 KiB / huge)"]
    parts.append(
        "The limit is the larger of `memory ms` (at the quicker of the two copies) and `arithmetic "
        "ms`; ours is NHWC float32. `fresh pages`: what writing the output's memory takes "
        "when the system has to supply it first; it is no part of the limit.\n\n"
        + table(header, rows)
    )
    return "\n\n".join(parts)


def _serving(results):
    """Small calls, in microseconds, and as a multiple of `tf.identity`."""
    names = [n for n in workloads.SERVING if n in results.demands]
    if not names:
        return
    rows = []
    for op in results.ops(names):
        for contender in results.contenders(op, names):
            cells = []
            for name in names:
                timing = results.get(contender, name, op)
                identity = [
                    t
                    for t in results.timings
                    if (t.contender.peer, t.contender.threads) == (IDENTITY, contender.threads)
                    and (t.workload, t.op) == (name, op)
                ]
                if timing is None:
                    cells += [ABSENT, ABSENT]
                    continue
                cells.append(f"{_number(timing.median * 1e6)} ({_number(timing.spread[0] * 1e6)})")
                cells.append(_number(ratio(timing, identity[0])) if identity else ABSENT)
            shown = {FORWARD: "eager", RAW: "eager, raw op"}.get(op, "tf.function")
            rows.append([shown, *_columns(contender), *cells])
    header = ["call", "implementation", "layout", "dtype", "threads"]
    for name in names:
        header += [f"{name} us: median (minimum)", f"{name} / identity"]
    yield (
        "## Serving\n\nBatch 1, forward; `tf.identity` of an output of the same shape.\n\n"
        + table(header, rows)
    )


def _scaling(results):
    if results.scaling:
        rows = [
            [
                series.name,
                series.op,
                _number(series.slope * 1e9),
                _number(series.intercept * 1e3),
                f"{series.r_squared:.4f}",
            ]
            for series in results.scaling
        ]
        header = ["against", "op", "ns per unit", "ms at 0", "R^2 of the line"]
        yield f"## Scaling\n\n{OURS}, NHWC, float32.\n\n" + table(header, rows)


def _absent(results):
    if not results.absent:
        return "Nothing."
    grouped = {}
    for who, workload, op, reason in results.absent:
        grouped.setdefault((str(who), reason), []).append(f"{workload} {op}".strip())
    rows = [
        [who, ", ".join(filter(None, what)) or "all", reason]
        for (who, reason), what in grouped.items()
    ]
    return table(["who", "what", "why"], rows)
