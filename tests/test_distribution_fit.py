"""Keras' `fit`, `evaluate` and `predict` on two replicas give what one process gives.

The replicas are two logical devices, and two processes that talk over loopback. What they
run is fit_cases.py, by the rules of docs/distribution.md.
"""

import pathlib

import numpy as np
import programs
import pytest

PROGRAM = pathlib.Path(__file__).with_name("fit_cases.py")
# Weights are sums in another order; so are outputs of order 10.
TOLERANCE = 5e-6

RAGGED = ["ragged", "partial", "convolutions", "subclassed", "wrapped", "own parts", "means"]
DENSE = ["dense", "dense, Keras' own"]
MULTI_WORKER = ["ragged", "partial", "convolutions", "own parts", "dense"]
# TensorFlow 2.21's oneDNN gives a convolution of nothing the wrong shape.
NOTHING = ["no image", "no box"]
WITHOUT_ONEDNN = {"TF_ENABLE_ONEDNN_OPTS": "0"}


class Results:
    """Of cases under strategies, each run when it is first asked for, with others of its kind."""

    def __init__(self, folder):
        self._folder = folder
        self._logs = {}

    def __call__(self, strategy, case, cases, variables=None):
        return [self._load(log, case) for log in self._run(strategy, tuple(cases), variables or {})]

    def _run(self, strategy, cases, variables):
        if (strategy, cases) not in self._logs:
            count = 2 if strategy == "multi_worker" else 1
            hosts = [f"127.0.0.1:{port}" for port in programs.free_ports(count)]
            logs, processes = [], []
            for i in range(count):
                folder = self._folder / f"{strategy}-{i}"
                folder.mkdir(exist_ok=True)
                logs.append(folder / f"{cases[0]}.log")
                task = {"cluster": {"worker": hosts}, "task": {"type": "worker", "index": i}}
                command = [PROGRAM, strategy, folder, *cases]
                processes.append(
                    programs.Process(logs[i], command, task if count > 1 else None, **variables)
                )
            try:
                for process in processes:
                    process.wait(check=False)
            finally:
                for process in processes:
                    process.kill()
            self._logs[strategy, cases] = logs
        return self._logs[strategy, cases]

    @staticmethod
    def _load(log, case):
        path = log.with_name(f"{case}.npz")
        assert path.exists(), log.read_text()[-6000:]
        with np.load(path) as file:
            return dict(file)


@pytest.fixture(name="results", scope="module")
def make_results(tmp_path_factory):
    return Results(tmp_path_factory.mktemp("fit"))


def assert_same(got, expected, case):
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        if "loss" in name and not has_comparable_loss(name, case):
            continue
        np.testing.assert_allclose(got[name], value, rtol=0, atol=TOLERANCE, err_msg=name)
    assert expected["steps"] == 6
    for name in expected:
        if name.startswith("start"):
            moved = np.abs(expected[name] - expected[name.replace("start", "weights")]).max()
            assert moved > 100 * TOLERANCE, f"{name} is trained"


def has_comparable_loss(name, case):
    """Keras weighs a replica's loss by its images, and "means" has another one in `evaluate`."""
    if case == "means":
        return name == "history loss"
    return case not in ("partial", "no image")


@pytest.mark.parametrize("case", RAGGED + DENSE)
def test_mirrored(case, results):
    [expected] = results("none", case, RAGGED + DENSE)
    [got] = results("mirrored", case, RAGGED + DENSE)
    assert_same(got, expected, case)


@pytest.mark.parametrize("case", NOTHING)
def test_mirrored_with_an_empty_replica(case, results):
    """No image of a batch is on it, or none of its images has a box."""
    [expected] = results("none", case, NOTHING, WITHOUT_ONEDNN)
    [got] = results("mirrored", case, NOTHING, WITHOUT_ONEDNN)
    assert_same(got, expected, case)


@pytest.mark.parametrize("case", MULTI_WORKER)
def test_multi_worker(case, results):
    [expected] = results("none", case, RAGGED + DENSE)
    for got in results("multi_worker", case, MULTI_WORKER):
        assert_same(got, expected, case)
