"""Good, bad, huge and abandoned requests at once, while the backend and the server are killed.

What must hold: every good request is answered, after it was sent again if the server was away,
and with the right answer; every bad one is told what is wrong with it; nothing grows.
"""

import collections
import contextlib
import dataclasses
import re
import threading
import time

import numpy as np

from . import traffic
from .client import FAILURES, NO_REQUESTS, WAYS_OF_GRPC, WAYS_OF_HTTP, Client, post
from .memory import Watch
from .server import BOX_CLASSIFIER, ROI_ALIGN, Server

GOOD_CLIENTS = 4
LEAVING_CLIENTS = 2
PAUSE = 0.02  # seconds that a client rests on average
GIVE_UP_SECONDS = 300  # a good request that was sent again and again until then is lost
NOTICED_SECONDS = 2  # around an outage, in which clients see it and the supervisor does not
# Parts of the time: until the backend of one model is killed, until the server is, and after that.
# In the last nothing else may happen, for it to be seen what grows.
UNTIL_BACKEND, UNTIL_SERVER, QUIET = 0.25, 0.25, 0.5
MOST_GROWTH = 64  # MiB, of a process in the quiet part, if that is as long as
LONG_ENOUGH = 120  # seconds: until then, some buffer is used for the first time


@dataclasses.dataclass
class Report:
    """What came of it."""

    seconds: float
    counts: collections.Counter  # of what was sent, and what became of it
    faults: list  # texts; none, if all is well
    outages: list  # (what was noticed, seconds until all models were ready again)
    slowest: float  # seconds from sending a good request to its answer, outages included
    growths: dict

    def __str__(self):
        lines = [f"{self.seconds:.0f} s"]
        lines += [f"{name}: {count}" for name, count in sorted(self.counts.items())]
        lines += [f"{what}: ready again after {s:.1f} s" for what, s in self.outages]
        lines.append(f"slowest good answer: {self.slowest:.2f} s")
        for name, growth in sorted(self.growths.items()):
            before, after = growth.before, growth.after
            lines.append(
                f"{name}, in {growth.seconds:.0f} s: {before.rss:.0f} -> {after.rss:.0f} MiB, "
                f"{before.files:.0f} -> {after.files:.0f} files, "
                f"{before.threads:.0f} -> {after.threads:.0f} threads"
            )
        lines += [f"FAULT: {fault}" for fault in self.faults]
        return "\n".join(lines)


