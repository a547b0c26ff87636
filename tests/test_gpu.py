"""The whole operator through TensorFlow on a GPU."""

import cases
import every_op
import numpy as np
import pytest
import tensorflow as tf

import tf_roialign
from tf_roialign import raw_ops

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


def assert_near(on_gpu, on_cpu, tolerance):
    for got, expected in zip(on_gpu, on_cpu, strict=True):
        assert "GPU" in got.device
        expected = cases.as_numpy(expected)
        cases.assert_close(
            cases.as_numpy(got), expected, rtol=tolerance, atol=tolerance * np.abs(expected).max()
        )


@pytest.mark.parametrize("ratio", [-1, 2])
@pytest.mark.parametrize("data_format", cases.LAYOUTS)
@pytest.mark.parametrize("dtype", cases.FEATURE_DTYPES)
def test_box_tangent_is_that_of_the_cpu(dtype, data_format, ratio):
    """And its gradient to the features; on one map and on several."""
    rng = np.random.default_rng(cases.seed_of("gpu tangent", dtype, data_format, ratio))
    problem = cases.Problem(
        rng, feature_dtype=dtype, box_dtype="float64", data_format=data_format, ratio=ratio
    )
    direction = rng.standard_normal(problem.box_values.shape)
    boxes = problem.arguments()
    boxes = boxes["boxes"], boxes["box_indices"]
    maps, shape = [problem.features] * 2, tf.shape(problem.features)
    scales = tf.constant([[1.0, 1], [0.5, 0.7]], tf.float64)
    levels = rng.integers(0, 2, len(problem.box_values))
    several = (*boxes, levels, scales)
    of_map = problem.attributes
    attributes = {key: value for key, value in of_map.items() if key != "spatial_scale"}

    def derivatives():
        upstream = problem.upstream
        return [
            raw_ops.roi_align_boxes_tangent(problem.features, *boxes, direction, **of_map),
            raw_ops.roi_align_boxes_tangent_grad(upstream, *boxes, shape, direction, **of_map),
            raw_ops.multi_scale_roi_align_boxes_tangent(maps, *several, direction, **attributes),
            *raw_ops.multi_scale_roi_align_boxes_tangent_grad(
                upstream, *several, [shape] * 2, direction, **attributes
            ),
        ]

    on_gpu = derivatives()
    with tf.device("CPU:0"):
        on_cpu = derivatives()
    tolerance = {"float16": 2e-3, "bfloat16": 1.6e-2, "float32": 1e-5, "float64": 1e-12}[dtype]
    assert_near(on_gpu, on_cpu, tolerance)
    again = derivatives()
    assert [cases.as_bytes(each) for each in again] == [cases.as_bytes(each) for each in on_gpu]


@pytest.mark.parametrize("data_format", cases.LAYOUTS)
def test_forward_mode_is_that_of_the_cpu(data_format):
    rng = np.random.default_rng(cases.seed_of("gpu forward mode", data_format))
    problem = cases.Problem(rng, box_dtype="float64", data_format=data_format)
    boxes, direction = problem.arguments(), rng.standard_normal(problem.box_values.shape)
    indices = boxes.pop("box_indices")

    def tangent():
        with tf.autodiff.ForwardAccumulator(
            [problem.features, boxes["boxes"]], [problem.features, tf.constant(direction)]
        ) as accumulator:
            output = problem.run(boxes=boxes["boxes"], box_indices=indices)
        return [accumulator.jvp(output)]

    on_gpu = tangent()
    with tf.device("CPU:0"):
        on_cpu = tangent()
    assert_near(on_gpu, on_cpu, 1e-4)


@pytest.mark.parametrize("form", cases.FORMS)
@pytest.mark.parametrize("data_format", cases.LAYOUTS)
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "qint8", "quint8", "qint32"])
def test_codes_are_those_of_the_cpu(dtype, data_format, form):
    """Where a value is within rounding of a half, either code; they are few."""
    rng = np.random.default_rng(cases.seed_of("gpu codes", dtype, data_format, form))
    problem = cases.Problem(rng, form=form, data_format=data_format, channels=12)
    plain = dtype.removeprefix("q")
    limits = np.iinfo(plain)
    values = rng.integers(limits.min, limits.max, problem.features.shape, plain, True)

    def run():
        codes = tf.constant(values) if dtype == plain else tf.bitcast(tf.constant(values), dtype)
        arguments = problem.arguments() | {"scale": 0.3, "zero_point": 7}
        attributes = {"data_format": data_format, "aligned": True, "output_size": (3, 2)}
        return [
            tf_roialign.quantized_roi_align(codes, **arguments, **attributes),
            tf_roialign.quantized_multiscale_roi_align(
                [codes, codes],
                spatial_scales=[1.0, 0.5],
                canonical_scale=3,
                canonical_level=1,
                **arguments,
                **attributes,
            ),
        ]

    on_gpu = run()
    with tf.device("CPU:0"):
        on_cpu = run()
    for got, expected in zip(on_gpu, on_cpu, strict=True):
        assert got.dtype == dtype and "GPU" in got.device
        got, expected = (np.frombuffer(each.numpy().tobytes(), plain) for each in (got, expected))
        difference = np.abs(got.astype(np.int64) - expected)
        assert difference.max() <= 1 and np.mean(difference > 0) < 0.01


def test_codes_of_a_box_without_meaning():
    boxes = tf.constant([[0, 1, 1, 5, 5], [2, 1, 1, 5, 5], [0, np.nan, 1, 5, 5]], tf.float32)
    codes = tf.fill([2, 8, 8, 4], tf.constant(50, tf.int8))
    output = tf_roialign.quantized_roi_align(codes, boxes, 2, scale=1.0, zero_point=9)
    assert "GPU" in output.device
    np.testing.assert_array_equal(output.numpy()[:, 0, 0, 0], [50, 9, 9])


