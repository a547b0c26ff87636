"""The same bits from run to run and for every number of threads."""

import json
import subprocess
import sys

import cases
import numpy as np
import programs
import pytest
import tensorflow as tf

# Prints a hash of each result, for the number of intra-op threads that it is given.
PROGRAM = """
import hashlib, json, sys
import tensorflow as tf
tf.config.threading.set_intra_op_parallelism_threads(int(sys.argv[1]))
import test_determinism
print(json.dumps([hashlib.sha256(data).hexdigest() for data in test_determinism.results()]))
"""


def results():
    """Bytes of outputs and gradients of cases large enough to be split among threads."""
    for dtype in cases.FEATURE_DTYPES:
        for data_format in cases.LAYOUTS:
            for images, count, size, channels, aligned in (
                (2, 300, 40, 24, True),  # many boxes over each other
                (1, 64, 9, 257, False),  # few pixels, odd channels
                (5, 40, 64, 3, False),  # few channels
            ):
                problem = cases.Problem(
                    np.random.default_rng(cases.seed_of(dtype, data_format, channels)),
                    feature_dtype=dtype,
                    data_format=data_format,
                    images=images,
                    count=count,
                    height=size,
                    width=size + 3,
                    channels=channels,
                    output_size=(7, 7),
                    aligned=aligned,
                )
                boxes = tf.constant(problem.box_values)
                with tf.GradientTape() as tape:
                    tape.watch([problem.features, boxes])
                    output = problem.run(boxes=boxes, box_indices=problem.indices)
                gradients = tape.gradient(output, [problem.features, boxes], problem.upstream)
                for tensor in (output, *gradients):
                    yield repr(cases.as_bytes(tensor)).encode()


@pytest.fixture(scope="module")
def hashes():
    """{threads: hashes of the results}, each in a process of its own."""
    processes = {
        threads: subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(threads)],
            env=programs.environment(),
            stdout=subprocess.PIPE,
            text=True,
        )
        for threads in (1, 2, 8)
    }
    outputs = {threads: process.communicate()[0] for threads, process in processes.items()}
    assert all(process.returncode == 0 for process in processes.values())
    return {threads: json.loads(output.splitlines()[-1]) for threads, output in outputs.items()}


def test_number_of_threads(hashes):
    assert len(hashes[1]) == 4 * 2 * 3 * 3
    assert len(set(hashes[1])) == len(hashes[1]), "different cases must have different results"
    assert hashes[2] == hashes[1]
    assert hashes[8] == hashes[1]


def test_runs():
    first = list(results())
    for _ in range(3):
        assert list(results()) == first
