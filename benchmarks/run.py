"""Times tf_roialign against its peers and the machine's limits: see README.md here."""

import json
import sys

import contest
import limits
import machine
import measure
import options
import plots
import report
import results
import scaling


def main():
    opts = options.parse()
    opts.output_dir.mkdir(parents=True, exist_ok=True)
    budget = measure.Budget(opts.seconds, opts.min_rounds, max_rounds=24)
    machine_limits = limits.MachineLimits(opts.machine_limits, opts.threads)
    with contest.Contest(opts, budget) as race:
        race.run(between=machine_limits.measure)
        series = scaling.measure(race, max(opts.threads)) if opts.scaling else []

    found = results.Results(
        timings=race.timings,
        absent=race.absent,
        versions=race.versions,
        machine={**machine.describe(), **race.facts},
        limits=machine_limits,
        scaling=series,
        disturbance=race.disturbance.shares,
    )
    text = report.markdown(found)
    (opts.output_dir / "report.md").write_text(text)
    (opts.output_dir / "results.json").write_text(json.dumps(report.as_json(found), indent=1))
    print(text)
    written = plots.write(found, opts.output_dir)
    names = ", ".join(["report.md", "results.json", *[path.name for path in written]])
    print(f"Written to {opts.output_dir}: {names}", file=sys.stderr)


if __name__ == "__main__":
    main()
