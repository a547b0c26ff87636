"""For tests that start processes: programs, examples, ports."""

import importlib.util
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

_SECONDS = 400  # that anything may take


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
        timeout=900,
    )
    if check and process.returncode != 0:
        raise AssertionError(f"exit status {process.returncode}\n{process.stderr[-4000:]}")
    return process


class Process:
    """A process that writes a log, started with arguments and a task of a cluster."""

    def __init__(self, log, command, task_config=None, **variables):
        self.log = log
        config = {"TF_CONFIG": json.dumps(task_config)} if task_config else {}
        with log.open("a") as output:
            self._process = subprocess.Popen(
                [sys.executable, *map(str, command)],
                env=environment(TF_CPP_MIN_LOG_LEVEL="2", **config, **variables),
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def wait(self, check=True):
        status = self._process.wait(_SECONDS)
        assert status == 0 or not check, f"exit status {status}\n{self.log.read_text()[-4000:]}"
        return status

    def wait_for(self, text):
        end = time.monotonic() + _SECONDS
        while not re.search(text, self.log.read_text()):
            assert self._process.poll() is None, f"ended early\n{self.log.read_text()[-4000:]}"
            assert time.monotonic() < end, f"no {text!r}\n{self.log.read_text()[-4000:]}"
            time.sleep(0.01)

    def kill(self):
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(_SECONDS)


def load(path):
    """A Python file as a module, wherever it is."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def free_ports(count):
    """Ports of loopback that nobody listens on now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports
