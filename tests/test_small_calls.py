"""What surrounds the kernel in a call: ops in graphs, and in eager calls.

Times are for benchmarks/small_calls.py; what they come from can be counted.
"""

import collections
import threading

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.eager import context
from tensorflow.python.framework import op_callbacks

import tf_roialign
from tf_roialign import constants

SCALES = [1 / 4, 1 / 8, 1 / 16]
BOXES = np.array([[0, 0, 8, 8], [1, 2, 11, 7], [4, 4, 30, 20]], np.float32)


def features_of(images, levels):
    maps = [tf.random.stateless_normal([images, n, n, 3], [1, n]) for n in (8, 4, 2)]
    return maps[0] if levels == "one" else maps


def call(levels, features, boxes, box_indices=None):
    if levels == "one":
        return tf_roialign.roi_align(features, boxes, 2, 1 / 4, 2, box_indices=box_indices)
    return tf_roialign.multiscale_roi_align(features, boxes, 2, SCALES, 2, box_indices=box_indices)


def arguments_of(form, images):
    """Three boxes for each image."""
    boxes = np.tile(BOXES, [images, 1])
    indices = np.repeat(np.arange(images, dtype=np.int32), 3)
    return {
        "indexed": lambda: [tf.constant(np.column_stack([indices, boxes]).astype(np.float32))],
        "box_indices": lambda: [tf.constant(boxes), tf.constant(indices)],
        "list": lambda: [[tf.constant(BOXES) for _ in range(images)]],
        "ragged": lambda: [tf.RaggedTensor.from_row_lengths(boxes, [3] * images)],
        "dense": lambda: [tf.constant(boxes.reshape(images, 3, 4))],
    }[form]()


def without_sizes(value):
    if isinstance(value, list):
        return [without_sizes(each) for each in value]
    if isinstance(value, tf.RaggedTensor):
        return tf.RaggedTensorSpec([None, None, 4], ragged_rank=1)
    last = value.shape[-1:] if value.shape.rank > 1 else []
    return tf.TensorSpec([None] * (value.shape.rank - len(last)) + [*last], value.dtype)


def graph_ops(levels, form, images, is_known):
    """Ops by type, without those that a function has for its arguments and results."""
    arguments = [features_of(images, levels), *arguments_of(form, images)]
    if not is_known:
        arguments = [without_sizes(each) for each in arguments]
    concrete = tf.function(call, autograph=False).get_concrete_function(levels, *arguments)
    ops = collections.Counter(op.type for op in concrete.graph.get_operations())
    return {
        type_: n for type_, n in ops.items() if type_ not in ("Placeholder", "Identity", "NoOp")
    }


# form: the most ops with (one image, two images) of known sizes, (one list entry, two) of unknown
# ones. The op, and a constant where it wants an input that is empty; of two constants more for
# the levels and scales of a pyramid, see the test.
MOST_OPS = {
    "indexed": ((2, 2), (2, 2)),
    "box_indices": ((1, 1), (1, 1)),
    "list": ((2, 4), (16, 20)),
    "ragged": ((4, 13), (26, 26)),
    "dense": ((2, 2), (2, 2)),
}


@pytest.mark.parametrize("levels", ["one", "pyramid"])
@pytest.mark.parametrize("images", [1, 2])
@pytest.mark.parametrize("is_known", [True, False], ids=["known", "unknown"])
@pytest.mark.parametrize("form", MOST_OPS)
def test_ops_of_a_graph(form, is_known, images, levels):
    ops = graph_ops(levels, form, images, is_known)
    most = MOST_OPS[form][0 if is_known else 1][images - 1]
    assert sum(ops.values()) <= most + 2 * (levels == "pyramid"), ops
    # A function call within the graph takes as long as many ops.
    assert not {"If", "StatelessIf", "While", "PartitionedCall"} & set(ops)


