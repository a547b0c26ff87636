"""Derivatives along directions: forward mode, and the gradient of the box gradient."""

import itertools

import cases
import numpy as np
import pytest
import tensorflow as tf

from tf_roialign import raw_ops

SETTINGS = list(itertools.product(cases.LAYOUTS, (False, True), (-1, 0, 2)))


def make(data_format="NHWC", aligned=True, ratio=2, form="box_indices", dtype="float64", **kwargs):
    """A problem with float64 boxes away from kinks, and a direction of its boxes."""
    rng = np.random.default_rng(cases.seed_of(data_format, aligned, ratio, form, dtype))
    problem = cases.Problem(
        rng,
        form=form,
        feature_dtype=dtype,
        box_dtype="float64",
        data_format=data_format,
        ratio=ratio,
        aligned=aligned,
        scale=0.4,
        smooth=True,
        **kwargs,
    )
    return problem, rng.standard_normal(problem.box_values.shape)


def difference(problem, direction, features=None, step=1e-4):
    """The central difference of the output along the direction of the boxes."""

    def at(boxes):
        arguments = cases.in_form(problem.form, boxes, problem.indices, problem.images)
        return problem.run(features, **arguments)

    boxes = problem.box_values
    return (at(boxes + step * direction) - at(boxes - step * direction)) / (2 * step)


def in_form(problem, direction):
    """The direction in the shape of the boxes; a column of image indices gets anything."""
    arguments = cases.in_form(problem.form, direction, problem.indices, problem.images)
    boxes = arguments["boxes"]
    return tf.concat([boxes[:, :1] + 100.0, boxes[:, 1:]], 1) if boxes.shape[-1] == 5 else boxes


