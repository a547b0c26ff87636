"""Gradients of the feature-gradient op: by its upstream and by the boxes."""

import types

import cases
import numpy as np
import pytest
import reference
import tensorflow as tf

from tf_roialign import gradients, raw_ops

SETTINGS = [
    pytest.param(data_format, aligned, ratio, id=f"{data_format}-{aligned}-{ratio}")
    for data_format in cases.LAYOUTS
    for aligned in (False, True)
    for ratio in (-1, 1, 2)
]


def feature_gradient(problem, boxes, upstream, features=None):
    """The feature gradient as a function of boxes and upstream, by a tape."""
    features = problem.features if features is None else features
    with tf.GradientTape() as tape:
        tape.watch(features)
        output = problem.run(
            features, **cases.in_form(problem.form, boxes, problem.indices, problem.images)
        )
    return tape.gradient(output, features, upstream)


def make(data_format, aligned, ratio, form="box_indices", dtype="float64"):
    rng = np.random.default_rng(cases.seed_of("double", data_format, aligned, ratio, form, dtype))
    problem = cases.Problem(
        rng,
        form=form,
        feature_dtype=dtype,
        box_dtype="float64",
        data_format=data_format,
        aligned=aligned,
        ratio=ratio,
        scale=0.4,
        smooth=True,
    )
    weights, held = cases.rounded(
        cases.from_nhwc(rng.standard_normal(problem.feature_values.shape), data_format), dtype
    )
    return problem, weights, cases.to_nhwc(held, data_format)


