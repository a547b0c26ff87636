"""Boxes that are NaN, infinite, reversed, outside, or giant: defined, and alone in it."""

import cases
import numpy as np
import pytest
import reference
import tensorflow as tf

import tf_roialign

HEIGHT, WIDTH = 8, 10
GOOD = np.array([[1.2, 2.1, 6.3, 7.2], [0.3, 0.4, 9.1, 5.2], [-2.2, -1.1, 4.2, 3.3]])
NOT_FINITE = [
    [np.nan, 1, 5, 5],
    [1, np.nan, 5, 5],
    [1, 1, np.nan, 5],
    [1, 1, 5, np.nan],
    [np.inf, 1, 5, 5],
    [1, -np.inf, 5, 5],
    [1, 1, np.inf, 5],
    [1, 1, 5, -np.inf],
    [-np.inf, -np.inf, np.inf, np.inf],
    [np.inf, np.inf, np.inf, np.inf],
    [np.nan, np.nan, np.nan, np.nan],
]


def run(form, boxes, indices, dtype, data_format, **attributes):
    """(output [K, ...] in NHWC, gradient by features, gradient by boxes) of a fixed map."""
    rng = np.random.default_rng(1)
    values = cases.from_nhwc(rng.standard_normal((2, HEIGHT, WIDTH, 5)), data_format)
    features = tf.cast(tf.constant(values), dtype)
    boxes = tf.constant(boxes)
    with tf.GradientTape() as tape:
        tape.watch([features, boxes])
        output = tf_roialign.roi_align(
            features,
            **cases.in_form(form, boxes, indices, 2),
            output_size=(3, 2),
            data_format=data_format,
            **attributes,
        )
        # The derivative by box k of its own output must not see another's NaN.
        upstream = tf.ones_like(output)
    of_features, of_boxes = tape.gradient(output, [features, boxes], upstream)
    output = cases.to_nhwc(cases.flat(cases.as_numpy(output), form), data_format)
    return output, cases.as_numpy(of_features), cases.as_numpy(of_boxes)


@pytest.mark.parametrize("form", cases.FORMS)
@pytest.mark.parametrize("data_format", cases.LAYOUTS)
@pytest.mark.parametrize("dtype", cases.FEATURE_DTYPES)
def test_not_a_finite_coordinate(dtype, data_format, form):
    for box_dtype in ("float32", "float64"):
        for attributes in (
            {"sampling_ratio": -1},
            {"sampling_ratio": 2, "aligned": True},
            {"sampling_ratio": 0, "aligned": True, "spatial_scale": 0.5},
        ):
            # As many boxes per image, for the dense form; bad ones first, last and between.
            boxes = np.array([*NOT_FINITE[:6], *GOOD, *NOT_FINITE[6:]]).astype(box_dtype)
            indices = np.repeat([0, 1], 7)
            is_good = np.isfinite(boxes).all(axis=1)
            output, of_features, of_boxes = run(
                form, boxes, indices, dtype, data_format, **attributes
            )
            assert np.isnan(output[~is_good]).all()
            assert np.isnan(of_boxes[~is_good]).all()

            alone = run(
                "box_indices", boxes[is_good], indices[is_good], dtype, data_format, **attributes
            )
            np.testing.assert_array_equal(output[is_good], alone[0])
            np.testing.assert_array_equal(of_features, alone[1])
            np.testing.assert_array_equal(of_boxes[is_good], alone[2])
            assert np.isfinite(alone[0]).all() and np.abs(alone[1]).max() > 0.01


@pytest.mark.parametrize("box", [[-3e38, 1, 3e38, 5], [3e38, 3e38, 3.1e38, 3.2e38]])
def test_finite_coordinates_whose_arithmetic_overflows(box):
    """No number says where the samples lie: NaN, as for an infinite coordinate."""
    boxes = np.array([*GOOD, box], "float32")
    output, of_features, of_boxes = run(
        "box_indices", boxes, np.zeros(4, int), "float32", "NHWC", spatial_scale=4.0
    )
    assert np.isnan(output[3]).all() and np.isnan(of_boxes[3]).all()
    alone = run("box_indices", boxes[:3], np.zeros(3, int), "float32", "NHWC", spatial_scale=4.0)
    np.testing.assert_array_equal(output[:3], alone[0])
    np.testing.assert_array_equal(of_features, alone[1])
    np.testing.assert_array_equal(of_boxes[:3], alone[2])


@pytest.mark.parametrize("magnitude", [1e9, 1e10, 1e12, 1e18, 1e30, 1e38])
@pytest.mark.parametrize("box_dtype", ["float32", "float64"])
def test_giant_boxes_end_and_average_to_nothing(box_dtype, magnitude):
    """Of the samples of an adaptive bin, a vanishing part lies on the map."""
    boxes = np.array(
        [
            [-magnitude, -magnitude, magnitude, magnitude],
            [-magnitude, 1, magnitude, 5],
            [1, 1, 5, magnitude],
            [-magnitude / 3, -magnitude / 7, 3, 3],
            [-magnitude, -magnitude, -magnitude / 2, -magnitude / 2],
        ],
        box_dtype,
    )
    for aligned in (False, True):
        for scale in (1.0, 0.25):
            output, of_features, of_boxes = run(
                "box_indices",
                boxes,
                np.zeros(5, int),
                "float32",
                "NHWC",
                sampling_ratio=-1,
                aligned=aligned,
                spatial_scale=scale,
            )
            assert np.abs(output).max() < 1e-6
            assert np.abs(of_features).max() < 1e-5
            assert np.isfinite(of_boxes).all()
    # With a fixed number of samples they are simply far apart.
    output, _, _ = run("box_indices", boxes, np.zeros(5, int), "float32", "NHWC", sampling_ratio=2)
    assert np.isfinite(output).all()