class Run:
    """One run against a server of its own, for so many seconds and while the server is away.

    `cancel`: whether clients of gRPC leave too, which Triton does not always survive.
    """

    def __init__(self, folder, seconds, cancel=True):
        self.seconds = seconds
        self.cancel = cancel
        self.server = Server(folder, more=[ROI_ALIGN])
        self.watch = Watch()
        self._quiet_since = None
        self._is_over = threading.Event()
        self.counts = collections.Counter()
        self.slowest = 0.0
        self._faults = []
        self._excusable = []  # (from, to, what): faults unless the server was away then
        self._lock = threading.Lock()

    def __call__(self):
        try:
            self.good = traffic.good_requests(self.server.saved_model, seed=1, count=60)
            self.server.wait()
            self._start = time.monotonic()
            self._traffic()
            self._ask_all_once_more()
            self._outages = [each for each in self.server.supervisor.outages if each.end]
        finally:
            self.server.stop()
        return Report(
            self.seconds,
            self.counts,
            [
                *self._faults,
                *self._not_excused(),
                *self._of_the_quiet_part(),
                *self._grown(),
                *(f"left behind: {process}" for process in self.server.left_behind()),
            ],
            [(outage.what, outage.end - outage.begin) for outage in self._outages],
            self.slowest,
            self.watch.growths(),
        )

    # ---- The course of things ----------------------------------------------------------------

    def _now(self):
        return time.monotonic() - self._start

    def _traffic(self):
        clients = [
            *((self._be_good, ("http", "grpc")[i % 2]) for i in range(GOOD_CLIENTS)),
            (self._be_bad, "http"),
            (self._be_bad, "grpc"),
            (self._send_no_requests, None),
            *((self._leave, None) for _ in range(LEAVING_CLIENTS)),
        ]
        threads = [
            threading.Thread(target=self._until_the_end, args=(act, protocol, seed))
            for seed, (act, protocol) in enumerate(clients)
        ]
        for thread in threads:
            thread.start()
        try:
            self._go_on_for(UNTIL_BACKEND)
            self._kill(BOX_CLASSIFIER)
            self._go_on_for(UNTIL_SERVER)
            self._quiet_since = self._now()
            self._kill("server")
            self._go_on_for(QUIET)
        finally:
            self._is_over.set()
            for thread in threads:
                thread.join()

    def _go_on_for(self, part):
        end = self._now() + part * self.seconds
        while self._now() < end:
            self.watch.look(self.server, self._now())
            time.sleep(min(1, self.seconds / 100))

    def _kill(self, name):
        """Kills a process as a system does that runs short of memory, and waits for another."""
        killed = None
        end = time.monotonic() + GIVE_UP_SECONDS
        while time.monotonic() < end:
            process = self.server.processes().get(name)
            if process and not self.server.is_out and process != killed:
                if killed:
                    return
                process.kill()
                killed = process
                self._count(f"{name}: killed")
            time.sleep(0.1)
        self._faults.append(f"{name} did not come back")

    def _until_the_end(self, act, protocol, seed):
        rng = np.random.default_rng(seed)
        try:
            act(rng, protocol)
        except Exception as error:  # a client that ends early would make the run too easy
            self._faults.append(f"a client broke: {error!r}")
            raise

    def _turns(self, rng):
        while not self._is_over.is_set():
            yield
            time.sleep(rng.exponential(PAUSE))

    # ---- Clients -----------------------------------------------------------------------------

    def _be_good(self, rng, protocol):
        with Client(self.server, protocol) as client:
            for _ in self._turns(rng):
                self._ask(client, self.good[rng.integers(len(self.good))])

    def _ask(self, client, request):
        """Sends a good request until it is answered."""
        first = self._now()
        self._count("good: sent")
        while self._now() < first + GIVE_UP_SECONDS:
            begin = self._now()
            try:
                answer = client(request.arrays, request.model)
            except FAILURES as error:
                self._note(begin, f"a good request got {error}")
                self._count("good: sent again")
                time.sleep(0.2)
                client.connect_again()
                continue
            with self._lock:
                self.slowest = max(self.slowest, self._now() - first)
            if request.is_answered_by(answer):
                self._count("good: answered")
            else:
                self._count("good: answered wrongly")
                self._faults.append(f"a wrong answer of {request.model}")
            return
        self._count("good: lost")
        self._faults.append("a good request was never answered")

    def _be_bad(self, rng, protocol):
        requests = [
            *((BOX_CLASSIFIER, *traffic.MALFORMED[name]) for name in traffic.MALFORMED),
            *((ROI_ALIGN, *each) for each in traffic.MALFORMED_FOR_THE_OP.values()),
            *((BOX_CLASSIFIER, arrays, None) for arrays in traffic.ODD.values()),
        ]
        with Client(self.server, protocol) as client:
            for _ in self._turns(rng):
                self._ask_badly(client, *requests[rng.integers(len(requests))])

    def _ask_badly(self, client, model, arrays, expected):
        """`expected`: what the error says; None for a request that gets some answer."""
        begin = self._now()
        self._count("bad: sent")
        try:
            answer = client(arrays, model)
        except FAILURES as error:
            if expected and re.search(expected, str(error)):
                self._count("bad: told what is wrong")
            else:
                self._note(begin, f"a bad request got {error} in the place of {expected!r}")
                client.connect_again()
            return
        if expected is None and answer.shape == (*arrays["boxes"].shape[:2], 3):
            self._count("bad: answered, as it may be")
        else:
            self._faults.append(f"a bad request got an answer in the place of {expected!r}")

    def _send_no_requests(self, rng, _):
        names = sorted(NO_REQUESTS)
        for _ in self._turns(rng):
            name = names[rng.integers(len(names))]
            begin = self._now()
            self._count("no request: sent")
            try:
                status, text = post(self.server, *NO_REQUESTS[name])
            except FAILURES as error:
                self._note(begin, f"{name} got {error}")
                continue
            if 400 <= status < 600 and "error" in text:
                self._count("no request: told what is wrong")
            else:
                self._note(begin, f"{name} got {status}, {text[:200]}")

    def _leave(self, rng, _):
        for _ in self._turns(rng):
            may_cancel = self.cancel and self._quiet_since is None
            # Seldom, or Triton would be away most of the time.
            ways = WAYS_OF_GRPC if may_cancel and rng.random() < 0.05 else WAYS_OF_HTTP
            way = ways[rng.integers(len(ways))]
            request = self.good[rng.integers(len(self.good))]
            self._count("abandoned")
            with contextlib.suppress(*FAILURES):  # it has gone: whatever it missed
                way(self.server, request, rng.random())

    def _ask_all_once_more(self):
        """On the quiet server, after all that it has been through."""
        for protocol in ("http", "grpc"):
            with Client(self.server, protocol) as client:
                for request in self.good:
                    self._ask(client, request)

    # ---- What is noted -----------------------------------------------------------------------

    def _count(self, what):
        with self._lock:
            self.counts[what] += 1

    def _note(self, begin, what):
        self._excusable.append((begin, self._now(), what))

    def _not_excused(self):
        slack = NOTICED_SECONDS
        away = [
            (outage.begin - self._start - slack, outage.end - self._start + slack)
            for outage in self._outages
        ]
        return [
            f"at {begin:.1f} s: {what}"
            for begin, end, what in self._excusable
            if not any(begin <= back and end >= gone for gone, back in away)
        ]

    def _of_the_quiet_part(self):
        return [
            f"{outage.what}, though nobody had killed it"
            for outage in self._outages
            if outage.begin - self._start > self._quiet_since and "-9" not in outage.what
        ]

    def _grown(self):
        return [
            f"{name} has grown by {growth.mebibytes:.0f} MiB in {growth.seconds:.0f} s"
            for name, growth in self.watch.growths().items()
            if growth.mebibytes > MOST_GROWTH and growth.seconds > LONG_ENOUGH
        ]
