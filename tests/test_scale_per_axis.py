"""`spatial_scale=(y, x)`: maps of images that were resized without keeping their aspect."""

import json

import keras
import numpy as np
import pytest
import reference
import tensorflow as tf
from cases import (
    FEATURE_DTYPES,
    FORMS,
    LAYOUTS,
    Problem,
    as_bytes,
    as_numpy,
    assert_close,
    by_coordinate,
    in_form,
    seed_of,
    tolerance,
)

import tf_roialign
from tf_roialign import raw_ops

# Held by 32 bits, and not.
SCALES = [(0.25, 0.625), (1 / 3, 0.7)]


def make(*key, scale=SCALES[0], **kwargs):
    return Problem(np.random.default_rng(seed_of(*key)), scale=scale, **kwargs)


def magnitude(values):
    return max(np.abs(values).max(), 1.0)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("data_format", LAYOUTS)
@pytest.mark.parametrize("feature_dtype", FEATURE_DTYPES)
@pytest.mark.parametrize(("aligned", "ratio"), [(False, -1), (True, 2), (True, -1), (False, 3)])
def test_forward_and_gradients(feature_dtype, data_format, form, aligned, ratio):
    problem = make(
        feature_dtype,
        data_format,
        form,
        aligned,
        ratio,
        feature_dtype=feature_dtype,
        data_format=data_format,
        form=form,
        aligned=aligned,
        ratio=ratio,
        smooth=True,
    )
    arguments = problem.arguments()
    watched = [problem.features, *tf.nest.flatten(arguments["boxes"], expand_composites=True)]
    watched = [tensor for tensor in watched if tensor.dtype.is_floating]
    with tf.GradientTape() as tape:
        tape.watch(watched)
        output = problem.run(**arguments)
    by_features, *by_boxes = tape.gradient(output, watched, problem.upstream)

    expected = problem.expected()
    rtol, atol = tolerance(feature_dtype, "float32", magnitude(expected), terms=4)
    assert_close(problem.values(output), expected, rtol=rtol, atol=atol, what="output")
    expected = problem.expected_feature_gradient()
    rtol, atol = tolerance(feature_dtype, "float32", magnitude(expected), terms=16)
    got = as_numpy(by_features)
    got = np.moveaxis(got, 1, -1) if data_format == "NCHW" else got
    assert_close(got, expected, rtol=rtol, atol=atol, what="gradient to the features")
    expected = problem.expected_box_gradient()
    got = np.concatenate([as_numpy(grad).reshape(-1, grad.shape[-1])[:, -4:] for grad in by_boxes])
    rtol, atol = tolerance("float32", "float32", magnitude(expected), terms=64)
    assert_close(got, expected, rtol=rtol, atol=atol, what="gradient to the boxes")


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("box_dtype", ["float32", "float64"])
def test_is_the_scale_of_the_coordinates(scale, box_dtype):
    problem = make("coordinates", scale, scale=scale, box_dtype=box_dtype)
    scaled = problem.box_values * by_coordinate(scale).astype(box_dtype)
    expected = tf_roialign.roi_align(
        problem.features, **{**problem.arguments(), "boxes": scaled}, output_size=(3, 2)
    )
    assert as_bytes(problem.run()) == as_bytes(expected)


@pytest.mark.parametrize("box_dtype", ["float32", "float64"])
def test_two_equal_scales_are_one(box_dtype):
    problem = make("equal", box_dtype, scale=0.3, box_dtype=box_dtype)
    one = problem.run()
    problem.attributes["spatial_scale"] = (0.3, 0.3)
    assert as_bytes(problem.run()) == as_bytes(one)


@pytest.mark.parametrize(
    "value", [[0.25, 0.625], np.array([0.25, 0.625]), tf.constant([0.25, 0.625])]
)
def test_what_a_pair_may_be(value):
    problem = make("pair")
    expected = problem.run()
    problem.attributes["spatial_scale"] = value
    assert as_bytes(problem.run()) == as_bytes(expected)


