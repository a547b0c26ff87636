"""Runs Python programs in fresh processes that find what this process finds."""

import os
import subprocess
import sys


def environment(**changes):
    """The environment for a program that imports what this process can import."""
    path = os.pathsep.join([os.path.dirname(__file__), *filter(None, sys.path)])
    return {**os.environ, "PYTHONPATH": path, **changes}


def run(program, *arguments, check=True, **variables):
    """Run the program text with these environment variables; its output comes back as text."""
    process = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        env=environment(**variables),
        capture_output=True,
        text=True,
        check=False,
    )
    if check and process.returncode != 0:
        raise AssertionError(f"exit status {process.returncode}\n{process.stderr[-4000:]}")
    return process
