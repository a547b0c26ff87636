"""For tests that start processes: programs, examples, ports."""

import importlib.util
import os
import socket
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
        timeout=900,
    )
    if check and process.returncode != 0:
        raise AssertionError(f"exit status {process.returncode}\n{process.stderr[-4000:]}")
    return process


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
