"""Who runs what: starts the workers, goes through workloads and ops, collects timings."""

import contextlib
import pathlib
import sys
import tempfile
import time

import machine
import measure
import peers
import workloads
from peers import base
from process import Worker, WorkerError

_TIMEOUT = 180  # seconds that a worker may take to answer
_START = time.monotonic()


class Contest:
    """The workers and what came of them.

    Attributes:
      timings: list of `measure.Timing`.
      absent: list of (contender or peer, workload or "", op or "", reason).
      versions: by package.
      facts: by name, what peers say about themselves.
      disturbance: a `machine.Disturbance`.
    """

    def __init__(self, options, budget):
        self.options = options
        self.budget = budget
        self.timings = []
        self.absent = []
        self.versions = {}
        self.facts = {}
        self.disturbance = machine.Disturbance()
        self._workers = {}
        self._hello = {}
        self._stack = contextlib.ExitStack()

    def __enter__(self):
        self._folder = pathlib.Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        logs = self.options.output_dir / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        for peer in self.options.peers:
            is_here = peer in peers.TENSORFLOW + peers.VARIANTS
            python = sys.executable if is_here else self.options.peer_python
            counts = self.options.threads
            for threads in counts[-1:] if peer in peers.VARIANTS else counts:
                log = self._stack.enter_context(open(logs / f"{peer}-{threads}.log", "wb"))
                try:
                    worker = Worker(python, peer, threads, log, _TIMEOUT)
                except OSError as error:
                    self._miss(f"{peer} x{threads}", "", "", str(error))
                    continue
                self._stack.callback(worker.close)
                self._workers[peer, threads] = worker
        for (peer, threads), worker in list(self._workers.items()):
            try:
                self._hello[peer] = worker.receive()
            except WorkerError as error:
                del self._workers[peer, threads]
                self._miss(f"{peer} x{threads}", "", "", str(error))
                continue
            self.versions.update(self._hello[peer]["versions"])
            self.facts.update(self._hello[peer]["facts"])
        if peers.OURS not in self._hello:
            raise SystemExit(f"tf_roialign does not run: {self.absent}")
        return self

    def __exit__(self, *unused):
        self._stack.close()

    def run(self, between):
        """Times everything; calls `between` after each workload."""
        for name in self.options.workloads:
            serving = name in workloads.SERVING
            loaded = self._load(self._workers, {name: workloads.by_name(name)})
            for op in base.SERVING_OPS if serving else self.options.ops:
                contenders = [c for key in loaded for c in self._contenders(*key, op, serving)]
                _say(f"{name}, {op}: {len(contenders)} contenders")
                cases = [measure.Case(name, op, contender) for contender in contenders]
                self.timings += self._time(loaded, cases, f"{name}, {op}")
            self._unload(loaded)
            between()

    def time_ours(self, family, ops, threads):
        """Times this project alone, NHWC and float32, on workloads given by name."""
        key = (peers.OURS, threads)
        loaded = self._load({key: self._workers[key]}, family)
        contender = measure.Contender(peers.OURS, "NHWC", "float32", threads)
        timings = []
        for op in ops:
            _say(f"scaling, {op}: {', '.join(family)}")
            cases = [measure.Case(name, op, contender) for name in family]
            timings += self._time(loaded, cases, f"scaling, {op}")
        self._unload(loaded)
        return timings

    def _time(self, loaded, cases, what):
        with self.disturbance.during(what, [w.pid for w in self._workers.values()]):
            return measure.Heat(loaded, self.absent).time(cases, self.budget)

    def _load(self, workers, by_name):
        """Has the workers load workloads; returns those that could."""
        loaded = dict(workers)
        for name, workload in by_name.items():
            path = self._folder / "workload.npz"
            workload.save(path)
            for worker in loaded.values():
                with contextlib.suppress(WorkerError):  # met again where it answers
                    worker.send("load", workload=name, path=str(path))
            for key, worker in list(loaded.items()):
                try:
                    worker.receive()
                except WorkerError as error:
                    del loaded[key]
                    self._miss(f"{key[0]} x{key[1]}", name, "", str(error))
        return loaded

    def _unload(self, loaded):
        for worker in loaded.values():
            with contextlib.suppress(WorkerError):
                worker.ask("unload")

    def _contenders(self, peer, threads, op, serving):
        """The contenders of one worker."""
        hello = self._hello[peer]
        if peer == peers.IDENTITY and not serving:
            return []
        if peer in peers.VARIANTS:
            is_shown = not serving and op in (base.FORWARD, base.GRADIENT)
            return [measure.Contender(peer, "NHWC", "float32", threads)] if is_shown else []
        if op not in hello["ops"]:
            if not serving:
                self._miss(peer, "", op, "not offered, or not comparable")
            return []
        layouts = hello["layouts"]
        if peer == peers.OURS:
            layouts = [layout for layout in layouts if layout in self.options.layouts]
        if serving:
            layouts = layouts[:1]
        dtypes = self._dtypes(peer, threads, op, serving)
        return [
            measure.Contender(peer, layout, dtype, threads)
            for dtype in dtypes
            for layout in layouts
        ]

    def _dtypes(self, peer, threads, op, serving):
        """Those worth their time: not each 16-bit type of each slow peer."""
        dtypes = self.options.dtypes
        if peer != peers.OURS or op != base.FORWARD:
            dtypes = [dtype for dtype in dtypes if dtype != "int8"]
        last = threads == self.options.threads[-1]
        if op == base.BOTH:
            return dtypes[:1] if last else []
        if serving or (peer != peers.OURS and not last):
            return dtypes[:1]
        if peer in peers.OTHERS and op != base.FORWARD and len(dtypes) > 1:
            self._miss(peer, "", op, f"in {', '.join(dtypes[1:])}: not tried, to save time")
            return dtypes[:1]
        return dtypes

    def _miss(self, who, workload, op, reason):
        entry = (who, workload, op, reason)
        if entry not in self.absent:
            _say(f"absent: {who} {op}: {reason}")
            self.absent.append(entry)


def _say(text):
    print(f"{time.monotonic() - _START:5.0f} s  {text}", file=sys.stderr, flush=True)
