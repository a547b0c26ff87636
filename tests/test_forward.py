"""The output against the NumPy reference, over dtype x layout x aligned x ratio x box form."""

import itertools

import cases
import numpy as np
import pytest
import reference
import tensorflow as tf

import tf_roialign

# (images, boxes, height, width, channels, output_size, scale): boxes divide by images.
SHAPES = (
    (1, 10, 7, 11, 1, (1, 1), 1.0),
    (2, 20, 12, 5, 3, (2, 5), 0.5),
    (3, 12, 1, 9, 8, (7, 7), 0.25),
    (2, 10, 9, 1, 33, (3, 1), 1.7),
    (1, 10, 1, 1, 4, (2, 2), 0.0625),
    (2, 10, 40, 31, 17, (14, 14), 1 / 3),
)


@pytest.mark.parametrize("form", cases.FORMS)
@pytest.mark.parametrize("ratio", cases.SAMPLING_RATIOS)
@pytest.mark.parametrize("aligned", [False, True], ids=["plain", "aligned"])
@pytest.mark.parametrize("data_format", cases.LAYOUTS)
@pytest.mark.parametrize("dtype", cases.FEATURE_DTYPES)
def test_agrees_with_reference(dtype, data_format, aligned, ratio, form):
    rng = np.random.default_rng(cases.seed_of(dtype, data_format, aligned, ratio, form))
    box_dtypes = itertools.cycle(("float32", "float64"))
    index_dtypes = itertools.cycle(("int32", "int64", "int64", "int32"))
    for images, count, height, width, channels, output_size, scale in SHAPES:
        box_dtype = next(box_dtypes)
        problem = cases.Problem(
            rng,
            form=form,
            feature_dtype=dtype,
            box_dtype=box_dtype,
            data_format=data_format,
            images=images,
            count=count,
            height=height,
            width=width,
            channels=channels,
            output_size=output_size,
            scale=scale,
            ratio=ratio,
            aligned=aligned,
        )
        output = problem.run(**problem.arguments(next(index_dtypes)))
        assert output.dtype == dtype
        rtol, atol = cases.tolerance(dtype, box_dtype, np.abs(problem.feature_values).max())
        cases.assert_close(
            problem.values(output),
            problem.expected(),
            rtol=rtol,
            atol=atol,
            what=f"{box_dtype} boxes, {output_size} bins, {height} x {width}",
        )


@pytest.mark.parametrize("data_format", cases.LAYOUTS)
@pytest.mark.parametrize("dtype", cases.FEATURE_DTYPES)
def test_every_channel_count(dtype, data_format):
    """Vectors of channels have heads and tails; none may be lost or written twice."""
    rng = np.random.default_rng(cases.seed_of("channels", dtype, data_format))
    for channels in (*range(1, 20), 31, 32, 33, 63, 64, 65, 127, 130, 257):
        problem = cases.Problem(
            rng,
            feature_dtype=dtype,
            data_format=data_format,
            channels=channels,
            count=4,
            images=2,
            ratio=2,
        )
        rtol, atol = cases.tolerance(dtype, "float32", np.abs(problem.feature_values).max())
        cases.assert_close(
            problem.values(problem.run()),
            problem.expected(),
            rtol=rtol,
            atol=atol,
            what=f"{channels} channels",
        )


@pytest.mark.parametrize("aligned", [False, True], ids=["plain", "aligned"])
@pytest.mark.parametrize("ratio", [-1, 2])
@pytest.mark.parametrize("box_dtype", ["float32", "float64"])
def test_giant_boxes(box_dtype, ratio, aligned):
    """Boxes of up to 1e9 pixels: adaptive bins of 1e8 x 1e8 samples, few of them on the map."""
    features = np.random.default_rng(5).standard_normal((2, 8, 11, 3))
    boxes = np.array(
        [
            [-5e8, -5e8, 5e8, 5e8],
            [-1e9, 2, 3, 7],
            [0, -3e8, 1e9, 4e8],
            [2.25, 1.5, 9.75, 1e9],
            [-1e9, -1e9, -5, -5],
            [-12345.67, -54321.1, 54321.9, 12345.6],
            [1e9, 1e9, -1e9, -1e9],
        ],
        box_dtype,
    )
    indices = np.array([0, 1, 1, 0, 1, 0, 1])
    output = tf_roialign.roi_align(
        features, boxes, (7, 7), 1.0, ratio, aligned, box_indices=indices
    )
    expected = reference.forward(
        features, boxes, indices, (7, 7), 1.0, ratio, aligned, np.dtype(box_dtype).type
    )
    # Relative per element: an average over 1e16 samples of which 100 count is tiny, not 0.
    cases.assert_close(
        output.numpy(), expected, rtol=1e-5 if box_dtype == "float32" else 1e-10, atol=1e-22
    )
    if ratio == -1:
        assert 0 < np.abs(expected[0]).max() < 1e-10


@pytest.mark.parametrize("magnitude", [1e10, 1e12, 1e15])
def test_even_larger_float64_boxes(magnitude):
    """Their sample counts no longer fit 64 bits when multiplied."""
    features = np.random.default_rng(6).standard_normal((1, 8, 11, 3))
    boxes = np.array([[-1, -1, 1, 1], [-1, 0, 1, 1], [0, -0.5, 1, 0.5], [-2, -1, 0, 0]])
    boxes = boxes * magnitude + 0.3
    for aligned in (False, True):
        for size in ((1, 1), (7, 7), (3, 100)):
            output = tf_roialign.roi_align(
                features, boxes, size, aligned=aligned, box_indices=[0] * 4
            )
            expected = reference.forward(features, boxes, [0] * 4, size, aligned=aligned)
            cases.assert_close(output.numpy(), expected, rtol=1e-10, atol=1e-40)
            assert 0 < np.abs(expected).max() < 1e-6


