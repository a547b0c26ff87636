"""Training through RoIAlign under TensorFlow's strategies ends with the weights of one process.

The engines are real: processes that talk over loopback, some of which are killed. What they
run is examples/distributed.py. Weights may differ by the order in which gradients are added
up: by 2e-6 where the weights are of order 1.
"""

import contextlib
import json
import pathlib
import re
import signal
import subprocess
import sys
import time

import numpy as np
import programs
import pytest

EXAMPLE = pathlib.Path(__file__).resolve().parents[1] / "examples/distributed.py"
if not EXAMPLE.exists():
    pytest.skip("the example is only in the checkout", allow_module_level=True)

TOLERANCE = 2e-6
SECONDS = 400  # that anything may take
EPOCHS = 3
LONG = 25  # epochs of a training that is interrupted


class Process:
    """A process that writes a log, started with arguments and a task of a cluster."""

    def __init__(self, log, command, task_config=None):
        self.log = log
        config = {"TF_CONFIG": json.dumps(task_config)} if task_config else {}
        with log.open("a") as output:
            self._process = subprocess.Popen(
                [sys.executable, *map(str, command)],
                env=programs.environment(TF_CPP_MIN_LOG_LEVEL="2", **config),
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def wait(self, check=True):
        status = self._process.wait(SECONDS)
        assert status == 0 or not check, f"exit status {status}\n{self.log.read_text()[-4000:]}"
        return status

    def wait_for(self, text):
        end = time.monotonic() + SECONDS
        while not re.search(text, self.log.read_text()):
            assert self._process.poll() is None, f"ended early\n{self.log.read_text()[-4000:]}"
            assert time.monotonic() < end, f"no {text!r}\n{self.log.read_text()[-4000:]}"
            time.sleep(0.01)

    def kill(self):
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(SECONDS)


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

    def start(self, job="worker", index=0, epochs=EPOCHS):
        task = {"cluster": self._cluster, "task": {"type": job, "index": index}}
        command = [EXAMPLE, "--strategy", self._strategy, "--epochs", epochs]
        command += ["--backup", self._folder / "backup"]
        command += ["--weights", self.weights_path(job, index)]
        process = Process(
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


def test_mirrored(tmp_path, weights_of_one_process):
    with Cluster(tmp_path, "mirrored") as one:
        one.start().wait()
        assert_same(one.weights(), weights_of_one_process[EPOCHS])


def test_multi_worker(tmp_path, weights_of_one_process):
    with Cluster(tmp_path, "multi_worker", worker=2) as cluster:
        for worker in [cluster.start(index=i) for i in range(2)]:
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


# Keras' own `fit`, with dense boxes; ends itself after an epoch if told so.
FIT = """
import os, signal, sys
import keras
import numpy as np
import tensorflow as tf
import tf_roialign

strategy, backup, weights, last_epoch = sys.argv[1:]
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = {
    "mirrored": lambda: tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]),
    "none": tf.distribute.get_strategy,
}[strategy]()

rng = np.random.default_rng(0)
images = rng.standard_normal((16, 12, 14, 3)).astype("float32")
boxes = np.sort(rng.uniform(0, 12, (16, 3, 2, 2)), axis=2).reshape(16, 3, 4).astype("float32")
labels = rng.standard_normal((16, 3, 2)).astype("float32")
dataset = tf.data.Dataset.from_tensor_slices(((images, boxes), labels)).batch(8)

with strategy.scope():
    keras.utils.set_random_seed(1)
    image, box = keras.Input([12, 14, 3]), keras.Input([None, 4])
    features = keras.layers.Conv2D(4, 3, padding="same", activation="tanh")(image)
    pooled = tf_roialign.RoIAlign(2, aligned=True)(features, box)
    output = keras.layers.Dense(2)(keras.layers.Reshape([-1, 16])(pooled))
    model = keras.Model([image, box], output)
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse")


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
model.fit(dataset, epochs=4, shuffle=False, verbose=0, callbacks=callbacks)
np.savez(weights, *model.get_weights())
"""


def test_keras_fit_under_mirrored_resumes(tmp_path):
    """`fit` on two devices, killed after the second epoch and started again."""

    def fit(strategy, last_epoch):
        weights = tmp_path / f"{strategy}.npz"
        arguments = (strategy, tmp_path / f"backup-{strategy}", weights, last_epoch)
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