def everything(problem, mode, features, boxes, indices, direction, upstream):
    """What every float op gives."""
    arguments = {"boxes": boxes, "box_indices": indices, "mode": mode}
    with tf.GradientTape() as tape:
        tape.watch([features, boxes])
        output = problem.run(features, **arguments)
    results = [output, *tape.gradient(output, [features, boxes], upstream)]
    if mode == "avg":
        with tf.autodiff.ForwardAccumulator(boxes, direction) as accumulator:
            output = problem.run(features, **arguments)
        results.append(accumulator.jvp(output))
        results.append(
            raw_ops.roi_align_boxes_tangent_grad(
                upstream,
                boxes,
                indices,
                features.shape,
                direction,
                **problem.attributes,
            )
        )
    return results


@pytest.mark.parametrize("mode", ["avg", "max"])
@pytest.mark.parametrize("data_format", cases.LAYOUTS)
@pytest.mark.parametrize("dtype", cases.FEATURE_DTYPES)
def test_xla_gives_the_same_bits(dtype, data_format, mode):
    rng = np.random.default_rng(cases.seed_of("gpu xla", dtype, data_format, mode))
    problem = cases.Problem(rng, feature_dtype=dtype, data_format=data_format, channels=24)
    direction = tf.constant(rng.standard_normal(problem.box_values.shape), tf.float32)
    inputs = (problem.features, *problem.arguments().values(), direction, problem.upstream)

    def run(*inputs):
        return everything(problem, mode, *inputs)

    expected, got = run(*inputs), tf.function(run, jit_compile=True)(*inputs)
    for a, b in zip(got, expected, strict=True):
        assert "GPU" in a.device
        assert cases.as_bytes(a) == cases.as_bytes(b)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32"])
def test_xla_gives_the_same_codes(dtype):
    rng = np.random.default_rng(cases.seed_of("gpu xla codes", dtype))
    problem = cases.Problem(rng, form="indexed")
    codes = tf.constant(rng.integers(0, 100, problem.features.shape), dtype)

    def run(codes, boxes):
        return tf_roialign.quantized_roi_align(codes, boxes, 3, scale=0.3, zero_point=7)

    inputs = codes, problem.arguments()["boxes"]
    np.testing.assert_array_equal(tf.function(run, jit_compile=True)(*inputs), run(*inputs))

    @tf.function(jit_compile=True)
    def unknown(codes, boxes, scale):
        return tf_roialign.quantized_roi_align(codes, boxes, 3, scale=scale, zero_point=7)

    with pytest.raises(tf.errors.UnimplementedError, match="`scale` must be known when RoIAlign"):
        unknown(*inputs, tf.constant(0.3))


def test_xla_with_a_number_of_boxes_that_only_the_run_knows():
    rng = np.random.default_rng(5)
    problem = cases.Problem(rng, form="indexed", count=20)
    boxes = problem.arguments()["boxes"]
    codes = tf.cast(problem.features * 50, tf.int8)

    def run(features, codes, boxes, smallest):
        with tf.GradientTape(persistent=True) as tape:
            tape.watch([features, boxes])
            kept = tf.boolean_mask(boxes, boxes[:, 3] - boxes[:, 1] > smallest)
            output = problem.run(features, boxes=kept)
            loss = tf.reduce_sum(tf.square(output))
        pooled = tf_roialign.quantized_roi_align(codes, kept, 3, scale=0.3, zero_point=7)
        return output, pooled, loss, *tape.gradient(loss, [features, boxes])

    compiled = tf.function(run, jit_compile=True)
    counts = set()
    for smallest in (-100.0, 2.0, 1000.0):
        inputs = problem.features, codes, boxes, tf.constant(smallest)
        expected, got = run(*inputs), compiled(*inputs)
        counts.add(len(expected[0]))
        np.testing.assert_array_equal(got[0], expected[0])
        np.testing.assert_array_equal(got[1], expected[1])
        for a, b in zip(got[2:], expected[2:], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    assert len(counts) == 3


@pytest.mark.parametrize("name, dtype, data_format, mode", every_op.parameters())
def test_every_op_is_that_of_the_cpu(name, dtype, data_format, mode):
    call = every_op.Call(name, dtype, data_format, mode)
    on_gpu = call.run(*call.inputs)
    with tf.device("CPU:0"):
        on_cpu = call.run(*call.inputs)
    if tf.as_dtype(dtype).is_floating:
        tolerance = {"float16": 2e-3, "bfloat16": 1.6e-2}.get(dtype, 1e-4)
        assert_near(on_gpu, on_cpu, tolerance)
        return
    plain = dtype.removeprefix("q")
    for got, expected in zip(on_gpu, on_cpu, strict=True):
        assert "GPU" in got.device
        got, expected = (np.frombuffer(each.numpy().tobytes(), plain) for each in (got, expected))
        difference = np.abs(got.astype(np.int64) - expected)
        assert difference.max() <= 1 and np.mean(difference > 0) < 0.01


@pytest.mark.parametrize("name, dtype, data_format, mode", every_op.parameters())
def test_every_op_under_xla(name, dtype, data_format, mode):
    """The bits of the same call outside."""
    call = every_op.Call(name, dtype, data_format, mode)
    expected = call.run(*call.inputs)
    got = tf.function(call.run, jit_compile=True, autograph=False)(*call.inputs)
    for a, b in zip(got, expected, strict=True):
        assert cases.as_bytes(a) == cases.as_bytes(b)