# On a GPU, the rows of ragged boxes cannot be looked at without waiting.
@pytest.mark.skipif(len(tf.config.list_physical_devices("GPU")) > 0, reason="there is a GPU")
@pytest.mark.parametrize("levels", ["one", "pyramid"])
@pytest.mark.parametrize("images", [1, 2])
@pytest.mark.parametrize("form", MOST_OPS)
def test_ops_of_an_eager_call(form, images, levels):
    arguments = [features_of(images, levels), *arguments_of(form, images)]
    call(levels, *arguments)  # which makes the constants
    ops = []

    def note(op_type, inputs, attrs, outputs, op_name=None, graph=None):
        ops.append(op_type.decode() if isinstance(op_type, bytes) else op_type)

    op_callbacks.add_op_callback(note)
    try:
        call(levels, *arguments)
    finally:
        op_callbacks.remove_op_callback(note)
    name = {"one": "RoiAlign", "pyramid": "MultiScaleRoiAlign"}[levels]
    expected = ["ConcatV2"] if form == "list" and images == 2 else []
    assert ops == [*expected, f"TfRoialign>{name}"]


def test_constants_are_made_once_for_a_context(monkeypatch):
    constant = constants.Constant(np.zeros([2], np.int32))
    first = constant.tensor()
    assert constant.tensor() is first
    with tf.device("CPU:0"):
        assert constant.tensor() is first
    assert tf.DeviceSpec.from_string(first.device).device_type == "CPU"

    # As after tf.config.experimental_connect_to_cluster.
    cluster = object()
    monkeypatch.setattr(context.context(), "get_server_def", lambda: cluster)
    second = constant.tensor()
    assert second is not first and constant.tensor() is second
    np.testing.assert_array_equal(second, first)


def test_constants_of_a_graph_are_its_own():
    """A kept tensor would be captured: an argument of the function, and no number to fold."""
    for levels in ("one", "pyramid"):
        features, boxes = features_of(1, levels), arguments_of("indexed", 1)[0]
        call(levels, features, boxes)
        concrete = tf.function(lambda f, b, n=levels: call(n, f, b)).get_concrete_function(
            features, boxes
        )
        assert not concrete.captured_inputs


def test_constants_from_many_threads():
    features = features_of(1, "pyramid")
    expected = call("pyramid", features, [BOXES]).numpy()
    results = []

    def run():
        for count in (3, 2, 1, 0):
            results.append((count, call("pyramid", features, [BOXES[:count]]).numpy()))

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 32
    for count, result in results:
        np.testing.assert_array_equal(result, expected[:count])


def test_many_boxes_of_one_image():
    """Of whose indices none are kept."""
    features = features_of(1, "one")
    boxes = np.tile(BOXES, [700, 1])
    expected = call("one", features, boxes, np.zeros([2100], np.int32))
    for form in ([boxes], tf.RaggedTensor.from_row_lengths(boxes, [2100])):
        np.testing.assert_array_equal(call("one", features, form), expected)


def test_ragged_rows_that_only_a_run_knows():
    """One image and more, images without boxes, and boxes of float64."""

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, 8, 8, 3]),
            tf.RaggedTensorSpec(
                [None, None, 4], tf.float64, ragged_rank=1, row_splits_dtype="int32"
            ),
        ]
    )
    def pool(features, boxes):
        return call("one", features, boxes)

    for lengths in ([3], [0], [0, 3], [1, 0, 2], [2, 1, 0, 0]):
        features = features_of(len(lengths), "one")
        boxes = tf.constant(BOXES[: sum(lengths)], tf.float64)
        indices = np.repeat(np.arange(len(lengths)), lengths)
        ragged = tf.RaggedTensor.from_row_lengths(boxes, np.array(lengths, np.int32))
        expected = call("one", features, boxes, indices)
        np.testing.assert_array_equal(pool(features, ragged), expected)
        np.testing.assert_array_equal(call("one", features, ragged), expected)
