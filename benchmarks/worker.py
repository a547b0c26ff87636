"""One peer in a process of its own; `process.Worker` is its other end.

Reads commands as lines of JSON from standard input and answers each with one line. What
libraries print goes to standard error.
"""

import gc
import importlib
import importlib.metadata
import json
import os
import sys
import time

import numpy as np
import workloads
from peers import base

SAMPLES = 50_000


def summarize(result, layout, op):
    """Elements at fixed places, the same in every layout, and the sum of magnitudes."""
    if op != base.BOX_GRADIENT and layout == "NHWC":
        result = result.transpose(0, 3, 1, 2)
    places = np.random.default_rng(0).integers(0, result.size, min(SAMPLES, result.size))
    samples = result[np.unravel_index(places, result.shape)]
    return {
        "shape": result.shape,
        "samples": samples,
        "magnitude": np.abs(result).sum(dtype=np.float64),
    }


class Server:
    """The commands. A case is named by its workload, op, dtype and layout."""

    def __init__(self, name, threads):
        self.peer = importlib.import_module(f"peers.{name}").Peer(threads)
        self.problems = {}
        self.cases = {}

    def hello(self):
        return {
            "layouts": self.peer.layouts,
            "ops": self.peer.ops,
            "versions": dict(_versions(self.peer.packages)),
            "facts": self.peer.facts,
        }

    def load(self, workload, path):
        self.problems[workload] = self.peer.load(workloads.load(path))

    def unload(self):
        self.problems.clear()
        self.cases.clear()
        gc.collect()

    def prepare(self, workload, op, dtype, layout, path):
        """Runs the case once and writes what came out to `path`."""
        problem = self.problems[workload]
        case = problem.case(op, dtype, layout)
        start = time.perf_counter()
        result = case()
        seconds = time.perf_counter() - start
        np.savez(path, **summarize(problem.to_numpy(result), layout, op))
        self.cases[workload, op, dtype, layout] = case
        return {"seconds": seconds}

    def run(self, workload, op, dtype, layout, repeat):
        case = self.cases[workload, op, dtype, layout]
        seconds = []
        for _ in range(repeat):
            start = time.perf_counter()
            result = case()
            seconds.append(time.perf_counter() - start)
            del result
        return {"seconds": seconds}


def _versions(packages):
    for package in packages:
        try:
            yield package, importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue


def _first_line(error):
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__


def main():
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def reply(value):
        replies.write(json.dumps(value) + "\n")

    try:
        server = Server(sys.argv[1], int(sys.argv[2]))
    except Exception as error:  # whatever a library does when it cannot start
        reply({"error": _first_line(error)})
        return
    reply(server.hello())
    gc.disable()  # not while something is timed
    for line in sys.stdin:
        command = json.loads(line)
        try:
            reply(getattr(server, command.pop("command"))(**command) or {})
        except Exception as error:
            reply({"error": _first_line(error)})


if __name__ == "__main__":
    main()
