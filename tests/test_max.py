"""`mode="max"`: the largest sample of each bin, against `max_reference`."""

import cases
import max_reference
import numpy as np
import pytest
import tensorflow as tf

import tf_roialign


def pooled(features, boxes, **arguments):
    return tf_roialign.roi_align(features, boxes, mode="max", **arguments)


@pytest.mark.parametrize("form", cases.FORMS)
@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("ratio", [-1, 1, 2, 7])
@pytest.mark.parametrize("data_format", cases.LAYOUTS)
@pytest.mark.parametrize(
    ("feature_dtype", "box_dtype"),
    [
        ("float32", "float32"),
        ("float64", "float64"),
        ("float16", "float32"),
        ("bfloat16", "float64"),
    ],
)
def test_output_and_feature_gradient(feature_dtype, box_dtype, data_format, ratio, aligned, form):
    options = {
        "feature_dtype": feature_dtype,
        "box_dtype": box_dtype,
        "data_format": data_format,
        "ratio": ratio,
        "aligned": aligned,
        "form": form,
    }
    rng = np.random.default_rng(cases.seed_of("max", *options.values()))
    problem = cases.Problem(rng, channels=19, height=7, width=9, scale=0.5, **options)
    if form == "box_indices":
        problem.features -= tf.cast(3, problem.features.dtype)  # negative everywhere
        _, held = cases.rounded(cases.as_numpy(problem.features), feature_dtype)
        problem.feature_values = cases.to_nhwc(held, data_format)
    problem.attributes["mode"] = "max"
    with tf.GradientTape() as tape:
        tape.watch(problem.features)
        output = problem.run()
    gradient = tape.gradient(output, problem.features, problem.upstream)
    expected, expected_gradient = max_reference.pool(
        problem.feature_values,
        problem.box_values,
        problem.indices,
        upstream=problem.upstream_values,
        **problem.geometry,
    )
    rtol, atol = cases.tolerance(feature_dtype, box_dtype, 6)
    cases.assert_close(problem.values(output), expected, rtol=rtol, atol=atol)
    got = cases.to_nhwc(cases.as_numpy(gradient), data_format)
    rtol, atol = cases.tolerance(
        feature_dtype, box_dtype, np.abs(problem.upstream_values).sum() / 40
    )
    off = np.abs(got - expected_gradient) > atol + rtol * np.abs(expected_gradient)
    # Features of few bits make samples equal but for the last bit of the sum, which float32 and
    # float64 tell apart differently.
    assert off.mean() <= (2e-3 if "16" in feature_dtype else 0)


@pytest.mark.parametrize("data_format", cases.LAYOUTS)
@pytest.mark.parametrize("ratio", [-1, 2, 5])
@pytest.mark.parametrize("aligned", [False, True])
def test_box_gradient_is_the_slope(aligned, ratio, data_format):
    rng = np.random.default_rng(cases.seed_of("max slope", aligned, ratio, data_format))
    problem = cases.Problem(
        rng,
        feature_dtype="float64",
        box_dtype="float64",
        data_format=data_format,
        ratio=ratio,
        aligned=aligned,
        smooth=True,
    )
    boxes = tf.constant(problem.box_values)
    indices = tf.constant(problem.indices, tf.int32)

    def loss(boxes):
        output = pooled(problem.features, boxes, box_indices=indices, **problem.attributes)
        # One number for each box.
        return tf.reduce_sum(output * problem.upstream, axis=[1, 2, 3])

    with tf.GradientTape() as tape:
        tape.watch(boxes)
        value = loss(boxes)
    gradient = tape.gradient(value, boxes).numpy()
    step = 1e-7
    wrong = 0
    for i in range(4):
        moved = step * np.eye(4)[i]
        slope = (loss(boxes + moved) - loss(boxes - moved)).numpy() / (2 * step)
        wrong += np.sum(np.abs(slope - gradient[:, i]) > 1e-5 * (1 + np.abs(slope)))
    assert np.abs(gradient).max() > 0.1
    assert wrong <= 1  # where two samples change places within the step


def test_what_is_outside_counts_as_zero_and_no_sample_is_zero():
    features = tf.fill([1, 4, 4, 3], -2.0)
    inside, beyond, empty = [1, 1, 3, 3], [2, 2, 12, 12], [3, 3, 3, 3]
    boxes = tf.constant([[0, *inside], [0, *beyond], [0, *empty]], tf.float32)
    output = pooled(features, boxes, output_size=1, sampling_ratio=2).numpy()
    np.testing.assert_array_equal(output[:2, 0, 0, 0], [-2, 0])
    aligned = pooled(features, boxes, output_size=1, aligned=True).numpy()
    assert aligned[2, 0, 0, 0] == 0  # adaptive, and the box has no extent


