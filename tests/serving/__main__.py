"""`make triton-faults`: the server under faults for ten minutes, or as long as --seconds says."""

import argparse
import pathlib
import sys
import tempfile

from .faults import Run


def main():
    parser = argparse.ArgumentParser(description="Serves with Triton while things go wrong.")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument(
        "--never-cancel", action="store_true", help="no client of gRPC leaves before its answer"
    )
    parser.add_argument("--folder", type=pathlib.Path, help="for the models and the server's log")
    arguments = parser.parse_args()
    folder = arguments.folder or pathlib.Path(tempfile.mkdtemp(prefix="triton-faults-"))
    folder.mkdir(parents=True, exist_ok=True)
    report = Run(folder, arguments.seconds, not arguments.never_cancel)()
    print(report)
    if report.faults:
        sys.exit(f"The server's log is {folder / 'log'}.")


if __name__ == "__main__":
    main()
