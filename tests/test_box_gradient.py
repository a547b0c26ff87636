"""The box gradient: against the reference, against differences, and only when asked for."""

import cases
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.eager import context
from tensorflow.python.framework import op_callbacks

import tf_roialign


def gradient(problem):
    boxes = tf.constant(problem.box_values)
    with tf.GradientTape() as tape:
        tape.watch(boxes)
        output = problem.run(**cases.in_form(problem.form, boxes, problem.indices, problem.images))
    return tape.gradient(output, boxes, problem.upstream)


def magnitude(problem):
    """What the terms of one element of the gradient can add up to."""
    upstream = np.abs(problem.upstream_values).sum(axis=(1, 2, 3)).max(initial=0)
    return 2 * problem.geometry["scale"] * upstream * np.abs(problem.feature_values).max()


@pytest.mark.parametrize("form", cases.FORMS)
@pytest.mark.parametrize("ratio", cases.SAMPLING_RATIOS)
@pytest.mark.parametrize("aligned", [False, True], ids=["plain", "aligned"])
@pytest.mark.parametrize("data_format", cases.LAYOUTS)
@pytest.mark.parametrize("dtype", cases.FEATURE_DTYPES)
def test_agrees_with_reference(dtype, data_format, aligned, ratio, form):
    rng = np.random.default_rng(cases.seed_of("boxes", dtype, data_format, aligned, ratio, form))
    for box_dtype, images, height, width, channels, output_size, scale in (
        ("float32", 1, 7, 11, 1, (1, 1), 1.0),
        ("float64", 2, 12, 5, 3, (2, 5), 0.5),
        ("float32", 4, 2, 9, 8, (7, 7), 0.25),
        ("float64", 2, 40, 31, 17, (9, 6), 1 / 3),
    ):
        problem = cases.Problem(
            rng,
            form=form,
            feature_dtype=dtype,
            box_dtype=box_dtype,
            data_format=data_format,
            images=images,
            height=height,
            width=width,
            channels=channels,
            output_size=output_size,
            scale=scale,
            ratio=ratio,
            aligned=aligned,
            smooth=True,
        )
        got = gradient(problem)
        assert got.dtype == box_dtype
        expected = problem.expected_box_gradient()
        assert np.abs(expected).max() > 1e-3 * scale
        # float32 boxes round the weights, float32 features the products, both are summed.
        exact = dtype == box_dtype == "float64"
        atol = (1e-13 if exact else 2e-6) * magnitude(problem)
        cases.assert_close(
            got.numpy(), expected, rtol=0, atol=atol, what=f"{box_dtype} boxes {output_size}"
        )


