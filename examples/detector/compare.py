"""Trains the same detector with each pooler, from the same seed, and prints a table.

    cd examples
    ../.venv/bin/python -m detector.compare

Each pooler has a process of its own, for its memory. The table is written to
build/detector/compare/table.md.
"""

import argparse
import json
import pathlib
import subprocess
import sys

from .poolers import POOLERS
from .train import OUTPUT_DIR

_COLUMNS = {
    "box AP": "box_ap",
    "mask AP": "mask_ap",
    "mask IoU in the true boxes": "mask_iou",
    "step, ms": "step_ms",
    "peak memory, MB": "peak_memory_mb",
    "training, minutes": "train_minutes",
}


def table(results):
    """Markdown of {pooler: results}."""
    lines = [
        "| pooler | " + " | ".join(_COLUMNS) + " |",
        "| --- |" + " --- |" * len(_COLUMNS),
    ]
    for pooler, row in results.items():
        cells = [_cell(row[key]) for key in _COLUMNS.values()]
        lines.append(f"| `{pooler}` | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(value):
    return "not measured" if value is None else f"{value:.3f}" if value < 5 else f"{value:.0f}"


def main():
    """Compares by the command line; arguments that are not its own go to `detector.train`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output-dir", type=pathlib.Path, default=OUTPUT_DIR / "compare")
    parser.add_argument("--poolers", nargs="+", choices=POOLERS, default=list(POOLERS))
    arguments, of_training = parser.parse_known_args()
    results = {}
    for pooler in arguments.poolers:
        folder = arguments.output_dir / pooler
        command = [sys.executable, "-m", "detector.train", "--pooler", pooler]
        command += ["--output-dir", str(folder), *of_training]
        subprocess.run(command, check=True, cwd=pathlib.Path(__file__).resolve().parents[1])
        results[pooler] = json.loads((folder / "results.json").read_text())["results"]
        (arguments.output_dir / "table.md").write_text(table(results))
    print(table(results))


if __name__ == "__main__":
    main()