@pytest.mark.parametrize("data_format, aligned, ratio", SETTINGS)
def test_against_the_reference(data_format, aligned, ratio):
    """With F = A(b)^T g: dF/dg is roi_align again, dF/db the box gradient of the weights."""
    problem, weights, weight_values = make(data_format, aligned, ratio)
    boxes, upstream = tf.constant(problem.box_values), problem.upstream
    with tf.GradientTape() as tape:
        tape.watch([boxes, upstream])
        loss = tf.reduce_sum(feature_gradient(problem, boxes, upstream) * weights)
    by_boxes, by_upstream = tape.gradient(loss, [boxes, upstream])

    arguments = (problem.box_values, problem.indices)
    cases.assert_close(
        problem.values(by_upstream),
        reference.forward(weight_values, *arguments, **problem.geometry),
        rtol=0,
        atol=1e-12,
    )
    expected = reference.box_gradient(
        problem.upstream_values, weight_values, *arguments, **problem.geometry
    )
    assert np.abs(expected).max() > 0.05
    cases.assert_close(by_boxes.numpy(), expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("data_format, aligned, ratio", SETTINGS)
def test_against_finite_differences(data_format, aligned, ratio):
    problem, weights, _ = make(data_format, aligned, ratio)

    def loss(boxes, upstream):
        return tf.reduce_sum(feature_gradient(problem, boxes, upstream) * weights)

    boxes, upstream = tf.constant(problem.box_values), problem.upstream
    with tf.GradientTape() as tape:
        tape.watch([boxes, upstream])
        value = loss(boxes, upstream)
    by_boxes, by_upstream = tape.gradient(value, [boxes, upstream])

    rng = np.random.default_rng(7)
    for _ in range(4):  # linear in the upstream: any step along any direction
        direction = tf.constant(rng.standard_normal(upstream.shape))
        difference = (loss(boxes, upstream + direction) - value).numpy()
        assert abs(difference) > 1e-3
        along = tf.reduce_sum(by_upstream * direction).numpy()
        assert along == pytest.approx(difference, rel=1e-10)

    step = 1e-3
    for k, c in np.ndindex(problem.box_values.shape):
        moved = np.zeros_like(problem.box_values)
        moved[k, c] = step
        difference = (loss(boxes + moved, upstream) - loss(boxes - moved, upstream)) / (2 * step)
        assert by_boxes[k, c].numpy() == pytest.approx(difference.numpy(), rel=1e-8, abs=1e-9)


@pytest.mark.parametrize("form", cases.FORMS)
@pytest.mark.parametrize("dtype", cases.FEATURE_DTYPES)
def test_for_every_form_and_dtype(dtype, form):
    problem, weights, weight_values = make("NHWC", True, -1, form, dtype)
    boxes, upstream = tf.constant(problem.box_values), problem.upstream

    @tf.function
    def gradients():
        with tf.GradientTape() as tape:
            tape.watch([boxes, upstream])
            gradient = feature_gradient(problem, boxes, upstream)
        return tape.gradient(gradient, [boxes, upstream], weights)

    by_boxes, by_upstream = gradients()
    arguments = (problem.box_values, problem.indices)
    rtol, atol = cases.tolerance(dtype, "float64", np.abs(weight_values).max())
    assert by_upstream.dtype == dtype and by_boxes.dtype == tf.float64
    cases.assert_close(
        problem.values(by_upstream),
        reference.forward(weight_values, *arguments, **problem.geometry),
        rtol=rtol,
        atol=atol,
    )
    expected = reference.box_gradient(
        problem.upstream_values, weight_values, *arguments, **problem.geometry
    )
    cases.assert_close(by_boxes.numpy(), expected, rtol=0, atol=2e-5 * np.abs(expected).max())


@pytest.mark.parametrize("form", cases.FORMS)
@pytest.mark.parametrize("data_format", cases.LAYOUTS)
def test_boxes_that_are_not_finite(data_format, form):
    """They add nothing to the feature gradient: its derivative by their upstream is 0."""
    problem, weights, weight_values = make(data_format, True, 2, form)
    bad = [0, 4, 7, 8]
    boxes = problem.box_values.copy()
    boxes[bad, [0, 1, 2, 3]] = [np.nan, np.inf, np.nan, -np.inf]
    expected = reference.forward(
        weight_values, problem.box_values, problem.indices, **problem.geometry
    )
    expected[bad] = 0

    def gradients(boxes, upstream):
        with tf.GradientTape() as tape:
            tape.watch([boxes, upstream])
            gradient = feature_gradient(problem, boxes, upstream)
        return tape.gradient(gradient, [boxes, upstream], weights)

    boxes = tf.constant(boxes)
    unknown = tf.function(gradients, input_signature=[tf.TensorSpec(None, tf.float64)] * 2)
    # A dense upstream has one more dimension, and boxes of unknown shape cannot be split.
    for call in (gradients, tf.function(gradients), *([unknown] * (form != "list"))):
        by_boxes, by_upstream = call(boxes, problem.upstream)
        got = problem.values(by_upstream)
        assert (got[bad] == 0).all()
        cases.assert_close(got, expected, rtol=0, atol=1e-12)
        assert by_upstream.shape == problem.upstream.shape
        is_nan = np.isnan(by_boxes.numpy()).all(axis=1)
        assert np.flatnonzero(is_nan).tolist() == bad
        assert np.isfinite(by_boxes.numpy()[~is_nan]).all()


def test_does_not_depend_on_the_features():
    """F is linear in the upstream alone: its gradient by the features is nothing or zero."""
    problem, weights, _ = make("NHWC", False, 2)
    with tf.GradientTape() as tape:
        tape.watch(problem.features)
        gradient = feature_gradient(problem, tf.constant(problem.box_values), problem.upstream)
    by_features = tape.gradient(gradient, problem.features, weights)
    assert by_features is None or not by_features.numpy().any()


def test_third_order_by_the_upstream():
    """roi_align(f) -> gradient by f -> gradient of that by g is roi_align, and so on."""
    problem, weights, weight_values = make("NHWC", True, 2)
    upstream, boxes = problem.upstream, tf.constant(problem.box_values)
    with tf.GradientTape() as outer:
        outer.watch(weights)
        with tf.GradientTape() as tape:
            tape.watch(upstream)
            gradient = feature_gradient(problem, boxes, upstream)
        again = tape.gradient(gradient, upstream, weights)  # A w
    third = outer.gradient(again, weights, upstream)  # A^T g
    cases.assert_close(third.numpy(), problem.expected_feature_gradient(), rtol=0, atol=1e-12)
    assert weight_values.any()


def test_the_box_gradient_is_not_differentiated_in_silence():
    """Second derivatives by the boxes are not offered: they must fail, not come out as zero."""
    problem, _, _ = make("NHWC", True, 2)
    boxes = tf.constant(problem.box_values)
    with tf.GradientTape() as outer:
        outer.watch(boxes)
        with tf.GradientTape() as tape:
            tape.watch(boxes)
            output = problem.run(boxes=boxes, box_indices=problem.indices)
        gradient = tape.gradient(output, boxes, problem.upstream)
    with pytest.raises(LookupError, match="RoiAlignBoxesGrad"):
        outer.gradient(gradient, boxes)


@pytest.mark.parametrize("form", ["box_indices", "indexed"])
def test_an_index_out_of_range_on_a_gpu(monkeypatch, form):
    """There the op makes such a box NaN; it has no part in the feature gradient, so none here.

    The op is told by a stand-in that does what the CUDA kernels do.
    """
    problem, weights, _ = make("NHWC", False, 2, form)
    arguments = cases.in_form(form, problem.box_values, problem.indices, problem.images)
    good = problem.run(weights, **arguments).numpy()
    bad = [1, 4]
    boxes, indices = arguments["boxes"].numpy(), arguments.get("box_indices", np.zeros(0, "int32"))
    if form == "indexed":
        boxes[bad, 0] = [problem.images, -3]
    else:
        indices = indices.numpy()
        indices[bad] = [problem.images, -3]
    on_cpu = raw_ops.roi_align

    def on_gpu(features, boxes, box_indices, **attributes):
        boxes, box_indices = boxes.numpy().copy(), np.array(box_indices)
        (boxes[:, 0] if form == "indexed" else box_indices)[bad] = 0
        output = on_cpu(features, boxes, box_indices, **attributes).numpy()
        output[bad] = np.nan
        return tf.constant(output)

    monkeypatch.setattr(raw_ops, "roi_align", on_gpu)
    op = types.SimpleNamespace(
        type="TfRoialign>RoiAlignGrad",
        inputs=[problem.upstream, tf.constant(boxes), indices, tf.shape(weights, tf.int64)],
        get_attr=problem.attributes.get,
        skip_input_indices=(1,),
    )
    by_upstream = gradients._roi_align_grad_grad(op, weights)[0].numpy()
    assert np.isfinite(by_upstream).all() and not by_upstream[bad].any()
    others = np.setdiff1d(np.arange(len(good)), bad)
    # The raw op has 32 bits for the scale, 0.4.
    np.testing.assert_allclose(by_upstream[others], good[others], atol=1e-5)
