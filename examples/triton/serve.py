"""Serves a box classifier with Triton Inference Server, the one in PyTriton's wheel.

    make triton

exports the model of examples/box_classifier.py, with the weights that it starts with, and
serves it on http://localhost:8000 and grpc://localhost:8001 until it is stopped; supervise.py
sees to that. client.py sends requests.
"""

import argparse
import os
import pathlib
import shutil
import signal
import subprocess
import sys

import supervise

HERE = pathlib.Path(__file__).resolve().parent
MODEL = "box_classifier"


def export(repository):
    """Makes a model repository, as Triton calls it, with a SavedModel in it."""
    sys.path.insert(0, str(HERE.parent))
    import box_classifier

    import tf_roialign

    shutil.rmtree(repository, ignore_errors=True)
    shutil.copytree(HERE / MODEL, repository / MODEL)
    model = box_classifier.make_model(num_classes=3)
    tf_roialign.export_saved_model(model, repository / MODEL / "1" / "saved_model")


def make_backends(folder):
    """Puts Triton's Python backend beside its program for this Python, as the backend wants it.

    Returns the path of the server.
    """
    import pytriton

    wheel = pathlib.Path(pytriton.__file__).parent / "tritonserver"
    version = "{}.{}".format(*sys.version_info)
    stub = wheel / "python_backend_stubs" / version / "triton_python_backend_stub"
    backend = folder / "python"
    shutil.rmtree(backend, ignore_errors=True)
    backend.mkdir(parents=True)
    # Links: the files find their libraries from where they really are.
    for path in [stub, *(wheel / "backends" / "python").iterdir()]:
        (backend / path.name).symlink_to(path)
    return wheel / "bin" / "tritonserver"


def start(folder, http_port, grpc_port, **kwargs):
    """Starts the server on loopback; kwargs are of subprocess.Popen."""
    server = make_backends(folder / "backends")
    # The backend runs the Python that is first on PATH.
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    return subprocess.Popen(
        [
            server,
            f"--model-repository={folder / 'repository'}",
            f"--backend-directory={folder / 'backends'}",
            "--http-address=127.0.0.1",
            "--grpc-address=127.0.0.1",
            f"--http-port={http_port}",
            f"--grpc-port={grpc_port}",
            "--allow-metrics=false",
        ],
        env={**os.environ, "PATH": path},
        **kwargs,
    )


def main():
    """Exports, serves, and waits for the server's end."""
    parser = argparse.ArgumentParser(description="Serves a box classifier with Triton.")
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("build/triton"))
    parser.add_argument("--http-port", type=int, default=8000)
    parser.add_argument("--grpc-port", type=int, default=8001)
    arguments = parser.parse_args()
    folder = arguments.folder.resolve()
    export(folder / "repository")
    ports = arguments.http_port, arguments.grpc_port
    supervisor = supervise.Supervisor(lambda: start(folder, *ports), arguments.http_port)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: supervisor.stop())
    sys.exit(supervisor.run())


if __name__ == "__main__":
    main()