@pytest.mark.parametrize("ratio", cases.SAMPLING_RATIOS)
@pytest.mark.parametrize("aligned", [False, True], ids=["plain", "aligned"])
@pytest.mark.parametrize("data_format", cases.LAYOUTS)
def test_agrees_with_finite_differences(data_format, aligned, ratio):
    """Between kinks the output is linear in each coordinate: a difference is the gradient."""
    rng = np.random.default_rng(cases.seed_of("differences", data_format, aligned, ratio))
    problem = cases.Problem(
        rng,
        feature_dtype="float64",
        box_dtype="float64",
        data_format=data_format,
        aligned=aligned,
        ratio=ratio,
        scale=0.4,
        count=20,
        smooth=True,
    )
    step = 1e-3
    expected = np.zeros_like(problem.box_values)
    for column in range(4):
        losses = []
        for sign in (-1, 1):
            moved = problem.box_values.copy()
            moved[:, column] += sign * step
            output = problem.values(
                problem.run(**cases.in_form("box_indices", moved, problem.indices, problem.images))
            )
            losses.append((output * problem.upstream_values).sum(axis=(1, 2, 3)))
        expected[:, column] = (losses[1] - losses[0]) / (2 * step)
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(gradient(problem).numpy(), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("data_format", cases.LAYOUTS)
def test_every_channel_count(data_format):
    rng = np.random.default_rng(cases.seed_of("box channels", data_format))
    for dtype in cases.FEATURE_DTYPES:
        for channels in (1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65, 130, 257):
            problem = cases.Problem(
                rng,
                feature_dtype=dtype,
                data_format=data_format,
                channels=channels,
                count=4,
                images=2,
                ratio=2,
                smooth=True,
            )
            cases.assert_close(
                gradient(problem).numpy(),
                problem.expected_box_gradient(),
                rtol=0,
                atol=2e-6 * magnitude(problem),
                what=f"{channels} channels of {dtype}",
            )


@pytest.mark.parametrize("dtype", cases.FEATURE_DTYPES)
@pytest.mark.parametrize("ratio", [-1, 2])
@pytest.mark.parametrize("aligned", [False, True], ids=["plain", "aligned"])
def test_few_boxes_on_a_large_nchw_map(aligned, ratio, dtype):
    """The kernel then copies a window of the map for each box, not the map.

    That is what it does if the windows have less than half as many pixels as the maps
    (ForEachBlockOfBoxes in cc/core/cpu/nchw.h). A window is a box in feature pixels and at
    most 4 more on each axis (TouchedPixels in cc/core/geometry/touched_pixels.h).
    """
    rng = np.random.default_rng(cases.seed_of("windows", aligned, ratio, dtype))
    # Two blocks of channels: 64 and what is left.
    images, height, width, channels, scale = 2, 60, 90, 70, 0.5
    problem = cases.Problem(
        rng,
        feature_dtype=dtype,
        box_dtype="float64",
        data_format="NCHW",
        images=images,
        count=0,
        height=height,
        width=width,
        channels=channels,
        output_size=(3, 2),
        scale=scale,
        ratio=ratio,
        aligned=aligned,
    )
    map_boxes = np.array(
        [
            [40.3, 31.2, 52.8, 38.1],
            [41.7, 30.9, 44.1, 44.4],  # over the first one
            [-3.3, -2.1, 6.2, 5.9],  # the corners of the map
            [81.2, 52.6, 94.7, 63.3],
            [88.4, -1.7, 89.2, 9.6],  # its edges
            [0.3, 57.9, 11.4, 58.6],
            [20.1, 10.2, 20.4, 10.6],  # smaller than a pixel
            [95.3, 20.2, 99.1, 29.9],  # no pixel in the window
            [33.9, 17.2, 29.3, 12.4],  # reversed
        ]
    )
    spans = np.abs(map_boxes[:, 2:] - map_boxes[:, :2]) + (0 if aligned else 1)
    assert (spans + 4).prod(axis=1).sum() < 0.5 * images * height * width
    problem.box_values = map_boxes / scale
    problem.indices = np.array([0, 0, 0, 0, 1, 1, 0, 1, 1])
    upstream = rng.standard_normal((len(map_boxes), 3, 2, channels))
    problem.upstream, held = cases.rounded(cases.from_nhwc(upstream, "NCHW"), dtype)
    problem.upstream_values = cases.to_nhwc(held, "NCHW")

    got, expected = gradient(problem).numpy(), problem.expected_box_gradient()
    is_flat = (expected == 0).all(axis=1)
    # Those of no pixel, and those of no sample.
    assert list(np.flatnonzero(is_flat)) == ([7, 8] if aligned and ratio == -1 else [7])
    exact = dtype == "float64"
    atol = (1e-13 if exact else 2e-6) * magnitude(problem)
    assert np.abs(expected[~is_flat]).max(axis=1).min() > 100 * atol
    cases.assert_close(got, expected, rtol=0, atol=atol)


@pytest.mark.parametrize("index_value", [0, 1])
def test_the_index_column_has_no_gradient(index_value):
    rois = tf.constant([[index_value, 0.3, 0.4, 3.1, 4.2], [0, 1.2, 0.6, 2.9, 3.3]], tf.float32)
    features = tf.random.stateless_normal([2, 6, 6, 3], [1, 2])
    with tf.GradientTape() as tape:
        tape.watch(rois)
        output = tf_roialign.roi_align(features, rois, 3)
    gradient = tape.gradient(output, rois).numpy()
    assert gradient.shape == (2, 5)
    assert (gradient[:, 0] == 0).all()
    assert (gradient[:, 1:] != 0).all()


def test_features_and_boxes_at_once():
    rng = np.random.default_rng(3)
    problem = cases.Problem(rng, feature_dtype="float64", box_dtype="float64", smooth=True)
    boxes = tf.constant(problem.box_values)
    with tf.GradientTape() as tape:
        tape.watch([problem.features, boxes])
        output = problem.run(boxes=boxes, box_indices=problem.indices)
    of_features, of_boxes = tape.gradient(output, [problem.features, boxes], problem.upstream)
    cases.assert_close(of_features.numpy(), problem.expected_feature_gradient(), rtol=0, atol=1e-12)
    cases.assert_close(of_boxes.numpy(), problem.expected_box_gradient(), rtol=0, atol=1e-12)


def test_integer_boxes_and_indices_have_none():
    features = tf.random.stateless_normal([2, 6, 6, 3], [1, 2])
    boxes = tf.constant([[0, 0, 3, 4], [1, 1, 4, 2]])
    indices = tf.constant([0, 1])
    with tf.GradientTape() as tape:
        tape.watch(features)
        output = tf_roialign.roi_align(features, boxes, 2, box_indices=indices)
    of_features, of_boxes, of_indices = tape.gradient(output, [features, boxes, indices])
    assert of_features is not None and of_boxes is None and of_indices is None


def ops_run(function):
    """The types of the ops that `function` runs eagerly."""
    seen = []

    def callback(op_type, inputs, attrs, outputs, op_name=None, graph=None):
        seen.append(op_type if isinstance(op_type, str) else op_type.decode())

    op_callbacks.add_op_callback(callback)
    try:
        function()
    finally:
        op_callbacks.remove_op_callback(callback)
    return seen


@pytest.mark.parametrize("form", cases.FORMS)
def test_each_gradient_is_computed_only_when_asked_for(form):
    problem = cases.Problem(np.random.default_rng(4), form=form)
    features, boxes = problem.features, tf.constant(problem.box_values)

    def run(features, boxes, of):
        watch = [{"features": features, "boxes": boxes}[name] for name in of]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(watch)
            arguments = cases.in_form(form, boxes, problem.indices, problem.images)
            output = problem.run(features, **arguments)
        return tape.gradient(output, watch)

    for of, wanted in (
        (("features",), {"TfRoialign>RoiAlign", "TfRoialign>RoiAlignGrad"}),
        (("boxes",), {"TfRoialign>RoiAlign", "TfRoialign>RoiAlignBoxesGrad"}),
        (
            ("features", "boxes"),
            {
                "TfRoialign>RoiAlign",
                "TfRoialign>RoiAlignGrad",
                "TfRoialign>RoiAlignBoxesGrad",
            },
        ),
    ):
        eager = ops_run(lambda of=of: run(features, boxes, of))
        assert {op for op in eager if op.startswith("TfRoialign>")} == wanted

        graph = tf.function(run).get_concrete_function(features, boxes, of).graph
        assert {op.type for op in graph.get_operations() if "TfRoialign>" in op.type} == wanted


def test_a_nested_function_does_not_pay_for_unwatched_boxes():
    """The gradient of a tf.function has that of every input; what nobody reads is pruned."""
    problem = cases.Problem(np.random.default_rng(4))

    @tf.function
    def forward(features, boxes):
        return problem.run(features, boxes=boxes, box_indices=problem.indices)

    @tf.function
    def step(features, boxes, watch_boxes):
        watch = [features, boxes] if watch_boxes else [features]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(watch)
            output = forward(features, boxes)
        return tape.gradient(output, watch)

    def ops_executed(watch_boxes):
        arguments = problem.features, tf.constant(problem.box_values), watch_boxes
        context.enable_graph_collection()  # of the graphs as they are after optimization
        try:
            step(*arguments)
            graphs = context.export_run_metadata().partition_graphs
        finally:
            context.disable_graph_collection()
        return {node.op for graph in graphs for node in graph.node if "TfRoialign>" in node.op}

    # Nobody reads the output here, either.
    assert ops_executed(False) == {"TfRoialign>RoiAlignGrad"}
    assert ops_executed(True) == {"TfRoialign>RoiAlignGrad", "TfRoialign>RoiAlignBoxesGrad"}