@pytest.mark.parametrize("scale", [1 / 3, 0.1, 1 / 7, 1e-3, 123.456])
@pytest.mark.parametrize("box_dtype", ["float32", "float64"])
def test_scales_that_no_float32_holds(box_dtype, scale):
    """float64 boxes get the scale that was given; float32 boxes its float32 value."""
    rng = np.random.default_rng(cases.seed_of(box_dtype, scale))
    problem = cases.Problem(
        rng, feature_dtype="float64", box_dtype=box_dtype, scale=scale, count=30
    )
    rtol, atol = cases.tolerance("float64", box_dtype, np.abs(problem.feature_values).max())
    cases.assert_close(problem.values(problem.run()), problem.expected(), rtol=rtol, atol=atol)


@pytest.mark.parametrize("data_format", cases.LAYOUTS)
@pytest.mark.parametrize("form", cases.FORMS)
def test_same_inside_a_function_of_unknown_shapes(form, data_format):
    """One trace for every shape, and the bits of the eager call."""
    attributes = {
        "output_size": (3, 2),
        "spatial_scale": 0.7,
        "sampling_ratio": -1,
        "aligned": True,
        "data_format": data_format,
    }
    traces = []

    @tf.function(reduce_retracing=True)
    def function(features, arguments):
        traces.append(1)
        return tf_roialign.roi_align(features, **arguments, **attributes)

    def spec(value):
        if isinstance(value, tf.RaggedTensor):
            return tf.RaggedTensorSpec([None, None, 4], value.dtype, 1)
        return tf.TensorSpec([None] * (value.shape.rank - 1) + value.shape[-1:], value.dtype)

    concrete = None
    for seed in range(4):
        rng = np.random.default_rng(seed)
        problem = cases.Problem(
            rng,
            form=form,
            data_format=data_format,
            images=2,
            count=4 + 2 * seed,
            height=5 + seed,
            width=9 - seed,
            channels=2 + seed,
            output_size=(3, 2),
            scale=0.7,
            aligned=True,
        )
        arguments = problem.arguments()
        if concrete is None:
            specs = tf.nest.map_structure(spec, arguments)
            if form == "box_indices":
                specs["box_indices"] = tf.TensorSpec([None], tf.int32)
            concrete = function.get_concrete_function(tf.TensorSpec([None] * 4), specs)
        output = concrete(problem.features, *tf.nest.flatten(arguments, expand_composites=True))
        assert cases.as_bytes(output) == cases.as_bytes(problem.run())
    assert len(traces) == 1


def test_a_box_on_one_pixel_in_numbers():
    """Small enough to do by hand."""
    features = tf.reshape(tf.range(16.0), [1, 4, 4, 1])
    # Not aligned: the 2x2 box from (1, 1) has its one sample at (2, 2), pixel 2*4 + 2.
    output = tf_roialign.roi_align(features, [[0.0, 1.0, 1.0, 3.0, 3.0]], 1, 1.0, 1)
    assert output.numpy().ravel().tolist() == [10.0]
    # Aligned: at (1.5, 1.5), between pixels 5, 6, 9, 10.
    output = tf_roialign.roi_align(features, [[0.0, 1.0, 1.0, 3.0, 3.0]], 1, 1.0, 1, True)
    assert output.numpy().ravel().tolist() == [7.5]
    # At half the scale, not aligned: from 0.5 to 1.5, sample at (1, 1).
    output = tf_roialign.roi_align(features, [[0.0, 1.0, 1.0, 3.0, 3.0]], 1, 0.5, 1)
    assert output.numpy().ravel().tolist() == [5.0]
    # Two bins a side of one pixel each: samples at 1.5 and 2.5.
    output = tf_roialign.roi_align(features, [[0.0, 1.0, 1.0, 3.0, 3.0]], 2, 1.0, 1)
    assert output.numpy()[0, ..., 0].tolist() == [[7.5, 8.5], [11.5, 12.5]]


def test_defaults_are_those_of_torchvision():
    rng = np.random.default_rng(1)
    problem = cases.Problem(rng, ratio=-1, aligned=False, scale=1.0)
    output = tf_roialign.roi_align(problem.features, **problem.arguments(), output_size=(3, 2))
    assert cases.as_bytes(output) == cases.as_bytes(problem.run())


def test_numpy_and_python_arguments():
    """Whatever converts to a tensor is taken; one int is a square output."""
    rng = np.random.default_rng(2)
    problem = cases.Problem(rng, output_size=(3, 3), form="indexed")
    rois = problem.arguments()["boxes"].numpy()
    features = problem.features.numpy()
    expected = cases.as_bytes(problem.run())
    for boxes in (rois, rois.tolist(), tuple(map(tuple, rois.tolist())), tf.Variable(rois)):
        for size in (3, [3, 3], (3, 3), np.int64(3), np.array([3, 3])):
            output = tf_roialign.roi_align(features, boxes, size)
            assert cases.as_bytes(output) == expected
    output = tf_roialign.roi_align(
        features, rois[:, 1:], 3, box_indices=problem.indices.tolist(), name="pooled"
    )
    assert cases.as_bytes(output) == expected
