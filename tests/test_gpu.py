"""The whole operator through TensorFlow on a GPU."""

import cases
import numpy as np
import pytest
import tensorflow as tf

import tf_roialign

pytestmark = pytest.mark.gpu


def gradients(problem, boxes, **arguments):
    """(output, gradient to features, gradient to boxes)."""
    with tf.GradientTape() as tape:
        tape.watch([problem.features, boxes])
        output = problem.run(boxes=boxes, **arguments)
    return output, *tape.gradient(output, [problem.features, boxes], problem.upstream)


@pytest.mark.parametrize("ratio", cases.SAMPLING_RATIOS)
@pytest.mark.parametrize("aligned", [False, True], ids=["plain", "aligned"])
@pytest.mark.parametrize("data_format", cases.LAYOUTS)
@pytest.mark.parametrize("dtype", cases.FEATURE_DTYPES)
def test_agrees_with_reference(dtype, data_format, aligned, ratio):
    rng = np.random.default_rng(cases.seed_of("gpu", dtype, data_format, aligned, ratio))
    for form in cases.FORMS:
        for box_dtype, channels, output_size in (
            ("float32", 5, (3, 2)),
            ("float64", 64, (7, 7)),
        ):
            problem = cases.Problem(
                rng,
                form=form,
                feature_dtype=dtype,
                box_dtype=box_dtype,
                data_format=data_format,
                channels=channels,
                output_size=output_size,
                scale=0.5,
                ratio=ratio,
                aligned=aligned,
            )
            arguments = problem.arguments("int64")
            with tf.GradientTape() as tape:
                tape.watch(problem.features)
                output = problem.run(**arguments)
            assert "GPU" in output.device
            grad = tape.gradient(output, problem.features, problem.upstream)
            for got, expected, magnitude in (
                (problem.values(output), problem.expected(), np.abs(problem.feature_values).max()),
                (
                    cases.to_nhwc(cases.as_numpy(grad), data_format),
                    problem.expected_feature_gradient(),
                    np.abs(problem.upstream_values).max() * len(problem.box_values),
                ),
            ):
                rtol, atol = cases.tolerance(dtype, box_dtype, magnitude)
                cases.assert_close(got, expected, rtol=rtol, atol=atol, what=form)


