"""Keeps Triton running: starts it again when it has ended, or has lost a Python backend.

Triton does neither. When the process of a backend is gone, it goes on, says of every model that it
is ready, and answers each request to that one with an error. And when Triton itself is gone,
its backends may stay, each with the memory of a TensorFlow, as do their files in /dev/shm.
"""

import contextlib
import dataclasses
import pathlib
import subprocess
import sys
import threading
import time
import urllib.request

import psutil

POLL_SECONDS = 0.2
START_SECONDS = 180  # a server that is not ready by then never will be
STOP_SECONDS = 30
SHARED_MEMORY = "triton_python_backend_shm_region_"


@dataclasses.dataclass
class Outage:
    """From when it was noticed until all models were ready; by time.monotonic()."""

    what: str
    begin: float
    end: float | None = None


class Supervisor:
    """Runs a server until it is stopped. `start` makes its process, a subprocess.Popen."""

    def __init__(self, start, http_port):
        self._start = start
        self._ready_url = f"http://127.0.0.1:{http_port}/v2/health/ready"
        self._stopping = threading.Event()
        self.process = None
        self.outages = []

    def run(self):
        """Until stop(), or until a first server has ended before it was ready; its exit status."""
        has_been_ready = False
        while True:
            self.process = self._start()
            backends = {}  # psutil.Process: the name of its shared memory
            try:
                what = self._wait_until_ready(backends)
                if what is None:
                    has_been_ready = True
                    self._note_ready()
                    what = self._watch(backends)
            finally:
                self._end(backends)
            if self._stopping.is_set() or not has_been_ready:
                return self.process.returncode
            print(f"{what}: Triton is started again.", file=sys.stderr, flush=True)
            if not self.outages or self.outages[-1].end is not None:
                self.outages.append(Outage(what, time.monotonic()))

    def stop(self):
        """Ends run(), from another thread or a signal's handler."""
        self._stopping.set()

    def _wait_until_ready(self, backends):
        """Returns None, or what came in between."""
        end = time.monotonic() + START_SECONDS
        while (what := self._ended()) is None:
            if time.monotonic() > end:  # it waits for ever for a backend that was killed
                return "The server was not ready in time"
            backends.update(_backends_of(self.process))
            try:
                with urllib.request.urlopen(self._ready_url, timeout=5):
                    return None
            except OSError:  # nobody listens yet, or not all models are there
                self._stopping.wait(POLL_SECONDS)
        return what

    def _watch(self, backends):
        """Returns what has happened."""
        # Only now: while models are loaded, processes come and go.
        working = _backends_of(self.process)
        backends.update(working)
        while (what := self._ended()) is None:
            if working.keys() - _backends_of(self.process).keys():
                # It may be the server that has ended, just now, and they with it.
                self._stopping.wait(POLL_SECONDS)
                return self._ended() or "A backend has ended"
            self._stopping.wait(POLL_SECONDS)
        return what

    def _ended(self):
        if self._stopping.is_set():
            return "Stopped"
        status = self.process.poll()
        return None if status is None else f"The server has ended with status {status}"

    def _note_ready(self):
        if self.outages and self.outages[-1].end is None:
            self.outages[-1].end = time.monotonic()

    def _end(self, backends):
        """Leaves nothing of the server behind."""
        if self._stopping.is_set() and self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_SECONDS)
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for backend, shared_memory in backends.items():
            if backend.is_running():  # it, not another process of the same number
                backend.kill()
            pathlib.Path("/dev/shm", shared_memory).unlink(missing_ok=True)


def _backends_of(process):
    """The processes of Python backends that a server has now, with their shared memory."""
    found = {}
    try:
        for child in psutil.Process(process.pid).children(recursive=True):
            for argument in child.cmdline():  # none, of one that has ended
                if argument.startswith(SHARED_MEMORY):
                    found[child] = argument
    except psutil.NoSuchProcess:  # ended meanwhile
        pass
    return found
