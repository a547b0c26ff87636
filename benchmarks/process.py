"""The parent's end of a worker process."""

import json
import os
import pathlib
import selectors
import subprocess

import peers

_WORKER = pathlib.Path(__file__).with_name("worker.py")


class WorkerError(Exception):
    """The worker said what went wrong, or said nothing for too long."""


class Worker:
    """A peer with a number of threads, in a process of its own."""

    def __init__(self, python, peer, threads, log, timeout):
        self.peer = peer
        self.threads = threads
        self.timeout = timeout
        module, variables = peers.split(peer)
        environment = {
            **os.environ,
            **variables,
            "OMP_NUM_THREADS": str(threads),
            "CUDA_VISIBLE_DEVICES": "-1",
            "TF_CPP_MIN_LOG_LEVEL": "2",
        }
        self._process = subprocess.Popen(
            [python, str(_WORKER), module, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=environment,
            bufsize=0,
        )
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._process.stdout, selectors.EVENT_READ)
        self._unread = b""

    @property
    def pid(self):
        return self._process.pid

    def send(self, command, **arguments):
        line = json.dumps({"command": command, **arguments}) + "\n"
        try:
            self._process.stdin.write(line.encode())
        except (OSError, ValueError):
            raise WorkerError("its process has ended") from None

    def receive(self):
        while b"\n" not in self._unread:
            if not self._selector.select(self.timeout):
                self.close(kill=True)
                raise WorkerError(f"no answer in {self.timeout:.0f} s")
            data = self._process.stdout.read(1 << 16)
            if not data:
                self.close(kill=True)
                raise WorkerError(f"its process ended with code {self._process.returncode}")
            self._unread += data
        line, self._unread = self._unread.split(b"\n", 1)
        reply = json.loads(line)
        if "error" in reply:
            raise WorkerError(reply["error"])
        return reply

    def ask(self, command, **arguments):
        self.send(command, **arguments)
        return self.receive()

    def close(self, kill=False):
        if kill:
            self._process.kill()
        if not self._process.stdin.closed:
            self._process.stdin.close()
        self._process.wait()