def test_raw_op():
    problem = make("raw")
    attributes = {**problem.attributes, "spatial_scale": 7.0, "spatial_scales": [0.25, 0.625]}
    got = raw_ops.roi_align(problem.features, problem.box_values, problem.indices, **attributes)
    assert as_bytes(got) == as_bytes(problem.run())
    with pytest.raises(
        tf.errors.InvalidArgumentError, match="`spatial_scales` must be two numbers, got 3"
    ):
        attributes["spatial_scales"] = [1.0, 2.0, 3.0]
        raw_ops.roi_align(problem.features, problem.box_values, problem.indices, **attributes)
    with pytest.raises(
        tf.errors.InvalidArgumentError,
        match="`spatial_scale` must be finite and greater than 0, got -2",
    ):
        attributes["spatial_scales"] = [1.0, -2.0]
        raw_ops.roi_align(problem.features, problem.box_values, problem.indices, **attributes)


def test_second_derivatives_and_forward_mode():
    problem = make("second", feature_dtype="float64", box_dtype="float64", smooth=True)
    features, boxes = problem.features, tf.constant(problem.box_values)
    indices, attributes = problem.indices, problem.attributes
    scaled = {**attributes, "spatial_scale": 1.0}
    by_axis = tf.constant(by_coordinate(SCALES[0]))

    def pool(f, b):
        return tf_roialign.roi_align(f, b, box_indices=indices, **attributes)

    def pool_scaled(f, b):
        return tf_roialign.roi_align(f, b * by_axis, box_indices=indices, **scaled)

    def derivatives(function):
        with tf.GradientTape() as outer:
            outer.watch([features, boxes])
            with tf.GradientTape() as inner:
                inner.watch([features, boxes])
                value = tf.reduce_sum(function(features, boxes) ** 2)
            by_features = inner.gradient(value, features)
            value = tf.reduce_sum(by_features**3)
        second = outer.gradient(value, [features, boxes])
        with tf.autodiff.ForwardAccumulator(boxes, tf.cos(boxes)) as accumulator:
            output = function(features, boxes)
        return [*second, accumulator.jvp(output)]

    for got, expected in zip(derivatives(pool), derivatives(pool_scaled), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-11, atol=1e-11)
        assert np.abs(expected).max() > 0.01


@pytest.mark.parametrize("data_format", LAYOUTS)
def test_quantized(data_format):
    problem = make("quantized", data_format, data_format=data_format, aligned=True, ratio=2)
    codes = tf.cast(tf.round(problem.features * 30), tf.int8)
    got = tf_roialign.quantized_roi_align(
        codes, **problem.arguments(), **problem.attributes, scale=0.5, zero_point=3
    )
    values = as_numpy(codes)
    values = np.moveaxis(values, 1, -1) if data_format == "NCHW" else values
    real = reference.forward(values - 3, problem.box_values, problem.indices, **problem.geometry)
    # A half goes to either side in another rounding.
    assert np.abs(problem.values(got) - 3 - real).max() < 0.5 + 1e-3


def test_xla_and_vectorized_map():
    problem = make("xla", form="indexed")
    boxes = problem.arguments()["boxes"]

    def loss(f, b):
        return tf_roialign.roi_align(f, b, **problem.attributes)

    @tf.function(jit_compile=True)
    def compiled(f, b):
        with tf.GradientTape() as tape:
            tape.watch([f, b])
            output = loss(f, b)
        return output, *tape.gradient(output, [f, b], problem.upstream)

    with tf.GradientTape() as tape:
        tape.watch([problem.features, boxes])
        output = loss(problem.features, boxes)
    expected = output, *tape.gradient(output, [problem.features, boxes], problem.upstream)
    for got, wanted in zip(compiled(problem.features, boxes), expected, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)

    stacked = tf.stack([boxes, boxes + [0.0, 3.0, 1.0, 3.0, 1.0]])
    got = tf.vectorized_map(lambda b: loss(problem.features, b), stacked)
    for i in range(2):
        assert as_bytes(got[i]) == as_bytes(loss(problem.features, stacked[i]))