@pytest.mark.parametrize("data_format, aligned, ratio", SETTINGS)
def test_along_the_boxes(data_format, aligned, ratio):
    problem, direction = make(data_format, aligned, ratio)
    boxes = tf.constant(problem.box_values)
    with tf.autodiff.ForwardAccumulator(boxes, tf.constant(direction)) as accumulator:
        output = problem.run(boxes=boxes, box_indices=problem.indices)
    expected = difference(problem, direction).numpy()
    assert np.abs(expected).max() > 0.05
    cases.assert_close(accumulator.jvp(output), expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("form", ["indexed", "box_indices", "dense"])
@pytest.mark.parametrize("in_function", [False, True])
def test_along_features_and_boxes(in_function, form):
    problem, direction = make(form=form)
    boxes, moves = problem.arguments()["boxes"], in_form(problem, direction)
    indices = problem.arguments().get("box_indices")
    weights = tf.constant(np.random.default_rng(2).standard_normal(problem.features.shape))

    def tangent(features, boxes):
        with tf.autodiff.ForwardAccumulator([features, boxes], [weights, moves]) as accumulator:
            arguments = {} if indices is None else {"box_indices": indices}
            output = problem.run(features, boxes=boxes, **arguments)
        return accumulator.jvp(output)

    run = tf.function(tangent) if in_function else tangent
    expected = problem.run(weights) + difference(problem, direction)
    cases.assert_close(run(problem.features, boxes), expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("dtype", cases.FEATURE_DTYPES)
@pytest.mark.parametrize("data_format", cases.LAYOUTS)
def test_dtypes(data_format, dtype):
    problem, direction = make(data_format, dtype=dtype)
    arguments = (tf.constant(problem.box_values), tf.constant(problem.indices))
    got = raw_ops.roi_align_boxes_tangent(
        problem.features, *arguments, direction, **problem.attributes
    )
    exact, _ = make(data_format)
    exact.box_values, exact.indices = problem.box_values, problem.indices
    values = tf.cast(problem.features, tf.float64)
    expected = difference(exact, direction, values).numpy()
    rtol, atol = cases.tolerance(dtype, "float32", np.abs(expected).max(), terms=4)
    assert got.dtype == dtype
    cases.assert_close(cases.as_numpy(got), expected, rtol=rtol + 1e-6, atol=atol)


@pytest.mark.parametrize("data_format, aligned, ratio", SETTINGS)
def test_the_transpose(data_format, aligned, ratio):
    """<g, D f> = <D^T g, f> = <direction, gradient to the boxes>, by three different kernels."""
    problem, direction = make(data_format, aligned, ratio)
    boxes, indices = tf.constant(problem.box_values), tf.constant(problem.indices)
    features, upstream, attributes = problem.features, problem.upstream, problem.attributes
    forward = raw_ops.roi_align_boxes_tangent(features, boxes, indices, direction, **attributes)
    transposed = raw_ops.roi_align_boxes_tangent_grad(
        upstream, boxes, indices, features.shape, direction, **attributes
    )
    gradient = raw_ops.roi_align_boxes_grad(upstream, features, boxes, indices, **attributes)
    products = [
        np.sum(upstream * forward),
        np.sum(transposed * features),
        np.sum(direction * gradient),
    ]
    assert abs(products[0]) > 0.1
    np.testing.assert_allclose(products, products[0], rtol=1e-10)


def test_gradients_of_the_box_gradient():
    """By the upstream gradient and by the features: both are linear."""
    problem, _ = make()
    boxes = tf.constant(problem.box_values)

    def loss(features, upstream):
        with tf.GradientTape() as tape:
            tape.watch(boxes)
            output = problem.run(features, boxes=boxes, box_indices=problem.indices)
        return tf.reduce_sum(tf.square(tape.gradient(output, boxes, upstream)))

    inputs = [problem.features, problem.upstream]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        value = loss(*inputs)
    gradients = tape.gradient(value, inputs)
    rng = np.random.default_rng(3)
    for i in range(2):
        direction = tf.constant(rng.standard_normal(inputs[i].shape))
        moved = [
            [x + s * direction if j == i else x for j, x in enumerate(inputs)] for s in (1, -1)
        ]
        along = tf.reduce_sum(gradients[i] * direction).numpy()
        # Quadratic: the central difference is exact for any step.
        expected = (loss(*moved[0]) - loss(*moved[1])).numpy() / 2
        assert along == pytest.approx(expected, rel=1e-9)


def test_forward_over_reverse():
    """A Hessian-vector product by the features, through two gradients."""
    problem, _ = make()
    boxes, indices = tf.constant(problem.box_values), problem.indices
    weights = tf.constant(np.random.default_rng(4).standard_normal(problem.features.shape))

    def gradient(features):
        with tf.GradientTape() as tape:
            tape.watch(features)
            output = problem.run(features, boxes=boxes, box_indices=indices)
            loss = tf.reduce_sum(output**3)
        return tape.gradient(loss, features)

    with tf.autodiff.ForwardAccumulator(problem.features, weights) as accumulator:
        result = gradient(problem.features)
    step = 1e-4
    moved = [gradient(problem.features + s * step * weights) for s in (1, -1)]
    expected = (moved[0] - moved[1]) / (2 * step)
    cases.assert_close(accumulator.jvp(result), expected, rtol=1e-6, atol=1e-6)


def test_inside_xla():
    for data_format, dtype in itertools.product(cases.LAYOUTS, cases.FEATURE_DTYPES):
        problem, direction = make(data_format, dtype=dtype)
        boxes, indices = tf.constant(problem.box_values), tf.constant(problem.indices)

        def run(features, upstream, boxes, indices, direction, attributes):
            shape = tf.shape(features)
            return (
                raw_ops.roi_align_boxes_tangent(features, boxes, indices, direction, **attributes),
                raw_ops.roi_align_boxes_tangent_grad(
                    upstream, boxes, indices, shape, direction, **attributes
                ),
            )

        inputs = (problem.features, problem.upstream, boxes, indices, tf.constant(direction))
        expected = run(*inputs, problem.attributes)
        got = tf.function(run, jit_compile=True)(*inputs, problem.attributes)
        for a, b in zip(got, expected, strict=True):
            assert cases.as_bytes(a) == cases.as_bytes(b)


def test_a_box_that_is_not_finite():
    boxes = tf.constant([[0.0, 0, 4, 4], [np.nan, 0, 4, 4]])
    indices, direction = tf.constant([0, 0]), tf.ones([2, 4])
    features = tf.random.stateless_normal([1, 6, 7, 3], [1, 2])
    tangent = raw_ops.roi_align_boxes_tangent(
        features, boxes, indices, direction, output_size=[2, 2]
    )
    assert np.isfinite(tangent[0]).all() and np.isnan(tangent[1]).all()
    gradient = raw_ops.roi_align_boxes_tangent_grad(
        tf.ones_like(tangent), boxes, indices, [1, 6, 7, 3], direction, output_size=[2, 2]
    )
    assert np.isfinite(gradient).all() and np.any(gradient)


def test_empty():
    for images, count, channels in ((1, 0, 3), (0, 0, 3), (2, 3, 0)):
        boxes, indices = tf.ones([count, 4]), tf.zeros([count], tf.int32)
        features = tf.ones([images, 5, 6, channels])
        tangent = raw_ops.roi_align_boxes_tangent(
            features, boxes, indices, boxes, output_size=[2, 2]
        )
        assert tangent.shape == [count, 2, 2, channels]
        gradient = raw_ops.roi_align_boxes_tangent_grad(
            tangent, boxes, indices, features.shape, boxes, output_size=[2, 2]
        )
        assert gradient.shape == features.shape and not gradient.numpy().any()


@pytest.mark.parametrize("jit_compile", [None, False, True])
def test_a_direction_of_another_shape(jit_compile):
    def run(direction):
        features, boxes = tf.ones([1, 4, 4, 1]), tf.zeros([2, 5])
        indices = tf.zeros([0], tf.int32)
        return raw_ops.roi_align_boxes_tangent(
            features, boxes, indices, direction, output_size=[2, 2]
        )

    if jit_compile is not None:
        signature = [tf.TensorSpec(None)]
        run = tf.function(run, jit_compile=jit_compile, input_signature=signature)
    with pytest.raises(
        tf.errors.InvalidArgumentError,
        match=r"`direction` must have the shape of `boxes`, \[2, 5\], got \[2, 4\]",
    ):
        run(tf.zeros([2, 4]))


def test_second_derivatives_by_the_boxes_fail_in_graphs_too():
    """They are not offered, and must not come out as zero."""
    problem, _ = make()
    indices = problem.indices

    @tf.function
    def gradient(boxes):
        with tf.GradientTape() as tape:
            tape.watch(boxes)
            output = problem.run(boxes=boxes, box_indices=indices)
        return tape.gradient(output, boxes, problem.upstream)

    boxes = tf.constant(problem.box_values)
    with pytest.raises((LookupError, tf.errors.InvalidArgumentError), match="RoiAlignBoxesGrad"):  # noqa: SIM117
        with tf.GradientTape() as tape:
            tape.watch(boxes)
            result = gradient(boxes)
        tape.gradient(result, boxes)
