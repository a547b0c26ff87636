"""Training through RoIAlign under TensorFlow's strategies ends with the weights of one process.

The engines are real: processes that talk over loopback, some of which are killed. What they
run is examples/distributed.py. Weights may differ by the order in which gradients are added
up: by 2e-6 where the weights are of order 1.
"""

import contextlib
import pathlib
import re
import signal

import numpy as np
import programs
import pytest

EXAMPLE = pathlib.Path(__file__).resolve().parents[1] / "examples/distributed.py"
if not EXAMPLE.exists():
    pytest.skip("the example is only in the checkout", allow_module_level=True)

TOLERANCE = 2e-6
EPOCHS = 3
LONG = 25  # epochs of a training that is interrupted


class Cluster:
    """Starts the example on tasks of a cluster on loopback; leaves no process behind."""

    def __init__(self, folder, strategy, **jobs):
        self._folder, self._strategy = folder, strategy
        self._processes = []
        self._cluster = None
        if jobs:
            ports = iter(programs.free_ports(sum(jobs.values())))
            self._cluster = {
                job: [f"127.0.0.1:{next(ports)}" for _ in range(n)] for job, n in jobs.items()
            }

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self._processes:
            with contextlib.suppress(ProcessLookupError):
                process.kill()

    def start(self, job="worker", index=0, epochs=EPOCHS, loop="fit"):
        task = {"cluster": self._cluster, "task": {"type": job, "index": index}}
        command = [EXAMPLE, "--strategy", self._strategy, "--loop", loop, "--epochs", epochs]
        command += ["--backup", self._folder / "backup"]
        command += ["--weights", self.weights_path(job, index)]
        process = programs.Process(
            self._folder / f"{job}-{index}.log", command, task if self._cluster else None
        )
        self._processes.append(process)
        return process

    def weights_path(self, job, index):
        return self._folder / f"{job}-{index}.npz"

    def weights(self, job="worker", index=0):
        with np.load(self.weights_path(job, index)) as file:
            return [file[name] for name in file.files]


@pytest.fixture(name="weights_of_one_process", scope="module")
def train_alone(tmp_path_factory):
    """{epochs: weights} of one process on one device."""
    trained = {}
    for epochs in (EPOCHS, LONG):
        with Cluster(tmp_path_factory.mktemp("alone"), "none") as alone:
            alone.start(epochs=epochs).wait()
            trained[epochs] = alone.weights()
    moved = [np.abs(a - b).max() for a, b in zip(*trained.values(), strict=True)]
    assert min(moved) > 100 * TOLERANCE, "all weights are trained"
    return trained


def assert_same(got, expected):
    assert len(got) == len(expected)
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=TOLERANCE, atol=TOLERANCE)


LOOPS = pytest.mark.parametrize("loop", ["fit", "own"])


@LOOPS
def test_mirrored(loop, tmp_path, weights_of_one_process):
    with Cluster(tmp_path, "mirrored") as one:
        one.start(loop=loop).wait()
        assert_same(one.weights(), weights_of_one_process[EPOCHS])


@LOOPS
def test_multi_worker(loop, tmp_path, weights_of_one_process):
    with Cluster(tmp_path, "multi_worker", worker=2) as cluster:
        for worker in [cluster.start(index=i, loop=loop) for i in range(2)]:
            worker.wait()
        for i in range(2):
            assert_same(cluster.weights(index=i), weights_of_one_process[EPOCHS])


def test_parameter_server(tmp_path, weights_of_one_process):
    with Cluster(tmp_path, "parameter_server", chief=1, ps=1, worker=2) as cluster:
        for job, index in [("ps", 0), ("worker", 0), ("worker", 1)]:
            cluster.start(job, index)
        cluster.start("chief").wait()
        assert_same(cluster.weights("chief"), weights_of_one_process[EPOCHS])


def test_multi_worker_resumes_after_a_worker_is_killed(tmp_path, weights_of_one_process):
    """The other one cannot go on alone; started again, both resume where the backup is."""
    with Cluster(tmp_path, "multi_worker", worker=2) as cluster:
        chief, other = (cluster.start(index=i, epochs=LONG) for i in range(2))
        chief.wait_for("epoch 3 ")
        other.kill()
        assert chief.wait(check=False) != 0
        assert f"epoch {LONG} " not in chief.log.read_text()
        for worker in [cluster.start(index=i, epochs=LONG) for i in range(2)]:
            worker.wait()
            assert re.search(r"resumes after epoch ([2-9]|1\d|2\d)\n", worker.log.read_text())
        for i in range(2):
            assert_same(cluster.weights(index=i), weights_of_one_process[LONG])


def test_parameter_server_survives_a_worker_and_its_chief(tmp_path, weights_of_one_process):
    """The part of a killed worker is done by the other; a new chief resumes from the backup."""
    with Cluster(tmp_path, "parameter_server", chief=1, ps=1, worker=2) as cluster:
        cluster.start("ps")
        workers = [cluster.start("worker", i) for i in range(2)]
        chief = cluster.start("chief", epochs=LONG)
        chief.wait_for("epoch 3 ")
        workers[1].kill()
        cluster.start("worker", 1)
        chief.wait_for("epoch 8 ")
        chief.kill()
        chief = cluster.start("chief", epochs=LONG)
        chief.wait()
        assert re.search(r"resumes after epoch ([7-9]|1\d|2\d)\n", chief.log.read_text())
        assert_same(cluster.weights("chief"), weights_of_one_process[LONG])


# Keras' `fit` with the callback for a backup; ends itself after an epoch if told so.
FIT = """
import os, pathlib, signal, sys
import keras
import numpy as np
import programs

strategy, example, backup, weights, last_epoch = sys.argv[1:]
example = programs.load(pathlib.Path(example))
strategy = example.make_strategy(strategy)
model = example.make_model(strategy)


def stop(epoch, logs):
    if epoch + 1 == int(last_epoch):
        os.kill(os.getpid(), signal.SIGKILL)


callbacks = [
    keras.callbacks.BackupAndRestore(backup),
    keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: print("begins epoch", epoch + 1, flush=True),
        on_epoch_end=stop,
    ),
]
dataset = example.make_dataset(example.GLOBAL_BATCH)
with strategy.scope():
    model.fit(dataset, epochs=4, shuffle=False, verbose=0, callbacks=callbacks)
np.savez(weights, *model.get_weights())
"""


def test_keras_fit_under_mirrored_resumes(tmp_path):
    """`fit` on two devices, killed after the second epoch and started again."""

    def fit(strategy, last_epoch):
        weights = tmp_path / f"{strategy}.npz"
        arguments = (strategy, EXAMPLE, tmp_path / f"backup-{strategy}", weights, last_epoch)
        process = programs.run(FIT, *arguments, check=False)
        return process, weights

    killed, _ = fit("mirrored", 2)
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-4000:]
    assert killed.stdout.split("\n")[:-1] == ["begins epoch 1", "begins epoch 2"]
    resumed, got = fit("mirrored", 0)
    assert resumed.returncode == 0, resumed.stderr[-4000:]
    assert resumed.stdout.split("\n")[:-1] == ["begins epoch 3", "begins epoch 4"]
    alone, expected = fit("none", 0)
    assert alone.returncode == 0, alone.stderr[-4000:]
    with np.load(got) as got, np.load(expected) as expected:
        assert_same([got[name] for name in got.files], [expected[name] for name in expected.files])
