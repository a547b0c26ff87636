"""The feature gradient: the transpose of the forward map."""

import cases
import numpy as np
import pytest
import tensorflow as tf

import tf_roialign


def gradient(problem, **arguments):
    with tf.GradientTape() as tape:
        tape.watch(problem.features)
        output = problem.run(**arguments)
    return tape.gradient(output, problem.features, problem.upstream)


def magnitude(problem):
    """What one element of the gradient can add up to."""
    return np.abs(problem.upstream_values).max() * len(problem.box_values)


@pytest.mark.parametrize("form", cases.FORMS)
@pytest.mark.parametrize("ratio", cases.SAMPLING_RATIOS)
@pytest.mark.parametrize("aligned", [False, True], ids=["plain", "aligned"])
@pytest.mark.parametrize("data_format", cases.LAYOUTS)
@pytest.mark.parametrize("dtype", cases.FEATURE_DTYPES)
def test_agrees_with_reference(dtype, data_format, aligned, ratio, form):
    rng = np.random.default_rng(cases.seed_of("grad", dtype, data_format, aligned, ratio, form))
    for box_dtype, images, height, width, channels, output_size, scale in (
        ("float32", 1, 7, 11, 1, (1, 1), 1.0),
        ("float64", 2, 12, 5, 3, (2, 5), 0.5),
        ("float32", 4, 1, 9, 8, (7, 7), 0.25),
        ("float64", 1, 1, 1, 4, (2, 2), 0.0625),
        ("float32", 2, 40, 31, 17, (14, 14), 1 / 3),
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
        )
        got = gradient(problem)
        assert got.dtype == dtype and got.shape == problem.features.shape
        rtol, atol = cases.tolerance(dtype, box_dtype, magnitude(problem))
        cases.assert_close(
            cases.to_nhwc(cases.as_numpy(got), data_format),
            problem.expected_feature_gradient(),
            rtol=rtol,
            atol=atol,
            what=f"{box_dtype} boxes, {output_size} bins",
        )


@pytest.mark.parametrize("data_format", cases.LAYOUTS)
@pytest.mark.parametrize("dtype", cases.FEATURE_DTYPES)
def test_every_channel_count(dtype, data_format):
    rng = np.random.default_rng(cases.seed_of("grad channels", dtype, data_format))
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
        rtol, atol = cases.tolerance(dtype, "float32", magnitude(problem))
        cases.assert_close(
            cases.to_nhwc(cases.as_numpy(gradient(problem)), data_format),
            problem.expected_feature_gradient(),
            rtol=rtol,
            atol=atol,
            what=f"{channels} channels",
        )


@pytest.mark.parametrize("data_format", cases.LAYOUTS)
def test_is_the_transpose_of_forward(data_format):
    """<roi_align(f), g> = <f, gradient(g)> for any f and g, without a reference."""
    rng = np.random.default_rng(17)
    for aligned in (False, True):
        for ratio in cases.SAMPLING_RATIOS:
            problem = cases.Problem(
                rng,
                feature_dtype="float64",
                box_dtype="float64",
                data_format=data_format,
                count=30,
                channels=20,
                aligned=aligned,
                ratio=ratio,
                scale=0.6,
            )
            forward = tf.reduce_sum(problem.run() * problem.upstream).numpy()
            backward = tf.reduce_sum(gradient(problem) * problem.features).numpy()
            assert abs(forward) > 1e-3
            assert backward == pytest.approx(forward, rel=1e-11, abs=1e-11)


def test_many_boxes_on_few_pixels():
    """Boxes that share pixels add up, whoever owns them."""
    rng = np.random.default_rng(23)
    for data_format in cases.LAYOUTS:
        problem = cases.Problem(
            rng,
            count=500,
            images=1,
            height=4,
            width=5,
            data_format=data_format,
            output_size=(7, 7),
            ratio=2,
        )
        rtol, atol = cases.tolerance("float32", "float32", magnitude(problem))
        cases.assert_close(
            cases.to_nhwc(cases.as_numpy(gradient(problem)), data_format),
            problem.expected_feature_gradient(),
            rtol=rtol,
            atol=atol,
        )


def test_is_zero_where_no_sample_falls():
    features = tf.ones([2, 6, 6, 3])
    with tf.GradientTape() as tape:
        tape.watch(features)
        output = tf_roialign.roi_align(features, [[1.0, 2.0, 2.0, 3.0, 3.0]], 2, sampling_ratio=1)
    gradient = tape.gradient(output, features).numpy()
    assert np.argwhere(gradient.any(axis=-1)).min(axis=0).tolist() == [1, 2, 2]
    assert np.argwhere(gradient.any(axis=-1)).max(axis=0).tolist() == [1, 3, 3]
    assert not np.signbit(gradient).any()
    assert gradient.sum() == pytest.approx(2 * 2 * 3)


def test_through_a_function_of_unknown_shapes():
    @tf.function(
        input_signature=[
            tf.TensorSpec([None] * 4),
            tf.TensorSpec([None, 4]),
            tf.TensorSpec([None], tf.int32),
            tf.TensorSpec([None] * 4),
        ]
    )
    def function(features, boxes, indices, upstream):
        with tf.GradientTape() as tape:
            tape.watch(features)
            output = tf_roialign.roi_align(features, boxes, (3, 2), box_indices=indices)
        return tape.gradient(output, features, upstream)

    rng = np.random.default_rng(29)
    for count, channels in ((5, 3), (0, 2), (12, 9)):
        problem = cases.Problem(rng, count=count, channels=channels)
        got = function(
            problem.features,
            problem.box_values,
            problem.indices.astype("int32"),
            problem.upstream,
        )
        assert cases.as_bytes(got) == cases.as_bytes(gradient(problem))