@pytest.mark.parametrize("data_format", cases.LAYOUTS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_box_gradient(dtype, data_format):
    rng = np.random.default_rng(cases.seed_of("gpu boxes", dtype, data_format))
    problem = cases.Problem(
        rng, feature_dtype=dtype, box_dtype="float64", data_format=data_format, smooth=True
    )
    arguments = problem.arguments()
    boxes = arguments.pop("boxes")
    *_, grad = gradients(problem, boxes, **arguments)
    assert "GPU" in grad.device
    tolerance = 1e-9 if dtype == "float64" else 1e-4
    expected = problem.expected_box_gradient()
    cases.assert_close(
        cases.as_numpy(grad), expected, rtol=tolerance, atol=tolerance * np.abs(expected).max()
    )


@pytest.mark.parametrize("ratio", [-1, 2])
@pytest.mark.parametrize("data_format", cases.LAYOUTS)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_max_is_that_of_the_cpu(dtype, data_format, ratio):
    rng = np.random.default_rng(cases.seed_of("gpu max", dtype, data_format, ratio))
    problem = cases.Problem(
        rng, feature_dtype=dtype, box_dtype="float64", data_format=data_format, ratio=ratio
    )
    arguments = problem.arguments()
    boxes = arguments.pop("boxes")
    on_gpu = gradients(problem, boxes, mode="max", **arguments)
    assert all("GPU" in each.device for each in on_gpu)
    with tf.device("CPU:0"):
        on_cpu = gradients(problem, boxes, mode="max", **arguments)
    tolerance = {"float16": 2e-3, "float32": 1e-4, "float64": 1e-9}[dtype]
    for got, expected in zip(on_gpu, on_cpu, strict=True):
        expected = cases.as_numpy(expected)
        cases.assert_close(
            cases.as_numpy(got), expected, rtol=tolerance, atol=tolerance * np.abs(expected).max()
        )


@pytest.mark.parametrize("data_format", cases.LAYOUTS)
def test_double_backward_is_that_of_the_cpu(data_format):
    rng = np.random.default_rng(cases.seed_of("gpu double", data_format))
    problem = cases.Problem(rng, box_dtype="float64", data_format=data_format, smooth=True)

    def second():
        arguments = problem.arguments()
        boxes, upstream = arguments.pop("boxes"), tf.identity(problem.upstream)
        with tf.GradientTape() as outer:
            outer.watch([boxes, upstream])
            with tf.GradientTape() as inner:
                inner.watch(problem.features)
                output = problem.run(boxes=boxes, **arguments)
            grad = inner.gradient(output, problem.features, upstream)
            loss = tf.reduce_sum(tf.square(grad))
        return outer.gradient(loss, [boxes, upstream])

    on_gpu = second()
    with tf.device("CPU:0"):
        on_cpu = second()
    for got, expected in zip(on_gpu, on_cpu, strict=True):
        expected = cases.as_numpy(expected)
        cases.assert_close(
            cases.as_numpy(got), expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max()
        )


@pytest.mark.parametrize("data_format", cases.LAYOUTS)
@pytest.mark.parametrize("dtype", cases.FEATURE_DTYPES)
@pytest.mark.parametrize("bad", [-1.0, 2.0, np.nan, "coordinate"])
def test_a_box_without_meaning_is_nan_and_alone(bad, dtype, data_format):
    """Where the CPU refuses an image index, the GPU cannot look: NaN instead."""
    features = tf.cast(tf.random.stateless_normal([2, 8, 8, 8], [1, 2]), dtype)
    good = np.array([[0, 1, 1, 6, 5], [1, 2, 2, 5, 7], [1, 0, 0, 3, 3]], np.float32)
    rows = good.copy()
    if bad == "coordinate":
        rows[1, 3] = np.inf
    else:
        rows[1, 0] = bad

    def run(rows):
        boxes = tf.constant(rows)
        with tf.GradientTape() as tape:
            tape.watch([features, boxes])
            output = tf_roialign.roi_align(features, boxes, 2, data_format=data_format)
            loss = tf.reduce_sum(tf.cast(output, tf.float32))
        return output, *tape.gradient(loss, [features, boxes])

    output, grad, box_grad = (cases.as_numpy(tensor) for tensor in run(rows))
    expected, _, expected_box_grad = (cases.as_numpy(tensor) for tensor in run(good))
    assert np.isnan(output[1]).all() and np.isnan(box_grad[1, 1:]).all()
    np.testing.assert_array_equal(output[[0, 2]], expected[[0, 2]])
    np.testing.assert_array_equal(box_grad[[0, 2]], expected_box_grad[[0, 2]])
    without = cases.as_numpy(run(good[[0, 2]])[1])
    np.testing.assert_array_equal(grad, without)


@pytest.mark.parametrize("data_format", cases.LAYOUTS)
@pytest.mark.parametrize("dtype", cases.FEATURE_DTYPES)
def test_same_bits_every_time(dtype, data_format):
    rng = np.random.default_rng(cases.seed_of("gpu bits", dtype, data_format))
    problem = cases.Problem(
        rng,
        feature_dtype=dtype,
        data_format=data_format,
        count=300,
        height=40,
        width=43,
        channels=24,
        output_size=(7, 7),
    )
    arguments = problem.arguments()
    boxes = arguments.pop("boxes")
    first = [cases.as_bytes(tensor) for tensor in gradients(problem, boxes, **arguments)]
    for _ in range(10):
        again = [cases.as_bytes(tensor) for tensor in gradients(problem, boxes, **arguments)]
        assert again == first


def test_errors_are_those_of_the_cpu():
    features = tf.zeros([2, 8, 8, 4])
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match="boxes"):
        tf_roialign.roi_align(features, tf.zeros([3, 3]), 2)
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match="features|empty"):
        tf_roialign.roi_align(tf.zeros([2, 0, 8, 4]), tf.zeros([3, 5]), 2)


@pytest.mark.parametrize("data_format", cases.LAYOUTS)
def test_nothing_to_do(data_format):
    features = tf.ones([2, 8, 8, 8])
    boxes = tf.zeros([0, 5])
    with tf.GradientTape() as tape:
        tape.watch([features, boxes])
        output = tf_roialign.roi_align(features, boxes, 2, data_format=data_format)
    grad, box_grad = tape.gradient(output, [features, boxes])
    assert output.shape[0] == 0 and box_grad.shape == (0, 5)
    assert not np.any(grad.numpy())


def test_more_than_2_31_elements():
    """9 GB of bfloat16 features and as much gradient: a box at the end of each."""
    try:
        features = tf.ones([1, 2100, 2050, 1024], tf.bfloat16)
        boxes = tf.constant([[0.0, 2040, 2090, 2048, 2098]])
        with tf.GradientTape() as tape:
            tape.watch(features)
            output = tf_roialign.roi_align(features, boxes, 2, sampling_ratio=2)
        grad = tape.gradient(output, features)
    except tf.errors.ResourceExhaustedError:
        pytest.skip("not enough GPU memory")
    np.testing.assert_array_equal(cases.as_numpy(output), 1)
    total = tf.reduce_sum(tf.cast(grad[0, 2080:, 2030:], tf.float32))
    assert abs(float(total) - 4 * 1024) < 8
    assert float(tf.reduce_sum(tf.cast(grad[0, :8], tf.float32))) == 0


def test_function_and_layer():
    layer = tf_roialign.RoIAlign(7, sampling_ratio=2, aligned=True)
    features = tf.random.stateless_normal([2, 16, 16, 8], [3, 4])
    boxes = tf.constant([[0.0, 1, 1, 9, 9], [1, 3, 2, 12, 15]])
    expected = layer(features, boxes)
    assert "GPU" in expected.device
    np.testing.assert_array_equal(tf.function(layer)(features, boxes), expected)
