"""Times contenders in turns, so that what disturbs one disturbs all.

In each round every case runs once, in an order drawn anew; ratios are of two times from the
same round.
"""

import dataclasses
import pathlib
import random
import tempfile

import numpy as np
from peers import IDENTITY, OURS
from process import WorkerError

# A round of a quick case is a burst of runs, of which the median counts.
_BURST_SECONDS = 0.01
_MAX_BURST = 200
# Largest error to be accepted, over the largest value; and the share of elements that may
# be beyond it: crop_and_resize does not clamp on the map's rim, and where the map is float16
# some peers want such boxes, too, whose coordinates are off by up to half a pixel.
_TOLERANCE = {"float32": 1e-3, "float16": 2e-2, "bfloat16": 6e-2, "int8": 6e-2}
_MAX_BEYOND = {"float32": 0.02, "float16": 0.25, "bfloat16": 0.25, "int8": 0.02}
_MAGNITUDE_TOLERANCE = 0.02


@dataclasses.dataclass(frozen=True)
class Contender:
    peer: str
    layout: str
    dtype: str
    threads: int

    @property
    def is_ours(self):
        return self.peer == OURS

    def __str__(self):
        return f"{self.peer} {self.layout} {self.dtype} x{self.threads}"


@dataclasses.dataclass
class Timing:
    """`rounds`: seconds by the number of the round."""

    contender: Contender
    op: str
    workload: str
    rounds: dict

    @property
    def median(self):
        return float(np.median(list(self.rounds.values())))

    @property
    def spread(self):
        """Minimum, lower and upper quartile."""
        times = list(self.rounds.values())
        return (min(times), *map(float, np.percentile(times, [25, 75])))


def ratio(slow, fast):
    """Median of the quotients of two timings, round by round."""
    common = slow.rounds.keys() & fast.rounds.keys()
    return float(np.median([slow.rounds[r] / fast.rounds[r] for r in common])) if common else None


@dataclasses.dataclass
class Budget:
    """How long to measure: `seconds` per case, but `min_rounds` where that is too short.

    Peers' 16-bit types, which can take a minute, get one round at the least.
    """

    seconds: float
    min_rounds: int
    max_rounds: int

    def rounds(self, seconds, contender):
        low = self.min_rounds if contender.is_ours or contender.dtype == "float32" else 1
        return int(np.clip(self.seconds / max(seconds, 1e-9), low, self.max_rounds))


@dataclasses.dataclass(frozen=True)
class Case:
    """One op on one workload by one contender."""

    workload: str
    op: str
    contender: Contender

    def ask(self, workers, command, **arguments):
        """Sends a command about this case to the worker that it belongs to."""
        worker = workers[self.contender.peer, self.contender.threads]
        return worker.ask(
            command,
            workload=self.workload,
            op=self.op,
            dtype=self.contender.dtype,
            layout=self.contender.layout,
            **arguments,
        )


class Heat:
    """Times cases in turns."""

    def __init__(self, workers, absent):
        self.workers = workers  # by (peer, threads); they have loaded the workloads
        self.absent = absent  # collects (contender, workload, op, reason)
        self._seconds = {}  # of the latest run, by case; those that are still in it

    def time(self, cases, budget):
        """Returns a `Timing` for each case that computes the right thing."""
        self._prepare(cases)
        bursts = {
            case: int(np.clip(_BURST_SECONDS / max(seconds, 1e-9), 1, _MAX_BURST))
            for case, seconds in self._seconds.items()
        }
        # The first run was a cold one; a second, untimed, where it costs little.
        for case, seconds in list(self._seconds.items()):
            if seconds < 0.2:
                self._run(case, bursts[case])
        counts = {
            case: budget.rounds(seconds * bursts[case], case.contender)
            for case, seconds in self._seconds.items()
        }
        total = max(counts.values(), default=0)
        strides = {case: _stride(count, total) for case, count in counts.items()}

        timings = {c: Timing(c.contender, c.op, c.workload, {}) for c in self._seconds}
        order = random.Random(0)
        for number in range(total):
            turn = [c for c in self._seconds if number % strides[c] == 0]
            order.shuffle(turn)
            for case in turn:
                time = self._run(case, bursts[case])
                if time is not None:
                    timings[case].rounds[number] = time
        return [timing for timing in timings.values() if timing.rounds]

    def _run(self, case, burst):
        try:
            times = case.ask(self.workers, "run", repeat=burst)["seconds"]
        except WorkerError as error:
            self._drop(case, str(error))
            return None
        self._seconds[case] = float(np.median(times))
        return self._seconds[case]

    def _drop(self, case, reason):
        self.absent.append((case.contender, case.workload, case.op, reason))
        self._seconds.pop(case, None)

    def _prepare(self, cases):
        """Runs each case once and compares the results with the first one's."""
        self._seconds = {}
        references = {}
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "result.npz")
            for case in cases:
                try:
                    first = case.ask(self.workers, "prepare", path=str(path))["seconds"]
                except WorkerError as error:
                    self._drop(case, str(error))
                    continue
                with np.load(path) as stored:
                    result = dict(stored)
                reference = references.setdefault((case.workload, case.op), result)
                problem = None
                if case.contender.peer != IDENTITY:
                    problem = disagreement(result, reference, case.contender.dtype)
                if problem:
                    self._drop(case, f"not timed, its result differs: {problem}")
                else:
                    self._seconds[case] = first


def _stride(count, total):
    """Every how many rounds a case runs that is to run at least `count` times in `total`.

    A power of two, so that of any two cases one runs in all rounds of the other.
    """
    stride = 1
    while stride < total and -(-total // (2 * stride)) >= count:
        stride *= 2
    return stride


def disagreement(result, reference, dtype):
    """What is wrong with a summary of `worker.summarize`, or None."""
    if result["shape"].tolist() != reference["shape"].tolist():
        return f"shape {result['shape'].tolist()} for {reference['shape'].tolist()}"
    tolerance = _TOLERANCE[dtype]
    error = np.abs(result["samples"] - reference["samples"])
    error /= np.abs(reference["samples"]).max() or 1
    beyond = 1 - np.mean(error <= tolerance)  # NaN is beyond
    if beyond > _MAX_BEYOND[dtype]:
        return f"{100 * beyond:.1f}% of the samples are off by more than {tolerance:g}"
    total = result["magnitude"] / max(reference["magnitude"], 1e-30)
    if not abs(total - 1) <= _MAGNITUDE_TOLERANCE:
        return f"the sum of magnitudes is {total:.4f} of what it should be"
    return None