@pytest.mark.parametrize("form", cases.FORMS)
@pytest.mark.parametrize("ratio", cases.SAMPLING_RATIOS)
def test_reversed(form, ratio):
    boxes = np.array([[6, 2, 2, 5], [2, 6, 5, 2], [6, 7, 1, 1], [6.5, 6.5, 6, 6]], "float32")
    indices = np.array([0, 0, 1, 1])
    settings = {"sampling_ratio": ratio, "aligned": True}
    output, of_features, _ = run(form, boxes, indices, "float32", "NHWC", **settings)
    if ratio <= 0:  # aligned and adaptive: no samples, zero
        assert not output.any() and not of_features.any()
    else:
        assert np.abs(output).min() > 0
    # Not aligned: 1x1 from the first corner on.
    settings["aligned"] = False
    output, _, _ = run(form, boxes, indices, "float32", "NHWC", **settings)
    small = boxes.copy()
    for first, second in ((0, 2), (1, 3)):
        raised = small[:, second] - small[:, first] < 1
        small[raised, second] = small[raised, first] + 1
    np.testing.assert_allclose(
        output, run(form, small, indices, "float32", "NHWC", **settings)[0], atol=1e-6
    )


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("data_format", cases.LAYOUTS)
@pytest.mark.parametrize("dtype", cases.FEATURE_DTYPES)
def test_outside_samples_read_nothing(dtype, data_format, value):
    """Not even where the whole map is NaN: outside means zero, forward and backward."""
    features = tf.cast(tf.fill([2, 5, 6, 3], value), dtype)
    if data_format == "NCHW":
        features = tf.transpose(features, [0, 3, 1, 2])
    boxes = tf.constant(
        [
            [20.0, 20.0, 30.0, 30.0],
            [-30.0, -30.0, -20.0, -20.0],
            [1.0, 20.0, 3.0, 30.0],
            [-20.0, 1.0, -10.0, 3.0],
        ]
    )
    for ratio in (-1, 2):
        for aligned in (False, True):
            with tf.GradientTape(persistent=True) as tape:
                tape.watch([features, boxes])
                output = tf_roialign.roi_align(
                    features,
                    boxes,
                    (3, 2),
                    1.0,
                    ratio,
                    aligned,
                    box_indices=[0, 1, 1, 0],
                    data_format=data_format,
                )
            upstream = tf.cast(tf.fill(output.shape, value), dtype)
            of_features = tape.gradient(output, features, upstream)
            of_boxes = tape.gradient(output, boxes)
            for result in (output, of_features, of_boxes):
                assert (cases.as_numpy(result) == 0).all()


@pytest.mark.parametrize("data_format", cases.LAYOUTS)
@pytest.mark.parametrize("dtype", cases.FEATURE_DTYPES)
def test_a_pixel_that_is_not_finite_shows_in_the_bins_that_read_it(dtype, data_format):
    """... and in no other: neither its neighbours' vectors nor padding of any kind."""
    rng = np.random.default_rng(31)
    for value in (np.nan, np.inf, -np.inf):
        for ratio in (-1, 1, 2):
            problem = cases.Problem(
                rng,
                feature_dtype=dtype,
                data_format=data_format,
                channels=19,
                count=30,
                ratio=ratio,
                aligned=True,
                output_size=(4, 5),
                smooth=True,
            )
            values = problem.feature_values.copy()
            for _ in range(4):
                values[rng.integers(3), rng.integers(9), rng.integers(13), rng.integers(19)] = value
            problem.feature_values = values
            features = tf.cast(tf.constant(cases.from_nhwc(values, data_format)), dtype)
            got = problem.values(problem.run(features, **problem.arguments()))
            expected = problem.expected()
            assert 0 < (~np.isfinite(expected)).mean() < 0.1
            rtol, atol = cases.tolerance(dtype, "float32", 5.0)
            cases.assert_close(got, expected, rtol=rtol, atol=atol)


def test_samples_exactly_on_the_border_count():
    """-1 and L are inside, their neighbours in the boxes' dtype are not."""
    features = tf.ones([1, 4, 4, 1], tf.float64)
    for dtype in ("float32", "float64"):
        t_ = np.dtype(dtype).type
        below, above = np.nextafter(t_(-1), t_(-2)), np.nextafter(t_(4), t_(5))
        # Degenerate aligned boxes: all samples at the corner, here shifted by the offset.
        for v, counts in ((t_(-1), 1), (below, 0), (t_(4), 1), (above, 0)):
            c = v + t_(0.5)
            if c - t_(0.5) != v:
                continue  # not representable after the offset
            boxes = np.array([[c, 1, c, 1], [1, c, 1, c]], dtype)
            output = tf_roialign.roi_align(
                features, boxes, 1, 1.0, 1, True, box_indices=[0, 0]
            ).numpy()
            expected = reference.forward(features.numpy(), boxes, [0, 0], (1, 1), 1.0, 1, True, t_)
            assert output.ravel().tolist() == expected.ravel().tolist() == [counts, counts]
