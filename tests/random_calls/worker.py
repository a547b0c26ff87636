"""The process that makes random calls: `python -m random_calls.worker --way=eager`, in tests/.

Before each call it writes it to a file, so that what ends the process can be seen from outside, and
made again with --replay. What came of the calls is printed as JSON.
"""

import argparse
import collections
import faulthandler
import json
import math
import pathlib
import resource
import sys

import hypothesis
from every_op import NAMES

from random_calls import draw, expected, make

# Beyond what the process has mapped at first. Nothing that is drawn takes as much.
ADDRESS_SPACE = 8 * 2**30
IN_A_ROW = 100


class Fault(AssertionError):
    """What a call must not do."""


class Worker:
    """Makes calls, and counts what comes of them."""

    def __init__(self, current, seconds):
        self._current = current
        self._seconds = seconds
        self.outcomes = collections.defaultdict(collections.Counter)

    def make(self, call):
        """Makes a call; raises a `Fault` for what must not come of it."""
        self._current.write_text(json.dumps(call))
        faulthandler.dump_traceback_later(self._seconds, exit=True)
        try:
            outcome = self._outcome(call)
        finally:
            faulthandler.cancel_dump_traceback_later()
        for each in outcome:
            self.outcomes[call["op"]][each] += 1

    def _outcome(self, call):
        try:
            made = make.Call(call)
        except make.NoSuchTensorError:
            return ["not made"]
        try:
            outputs = made.run()
        except Exception as error:
            kind = make.kind_of(error)
            if kind is None or call["is_right"]:
                raise Fault(f"{type(error).__name__} from {_text(call)}: {error}") from error
            if not make.names_an_argument(error, call["op"]):
                raise Fault(f"No argument is named: {error}\n{_text(call)}") from error
            return [kind]
        if not call["is_right"]:
            return ["success"]
        try:
            was_told = expected.check(call, made.tensors, outputs)
        except AssertionError as error:
            raise Fault(f"Another result than the reference's: {error}\n{_text(call)}") from error
        return ["success", "compared"] if was_told else ["success"]


def _text(call):
    return json.dumps(call)


def search_all(worker, way, examples, seed):
    """Makes about so many calls of all ops together."""
    of_each = math.ceil(examples / len(NAMES))
    for op in NAMES:
        # Each search begins elsewhere, while one that goes on draws what is like its former calls.
        for done in range(0, of_each, IN_A_ROW):
            search(worker, way, op, min(IN_A_ROW, of_each - done), f"{seed} {op} {done}")


def search(worker, way, op, examples, seed):
    """Makes so many calls, and the smallest that hypothesis finds of those that are faults."""

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=examples,
        database=None,
        deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=(hypothesis.Phase.generate, hypothesis.Phase.shrink),
    )
    @hypothesis.given(draw.calls(way, op))
    def each(call):
        worker.make(call)

    each()


def limit_memory():
    with open("/proc/self/statm") as file:
        mapped = int(file.read().split()[0]) * resource.getpagesize()
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (mapped + ADDRESS_SPACE, most))


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--way", choices=["eager", "function", "xla"], default="eager")
    parser.add_argument("--examples", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=120, help="that a call may take")
    parser.add_argument("--current", type=pathlib.Path, default=pathlib.Path("call.json"))
    parser.add_argument("--replay", type=pathlib.Path, help="a file with a call to make again")
    options = parser.parse_args(arguments)
    faulthandler.enable()
    if sys.platform == "linux":
        limit_memory()
    worker = Worker(options.current, options.seconds)
    if options.replay:
        worker.make(json.loads(options.replay.read_text()))
    else:
        search_all(worker, options.way, options.examples, options.seed)
    print(json.dumps(worker.outcomes))


if __name__ == "__main__":
    main()
