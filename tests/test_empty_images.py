"""Images without boxes, wherever they stand and whatever stands for their boxes."""

import cases
import numpy as np
import pytest
import tensorflow as tf

import tf_roialign
from tf_roialign.library import supports_xla

FEATURES = tf.random.stateless_normal([2, 8, 9, 3], [1, 2])
BOXES = cases.random_boxes(np.random.default_rng(3), 3, 8, 9)
EMPTY = {
    "list": [],
    "tuple": (),
    "numpy": np.array([]),
    "tensor": tf.constant([]),
    "variable": tf.Variable(tf.zeros([0, 4])),
    **{f"{dtype}": tf.zeros([0], dtype) for dtype in ("float16", "float64", "int32", "uint8")},
    **{f"{dtype}_4": np.zeros([0, 4], dtype) for dtype in ("float32", "float64", "int64")},
    "ragged": tf.ragged.constant([[[1.0, 2, 3, 4]], []])[1],
}


def align(boxes):
    return tf_roialign.roi_align(FEATURES, boxes, 2)


LAYER = tf_roialign.RoIAlign(2, data_format="channels_last")
CALLS = {
    "function": align,
    "layer": lambda boxes: LAYER(FEATURES, boxes),
    "graph": tf.function(align),
    "layer_graph": tf.function(lambda boxes: LAYER(FEATURES, boxes), autograph=False),
    "xla": tf.function(align, jit_compile=True),
}


@pytest.fixture(name="call", params=CALLS)
def one_call(request):
    if request.param == "xla" and not supports_xla():
        pytest.skip("the package was built without its part for XLA")
    return CALLS[request.param]


def on_image(index):
    return tf_roialign.roi_align(FEATURES, BOXES, 2, box_indices=[index] * len(BOXES))


@pytest.mark.parametrize("kind", [list, tuple])
@pytest.mark.parametrize("empty", EMPTY)
def test_entries_of_a_list(call, empty, kind):
    empty = EMPTY[empty]
    assert cases.as_bytes(call(kind([BOXES, empty]))) == cases.as_bytes(on_image(0))
    assert cases.as_bytes(call(kind([empty, BOXES]))) == cases.as_bytes(on_image(1))
    assert call(kind([empty, empty])).shape == [0, 2, 2, 3]


def test_lists_of_python_numbers():
    rows = BOXES.tolist()
    for boxes, index in (([[], rows], 1), ([rows, []], 0), ((rows, ()), 0)):
        np.testing.assert_array_equal(align(boxes), on_image(index))
    assert align([[], []]).shape == [0, 2, 2, 3]
    one = tf_roialign.roi_align(FEATURES[:1], [[]], 2)
    assert one.shape == [0, 2, 2, 3]


def test_an_empty_array_does_not_choose_the_dtype():
    """np.array([]) is float64, in which coordinates would be computed otherwise."""
    boxes = BOXES + 1e-3
    expected = align([boxes, np.zeros([0, 4], "float32")])
    assert cases.as_bytes(align([boxes, np.array([])])) == cases.as_bytes(expected)
    wide = align([boxes.astype("float64"), tf.constant([])])
    assert cases.as_bytes(wide) == cases.as_bytes(
        align([boxes.astype("float64"), np.zeros([0, 4])])
    )


RAGGED = {
    "constant": tf.ragged.constant([[], []]),
    "constant_int": tf.ragged.constant([[], []], dtype=tf.int32),
    "constant_rank_2": tf.ragged.constant([[], []], ragged_rank=2),
    "constant_inner": tf.ragged.constant([[], []], ragged_rank=1, inner_shape=(4,)),
    "row_lengths": tf.RaggedTensor.from_row_lengths(tf.zeros([0]), [0, 0]),
    "row_lengths_4": tf.RaggedTensor.from_row_lengths(tf.zeros([0, 4]), [0, 0]),
    "nested": tf.RaggedTensor.from_nested_row_lengths(tf.zeros([0]), [[0, 0], []]),
    "stack": tf.ragged.stack([tf.zeros([0, 4]), tf.zeros([0, 4])]),
    "from_tensor": tf.RaggedTensor.from_tensor(tf.zeros([2, 0, 4])),
    "sliced": tf.ragged.constant([[[1.0, 2, 3, 4]], [], []])[1:],
}


