"""Which dtypes come out, and what the small ones cost."""

import cases
import numpy as np
import pytest
import reference
import tensorflow as tf

import tf_roialign

SMALL = ("float16", "bfloat16")


@pytest.mark.parametrize(
    "box_dtype", ["float16", "bfloat16", "float32", "float64", "int32", "int64"]
)
@pytest.mark.parametrize("dtype", cases.FEATURE_DTYPES)
def test_dtypes_of_results(dtype, box_dtype):
    features = tf.cast(tf.random.stateless_normal([2, 8, 8, 3], [1, 2]), dtype)
    boxes = tf.cast(tf.constant([[1, 2, 5, 6], [0, 1, 3, 7]]), box_dtype)
    for form in cases.FORMS:
        with tf.GradientTape(persistent=True) as tape:
            tape.watch([features, boxes])
            arguments = cases.in_form(form, boxes, np.array([0, 1]), 2)
            output = tf_roialign.roi_align(features, **arguments, output_size=2)
        assert output.dtype == dtype
        assert tape.gradient(output, features).dtype == dtype
        if boxes.dtype.is_floating:
            assert tape.gradient(output, boxes).dtype == box_dtype


def test_integer_boxes_are_the_float_boxes():
    features = tf.random.stateless_normal([2, 8, 8, 3], [1, 2])
    rois = np.array([[0, 1, 2, 5, 6], [1, 0, 1, 3, 7]])
    expected = cases.as_bytes(tf_roialign.roi_align(features, rois.astype("float32"), 3))
    for dtype in ("int8", "uint8", "int32", "int64"):
        assert cases.as_bytes(tf_roialign.roi_align(features, rois.astype(dtype), 3)) == expected


@pytest.mark.parametrize("box_dtype", SMALL)
def test_small_boxes_are_widened_before_any_arithmetic(box_dtype):
    rng = np.random.default_rng(8)
    problem = cases.Problem(rng, height=200, width=300, scale=0.3, count=40)
    boxes, held = cases.rounded(problem.box_values, box_dtype)
    got = problem.run(boxes=boxes, box_indices=problem.indices)
    wide = problem.run(boxes=held.astype("float32"), box_indices=problem.indices)
    assert cases.as_bytes(got) == cases.as_bytes(wide)


@pytest.mark.parametrize("data_format", cases.LAYOUTS)
@pytest.mark.parametrize("dtype", SMALL)
def test_coordinates_beyond_2048(dtype, data_format):
    """A half features map takes float32 coordinates: far pixels are as right as near ones."""
    rng = np.random.default_rng(9)
    height, width = 5, 6000
    values = rng.standard_normal((1, height, width, 2))
    features, held = cases.rounded(cases.from_nhwc(values, data_format), dtype)
    boxes = rng.uniform(0, 1, (50, 4)).astype("float32") * [20, 3, 20, 3] + [4000, 0, 4040, 2]
    boxes[25:, [0, 2]] += 1900
    boxes = boxes.astype("float32")
    indices = np.zeros(50, int)
    output = tf_roialign.roi_align(
        features, boxes, 7, 1.0, 2, True, box_indices=indices, data_format=data_format
    )
    expected = reference.forward(
        cases.to_nhwc(held, data_format), boxes, indices, (7, 7), 1.0, 2, True, np.float32
    )
    rtol, atol = cases.tolerance(dtype, "float32", np.abs(values).max())
    got = cases.to_nhwc(cases.as_numpy(output), data_format)
    cases.assert_close(got, expected, rtol=rtol, atol=atol)
    assert np.abs(got).max() > 0.5


@pytest.mark.parametrize("dtype", SMALL)
def test_sums_are_kept_in_float32(dtype):
    """4096 samples of 1 average to 1, 4096 gradients of 1/16 add up to 256."""
    features = tf.ones([1, 70, 70, 3], dtype)
    with tf.GradientTape() as tape:
        tape.watch(features)
        output = tf_roialign.roi_align(features, [[0.0, 2.0, 2.0, 66.0, 66.0]], 1)
    assert cases.as_numpy(output).ravel().tolist() == [1.0] * 3

    features = tf.zeros([1, 1, 1, 1], dtype)
    rois = tf.zeros([4096, 5])
    with tf.GradientTape() as tape:
        tape.watch(features)
        output = tf_roialign.roi_align(features, rois, 1, sampling_ratio=1)
    gradient = tape.gradient(output, features, tf.fill(output.shape, tf.cast(1 / 16, dtype)))
    assert cases.as_numpy(gradient).ravel().tolist() == [256.0]


