"""Calls from many threads at once, on shared tensors, give the bits that each gives alone.

`make tsan` looks for races in the core; TensorFlow cannot be built with a sanitizer here.
"""

import threading

import cases
import every_op
import numpy as np
import pytest
import tensorflow as tf

THREADS = 8
# Of each thread.
ROUNDS = 5


def on_threads(run):
    """Call run(thread) on as many threads, all at about the same time."""
    start = threading.Barrier(THREADS)
    errors = []

    def begin(thread):
        try:
            start.wait()
            run(thread)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=begin, args=[i]) for i in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def all_bits(tensors):
    return [cases.as_bytes(tensor) for tensor in tensors]


def test_eager_calls_of_every_op():
    calls = [every_op.Call(*parameters) for parameters in every_op.parameters()]
    alone = [all_bits(call.run(*call.inputs)) for call in calls]

    def run(thread):
        # Each thread begins elsewhere, so that different ops meet.
        for i in range(len(calls)):
            place = (i + thread * len(calls) // THREADS) % len(calls)
            assert all_bits(calls[place].run(*calls[place].inputs)) == alone[place], (
                every_op.parameters()[place]
            )

    on_threads(run)


def problem(data_format):
    """One whose boxes are shared among the threads of TensorFlow, and whose output is kept."""
    return cases.Problem(
        np.random.default_rng(3),
        data_format=data_format,
        images=2,
        count=400,
        height=30,
        width=40,
        channels=32,
        output_size=(7, 7),
        aligned=True,
    )


def pool_with_gradients(given, features, boxes):
    with tf.GradientTape() as tape:
        tape.watch([features, boxes])
        output = given.run(features=features, boxes=boxes, box_indices=given.indices)
    return [output, *tape.gradient(output, [features, boxes], given.upstream)]


@pytest.mark.parametrize("data_format", cases.LAYOUTS)
@pytest.mark.parametrize("kind", ["eager", "one function", "a function each"])
def test_gradients(data_format, kind):
    given = problem(data_format)
    boxes = tf.constant(given.box_values)
    alone = all_bits(pool_with_gradients(given, given.features, boxes))

    def make():
        def pool(features, boxes):
            return pool_with_gradients(given, features, boxes)

        return pool if kind == "eager" else tf.function(pool, autograph=False)

    shared = make()

    def run(_):
        pool = make() if kind == "a function each" else shared
        for _ in range(ROUNDS):
            assert all_bits(pool(given.features, boxes)) == alone

    on_threads(run)


@pytest.mark.parametrize("data_format", cases.LAYOUTS)
@pytest.mark.parametrize("count", [1, THREADS])
def test_sessions(data_format, count):
    """Of TensorFlow 1: one graph, in one session or in one for each thread."""
    given = problem(data_format)
    alone = pool_with_gradients(given, given.features, tf.constant(given.box_values))
    alone = [each.numpy().tobytes() for each in alone]
    values = [given.features.numpy(), given.box_values]
    upstream = given.upstream.numpy()
    with tf.Graph().as_default() as graph:
        inputs = [tf.compat.v1.placeholder(value.dtype, value.shape) for value in values]
        output = given.run(inputs[0], boxes=inputs[1], box_indices=given.indices)
        fetches = [output, *tf.gradients(output, inputs, tf.constant(upstream))]
    graph.finalize()
    sessions = [tf.compat.v1.Session(graph=graph) for _ in range(count)]

    def run(thread):
        session = sessions[thread % count]
        for _ in range(ROUNDS):
            results = session.run(fetches, dict(zip(inputs, values, strict=True)))
            assert [each.tobytes() for each in results] == alone

    on_threads(run)
    for session in sessions:
        session.close()