# With a NaN in a channel, the kernels take more care of those beside it.
@pytest.mark.parametrize(("channels", "nans"), [(1, 0), (4, 0), (40, 0), (4, 1), (40, 1)])
def test_the_first_of_equal_samples_gets_the_gradient(channels, nans):
    # Samples at 1 and 3 along each axis, of equal value and, along x, opposite slope.
    features = np.zeros((1, 6, 6, channels), np.float32) + np.abs(np.arange(6) - 2)[:, None]
    features[..., channels - nans :] = np.nan
    features = tf.constant(features)
    boxes = tf.constant([[0, 0, 0, 4, 4]], tf.float32)
    with tf.GradientTape() as tape:
        tape.watch([features, boxes])
        output = pooled(features, boxes, output_size=1, sampling_ratio=2)
    to_features, to_boxes = tape.gradient(output, [features, boxes])
    expected = np.zeros((6, 6))
    expected[1, 1] = 1
    for channel in range(channels - nans):
        np.testing.assert_array_equal(to_features[0, :, :, channel], expected)
    if not nans:
        np.testing.assert_allclose(to_boxes[0], np.array([0, -0.75, 0, -0.25, 0]) * channels)


@pytest.mark.parametrize("channels", [1, 4, 40])
def test_nan_is_the_largest(channels):
    features = np.zeros((1, 6, 6, channels), np.float32)
    features[0, 2, 2] = np.nan
    boxes = tf.constant([[0, 1, 1, 5, 5], [0, 4, 4, 5, 5]], tf.float32)
    output = pooled(features, boxes, output_size=1, sampling_ratio=2).numpy()[:, 0, 0]
    assert np.isnan(output[0]).all()
    np.testing.assert_array_equal(output[1], 0)


def test_any_number_of_samples_costs_no_more_than_the_pixels():
    rng = np.random.default_rng(0)
    features = tf.constant(rng.standard_normal((1, 20, 20, 8)), tf.float64)
    boxes = tf.constant([[0, 2.3, 3.1, 9.7, 17.2], [0, -1e8, -1e8, 1e8, 1e8]], tf.float64)
    many = pooled(features, boxes, output_size=2, sampling_ratio=2**31 - 1)
    dense = pooled(features, boxes[:1], output_size=2, sampling_ratio=1000)
    np.testing.assert_allclose(many[:1], dense, atol=2e-2)
    assert np.isfinite(many).all()


def test_the_gradient_of_many_samples_of_a_bin():
    """More than a byte tells apart: one bin over the whole map."""
    rng = np.random.default_rng(1)
    features = tf.constant(rng.standard_normal((2, 40, 40, 20)), tf.float32)
    boxes = tf.constant([[1, 0, 0, 40, 40], [0, 3, 2, 30, 39]], tf.float32)
    upstream = tf.constant(rng.standard_normal((2, 1, 1, 20)), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(features)
        output = pooled(features, boxes, output_size=1)
    gradient = tape.gradient(output, features, upstream)
    expected, expected_gradient = max_reference.pool(
        features.numpy().astype(np.float64),
        boxes.numpy()[:, 1:],
        [1, 0],
        (1, 1),
        1.0,
        -1,
        False,
        np.float32,
        upstream.numpy(),
    )
    np.testing.assert_allclose(output, expected, atol=1e-5)
    np.testing.assert_allclose(gradient, expected_gradient, atol=1e-5)


def test_a_second_derivative_is_refused():
    features, boxes = tf.ones([1, 4, 4, 1]), tf.constant([[0, 0, 0, 3, 3]], tf.float32)
    with tf.GradientTape() as outer:
        outer.watch(features)
        with tf.GradientTape() as inner:
            inner.watch(features)
            loss = tf.reduce_sum(pooled(features, boxes, output_size=2) ** 2)
        gradient = inner.gradient(loss, features)
    with pytest.raises(LookupError, match="differentiated once, not twice"):
        outer.gradient(gradient, features)


def test_the_gradient_for_the_other_mode_is_refused():
    arguments = {
        "grad_output": tf.ones([1, 2, 2, 1]),
        "boxes": tf.zeros([1, 5]),
        "box_indices": tf.zeros([0], tf.int32),
        "features_shape": [1, 4, 4, 1],
        "output_size": [2, 2],
        "spatial_scale": 1.0,
        "mode": "max",
    }
    with pytest.raises(tf.errors.InvalidArgumentError, match='`mode` must be "avg" for TfRoialign'):
        tf_roialign.raw_ops.roi_align_grad(**arguments)


def test_layer_keeps_the_mode(tmp_path):
    layer = tf_roialign.RoIAlign(2, mode="max")
    features, boxes = tf.random.normal([1, 8, 8, 3]), tf.constant([[0, 0, 0, 7, 7]], tf.float32)
    again = tf_roialign.RoIAlign.from_config(layer.get_config())
    np.testing.assert_array_equal(again(features, boxes), pooled(features, boxes, output_size=2))
    with pytest.raises(ValueError, match='`mode` must be "avg" or "max"'):
        tf_roialign.RoIAlign(2, mode="sum")
