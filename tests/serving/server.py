"""A server of its own for the tests, supervised as the example's."""

import pathlib
import shutil
import sys
import threading
import time

import programs
import psutil
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tritonclient.utils import InferenceServerException

HERE = pathlib.Path(__file__).resolve().parent
EXAMPLE = HERE.parents[1] / "examples/triton/serve.py"
BOX_CLASSIFIER = "box_classifier"  # the example's model
ROI_ALIGN = "roi_align"  # the op, in ./models
START_SECONDS = 120


class Server:
    """A running server; its models are those of the example, and `more` of ./models."""

    def __init__(self, folder, more=()):
        sys.path.insert(0, str(EXAMPLE.parent))
        self._example = programs.load(EXAMPLE)
        self.folder = folder
        self.models = (BOX_CLASSIFIER, *more)
        self._example.export(folder / "repository")
        for name in more:
            shutil.copytree(HERE / "models" / name, folder / "repository" / name)
        self.saved_model = folder / "repository" / BOX_CLASSIFIER / "1" / "saved_model"
        self.http_port, self.grpc_port = programs.free_ports(2)
        self.log = folder / "log"
        self.supervisor = self._example.supervise.Supervisor(self._start, self.http_port)
        self._thread = threading.Thread(target=self.supervisor.run)
        self._thread.start()

    def _start(self):
        with self.log.open("a") as log:
            return self._example.start(
                self.folder, self.http_port, self.grpc_port, stdout=log, stderr=log
            )

    @property
    def process(self):
        """The server's; another one after it was started again."""
        return self.supervisor.process

    def wait(self):
        """Until all models answer."""
        end = time.monotonic() + START_SECONDS
        with self.grpc() as client:
            while time.monotonic() < end and self._thread.is_alive():
                try:
                    if all(client.is_model_ready(name) for name in self.models):
                        return
                except InferenceServerException:  # nobody listens yet
                    pass
                time.sleep(0.2)
        raise AssertionError(f"Triton did not start:\n{self.log.read_text()[-4000:]}")

    def stop(self):
        self.supervisor.stop()
        self._thread.join()

    def http(self, **options):
        return triton_http.InferenceServerClient(f"127.0.0.1:{self.http_port}", **options)

    def grpc(self):
        return triton_grpc.InferenceServerClient(f"127.0.0.1:{self.grpc_port}")

    @property
    def is_out(self):
        """Whether it has ended, or lost a backend, and is not back yet."""
        outages = self.supervisor.outages
        return bool(outages) and outages[-1].end is None

    def left_behind(self):
        """Processes that there still are after stop()."""
        return [
            process.info["cmdline"]
            for process in psutil.process_iter(["name", "cmdline"])
            if process.info["name"].startswith("triton")
            and str(self.folder) in " ".join(process.info["cmdline"] or [])
        ]

    def processes(self):
        """The server's and its backends' processes, by name: those that there are now."""
        if self.process is None or self.process.poll() is not None:
            return {}
        found = {}
        try:
            server = psutil.Process(self.process.pid)
            found["server"] = server
            for process in server.children(recursive=True):
                line = " ".join(process.cmdline())
                for name in self.models:
                    if f"/{name}/" in line and "triton_python_backend_stub" in line:
                        found[name] = process
        except psutil.NoSuchProcess:  # one that ended meanwhile
            pass
        return found