@pytest.mark.parametrize("mode", ["eager", "graph"])
@pytest.mark.parametrize("data_format", cases.LAYOUTS)
@pytest.mark.parametrize("dtype", SMALL)
def test_every_value_passes_unchanged(dtype, data_format, mode):
    """Every bit pattern read and written: subnormals, the largest, and both infinities.

    TensorFlow's threads treat float32 subnormals as zero. bfloat16's are float32's, so they
    may vanish; those of float16 are ordinary float32 numbers and must not.
    """
    values = tf.bitcast(tf.cast(tf.range(65536), tf.uint16), dtype)
    wide = tf.cast(values, tf.float32)
    # Every value is a channel or, in a second map, an image: in vectors and on its own.
    for features in (tf.reshape(values, [1, 1, 1, -1]), tf.reshape(values, [-1, 1, 1, 1])):
        if data_format == "NCHW":
            features = tf.transpose(features, [0, 3, 1, 2])
        # One sample in the middle of the only pixel, with weight 1.
        boxes = tf.tile([[[0.0, 0.0, 1.0, 1.0]]], [features.shape[0], 1, 1])

        def align(features, boxes):
            return tf_roialign.roi_align(features, boxes, 1, 1.0, 1, data_format=data_format)

        output = (tf.function(align) if mode == "graph" else align)(features, boxes)
        got = tf.cast(tf.reshape(output, [-1]), tf.float32).numpy()
        wrong = ~((got == wide) | (np.isnan(got) & np.isnan(wide)))
        if dtype == "bfloat16":
            wrong &= ~((got == 0) & (np.abs(wide) < np.finfo(np.float32).tiny))
        assert np.flatnonzero(wrong).tolist() == []


@pytest.mark.parametrize("dtype", SMALL)
def test_results_round_to_nearest_even(dtype):
    """The mean of two neighbours lies half-way between them when there is no third."""
    low = tf.bitcast(tf.constant(np.arange(0x3C00, 0x3C40), tf.uint16), dtype)
    high = tf.bitcast(tf.constant(np.arange(0x3C01, 0x3C41), tf.uint16), dtype)
    features = tf.stack([low, high])[None, None]  # [1, 1, 2, 64]
    output = tf_roialign.roi_align(
        features, [[0.0, 0.0, 0.0, 1.0, 1.0]], 1, 1.0, 1, box_indices=None
    )  # the one sample lies at x = 0.5
    expected = tf.cast((tf.cast(low, "float32") + tf.cast(high, "float32")) / 2, dtype)
    assert (cases.as_numpy(output).ravel() == cases.as_numpy(expected)).all()


@pytest.mark.parametrize("dtype", ["int32", "uint8", "bool", "complex64", "string"])
def test_other_features_are_refused(dtype):
    features = tf.zeros([1, 4, 4, 1], dtype)
    with pytest.raises((TypeError, ValueError, tf.errors.InvalidArgumentError), match="features"):
        tf_roialign.roi_align(features, [[0.0, 0.0, 0.0, 1.0, 1.0]], 1)


@pytest.mark.parametrize("dtype", ["float32", "float64", "bool", "string"])
def test_other_indices_are_refused(dtype):
    features = tf.zeros([1, 4, 4, 1])
    indices = tf.zeros([1], dtype)
    with pytest.raises((TypeError, ValueError), match="box_indices"):
        tf_roialign.roi_align(features, [[0.0, 0.0, 1.0, 1.0]], 1, box_indices=indices)


def test_other_integers_are_indices():
    features = tf.random.stateless_normal([3, 4, 4, 1], [1, 2])
    boxes = [[0.0, 0.0, 1.0, 1.0], [1.0, 1.0, 3.0, 3.0]]
    expected = cases.as_bytes(tf_roialign.roi_align(features, boxes, 2, box_indices=[2, 1]))
    for dtype in ("int8", "uint8", "int16", "int32", "uint32", "int64"):
        indices = np.array([2, 1], dtype)
        output = tf_roialign.roi_align(features, boxes, 2, box_indices=indices)
        assert cases.as_bytes(output) == expected


@pytest.mark.parametrize("dtype", ["string", "complex64"])
def test_other_boxes_are_refused(dtype):
    features = tf.zeros([1, 4, 4, 1])
    for boxes in (tf.zeros([2, 5], dtype), [tf.zeros([2, 4], dtype)], tf.zeros([1, 2, 4], dtype)):
        with pytest.raises((TypeError, ValueError), match="boxes"):
            tf_roialign.roi_align(features, boxes, 1)