def _model():
    images = keras.Input([None, None, 3])
    boxes = keras.Input([None, 4], ragged=True)
    features = keras.layers.Conv2D(6, 3, strides=(4, 2), padding="same")(images)
    layer = tf_roialign.RoIAlign((3, 2), spatial_scale=(1 / 4, 1 / 2), aligned=True)
    pooled = layer(features, boxes)
    outputs = keras.layers.Dense(2)(keras.layers.Flatten()(pooled))
    return keras.Model([images, boxes], outputs)


def test_layer_in_a_model(tmp_path):
    rng = np.random.default_rng(7)
    images = tf.constant(rng.standard_normal((2, 32, 24, 3)), tf.float32)
    corners = np.sort(rng.uniform(0, 24, (5, 2, 2)), axis=1).reshape(5, 4)
    boxes = tf.RaggedTensor.from_row_lengths(tf.constant(corners, tf.float32), [3, 2])
    model = _model()
    before = [variable.numpy() for variable in model.trainable_variables]
    model.compile("sgd", "mse")
    data = tf.data.Dataset.from_tensors(((images, boxes), tf.ones([5, 2])))
    model.fit(data, verbose=0)
    for old, new in zip(before, model.trainable_variables, strict=True):
        assert np.abs(old - new.numpy()).max() > 0
    expected = model([images, boxes])
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert as_bytes(again([images, boxes])) == as_bytes(expected)
    layer = next(layer for layer in again.layers if isinstance(layer, tf_roialign.RoIAlign))
    assert layer.spatial_scale == (0.25, 0.5)
    tf_roialign.export_saved_model(model, tmp_path / "served")
    served = tf.saved_model.load(str(tmp_path / "served")).signatures["serving_default"]
    names = served.structured_input_signature[1]
    values = {}
    for name, spec in names.items():
        if spec.shape.rank == 4:
            values[name] = images
        elif spec.shape.rank == 2:
            values[name] = boxes.values
        else:
            values[name] = tf.cast(boxes.row_lengths(), spec.dtype)
    (got,) = served(**values).values()
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def test_layer_config():
    layer = tf_roialign.RoIAlign(7, spatial_scale=[0.25, 0.5])
    config = json.loads(json.dumps(layer.get_config()))
    assert tf_roialign.RoIAlign.from_config(config).spatial_scale == (0.25, 0.5)
    assert tf_roialign.RoIAlign(7, spatial_scale=(0.5, 0.5)).spatial_scale == 0.5


def test_check_boxes():
    rng = np.random.default_rng(3)
    features = tf.zeros([2, 50, 50, 8])  # of images of 200 x 400
    size = np.array([400, 200, 400, 200])
    corners = np.sort(rng.uniform(0, 1, (60, 2, 2)), axis=1).reshape(60, 4) * size
    boxes = in_form("dense", corners.astype("float32"), np.repeat([0, 1], 30), 2)["boxes"]
    assert not tf_roialign.check_boxes(features, boxes, spatial_scale=(1 / 4, 1 / 8))
    assert not tf_roialign.check_boxes(
        features, boxes, spatial_scale=(1 / 4, 1 / 8), image_size=(200, 400)
    )
    found = tf_roialign.check_boxes(
        features, boxes * [1 / 8, 1 / 4, 1 / 8, 1 / 4], spatial_scale=(1 / 4, 1 / 8)
    )
    assert [finding.code for finding in found] == ["feature_pixels"]
    found = tf_roialign.check_boxes(
        features, boxes, spatial_scale=(1 / 4, 1 / 8), image_size=(400, 200)
    )
    assert "spatial_scale=(1/4, 1/8)" in str(found)