@pytest.mark.parametrize("ragged", RAGGED)
def test_ragged_without_boxes(call, ragged):
    assert call(RAGGED[ragged]).shape == [0, 2, 2, 3]


@pytest.mark.parametrize("order", [1, -1])
def test_ragged_with_some(call, order):
    rows = [[], BOXES.tolist()][::order]
    for boxes in (
        tf.ragged.constant(rows),
        tf.ragged.constant(rows, ragged_rank=1, inner_shape=(4,)),
        tf.RaggedTensor.from_row_lengths(BOXES, [0, 3][::order]),
    ):
        assert cases.as_bytes(call(boxes)) == cases.as_bytes(on_image(1 if order == 1 else 0))


def test_indexed_boxes_that_are_none():
    for boxes in ([], np.array([]), tf.constant([]), np.zeros([0, 4])):
        for indices in ([], np.array([]), np.zeros(0, "int64")):
            output = tf_roialign.roi_align(FEATURES, boxes, 2, box_indices=indices)
            assert output.shape == [0, 2, 2, 3]
            assert LAYER(FEATURES, boxes, tf.zeros([0], tf.int32)).shape == [0, 2, 2, 3]


@pytest.mark.parametrize("shape", [None, [None]], ids=["no_rank", "no_length"])
def test_only_the_run_knows_that_it_is_empty(shape):
    run = tf.function(
        lambda a, b: align([a, b]), input_signature=[tf.TensorSpec(None), tf.TensorSpec(shape)]
    )
    np.testing.assert_array_equal(run(tf.constant(BOXES), tf.constant([])), on_image(0))
    for wrong in (tf.ones([4]), tf.ones([1])):
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"`boxes\[1\]` must have shape"):
            run(tf.constant(BOXES), wrong)
    for wrong in (tf.ones([3, 5]), tf.ones([1, 2, 4]), tf.ones([])):
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"`boxes\[0\]` must have shape"):
            run(wrong, tf.constant([]))


def test_ragged_that_only_the_run_knows_to_be_empty():
    spec = tf.RaggedTensorSpec([None, None], ragged_rank=1)
    run = tf.function(align, input_signature=[spec])
    assert run(tf.ragged.constant([[], []])).shape == [0, 2, 2, 3]
    with pytest.raises(tf.errors.InvalidArgumentError, match="`boxes` must be a RaggedTensor"):
        run(tf.ragged.constant([[1.0, 2], [3.0, 4]]))


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ([BOXES, np.zeros([0, 5])], r"`boxes\[1\]` must have shape \[L, 4\], got \[0, 5\]"),
        ([np.array([]), np.ones(4)], r"`boxes\[1\]` must have shape \[L, 4\], got \[4\]"),
        ([np.ones(4), np.array([])], r"`boxes\[0\]` must have shape \[L, 4\], got \[4\]"),
        ([[], [[1, 2, 3]]], r"`boxes\[1\]` must have shape \[L, 4\], got \[1, 3\]"),
        ([[], [], []], r"`boxes` must have one entry per image \(2\), got 3"),
        ([], r"`boxes` must have one entry per image \(2\), got 0"),
        (
            [tf.ragged.constant([[1.0, 2, 3]]), BOXES],
            r"`boxes\[0\]` must have shape \[L, 4\], with four numbers per box, got 3",
        ),
    ],
    ids=lambda value: "" if isinstance(value, str) else None,
)
def test_what_is_not_empty(boxes, message):
    with pytest.raises(ValueError, match=message):
        align(boxes)


@pytest.mark.parametrize("empty", [np.array([], bool), np.array([], str)], ids=["bool", "str"])
def test_empty_entries_of_no_number(empty):
    with pytest.raises(TypeError, match=r"`boxes\[0\]` must be float32 or float64, got"):
        align([empty, BOXES])
