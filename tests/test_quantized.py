"""quantized_roi_align: codes against torchvision's and against the NumPy reference."""

import pathlib

import cases
import numpy as np
import pytest
import reference
import tensorflow as tf

import tf_roialign

GOLDEN = np.load(pathlib.Path(__file__).parent / "golden" / "torchvision_quantized.npz")
NAMES = sorted({key.split("/")[0] for key in GOLDEN.files})
DTYPES = ("int8", "uint8")


def assert_codes(got, value, dtype):
    """`value`: before rounding. Within rounding of a half, either code is right."""
    limits = np.iinfo(dtype)
    value = np.clip(value, limits.min, limits.max)
    near_half = np.abs(np.abs(value - np.floor(value)) - 0.5) < 1e-3
    assert np.mean(near_half) < 0.25
    difference = np.abs(got.astype(np.int64) - np.rint(value))
    assert (difference <= near_half).all()


def test_there_are_golden_cases():
    assert len(NAMES) == 40
    assert {GOLDEN[f"{name}/input"].dtype.name for name in NAMES} == set(DTYPES)


@pytest.mark.parametrize("data_format", cases.LAYOUTS)
@pytest.mark.parametrize("name", NAMES)
def test_agrees_with_torchvision(name, data_format):
    case = {
        key: GOLDEN[f"{name}/{key}"]
        for key in ("input", "rois", "output", "scale", "zero_point", "spatial_scale", "params")
    }
    ph, pw, ratio, aligned = case["params"].tolist()

    def layout(array):
        return cases.from_nhwc(array.transpose(0, 2, 3, 1), data_format)

    got = tf_roialign.quantized_roi_align(
        layout(case["input"]),
        case["rois"],
        (ph, pw),
        float(case["spatial_scale"]),
        ratio,
        bool(aligned),
        scale=case["scale"],
        zero_point=case["zero_point"],
        data_format=data_format,
    ).numpy()
    expected = layout(case["output"])
    assert got.dtype == expected.dtype and got.shape == expected.shape
    zero_point = int(case["zero_point"])
    real = reference.forward(
        case["input"].transpose(0, 2, 3, 1).astype(np.float64) - zero_point,
        case["rois"][:, 1:],
        case["rois"][:, 0].astype(int),
        output_size=(ph, pw),
        scale=float(case["spatial_scale"]),
        ratio=ratio,
        aligned=bool(aligned),
        geometry=np.float32,
    )
    value = cases.from_nhwc(real, data_format) + zero_point
    near_half = np.abs(np.abs(value - np.floor(value)) - 0.5) < 1e-3
    assert (np.abs(got.astype(int) - expected.astype(int)) <= near_half).all()
    assert_codes(got, value, got.dtype)


@pytest.mark.parametrize("form", cases.FORMS)
@pytest.mark.parametrize("ratio", (-1, 2))
@pytest.mark.parametrize("data_format", cases.LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_agrees_with_reference(dtype, data_format, ratio, form):
    """Several images, which torchvision does not take, and every form of boxes."""
    rng = np.random.default_rng(cases.seed_of(dtype, data_format, ratio, form))
    problem = cases.Problem(
        rng,
        form=form,
        feature_dtype="float32",
        box_dtype="float32",
        data_format=data_format,
        images=3,
        count=12,
        height=13,
        width=9,
        channels=37,
        output_size=(3, 2),
        scale=0.5,
        ratio=ratio,
        aligned=True,
    )
    limits = np.iinfo(dtype)
    zero_point = int(rng.integers(limits.min, limits.max, endpoint=True))
    codes = rng.integers(limits.min, limits.max, problem.feature_values.shape, endpoint=True)
    problem.feature_values = codes - zero_point
    arguments = problem.arguments("int32")
    got = tf_roialign.quantized_roi_align(
        cases.from_nhwc(codes.astype(dtype), data_format),
        **arguments,
        **problem.attributes,
        scale=0.3,
        zero_point=zero_point,
    )
    assert got.dtype == dtype
    assert_codes(problem.values(got), problem.expected() + zero_point, dtype)


@pytest.mark.parametrize("dtype", (tf.qint8, tf.quint8))
def test_takes_what_uniform_quantize_makes(dtype):
    features = np.random.default_rng(3).normal(size=(2, 8, 9, 5)).astype(np.float32)
    low = -128 if dtype == tf.qint8 else 0
    scale, zero_point = 0.03, low + 100
    codes = tf.cast(tf.round(features / scale), tf.int32) + zero_point
    codes = tf.clip_by_value(codes, low, low + 255)
    quantized = tf.bitcast(tf.cast(codes, tf.int8 if low else tf.uint8), dtype)
    if dtype == tf.qint8:
        made = tf.raw_ops.UniformQuantize(
            input=features,
            scales=scale,
            zero_points=zero_point,
            Tout=tf.qint8,
            quantization_min_val=-128,
            quantization_max_val=127,
        )
        difference = tf.cast(tf.bitcast(made, tf.int8), tf.int32) - codes
        assert np.abs(difference).max() <= 1  # halves
        quantized = made
        codes = tf.cast(tf.bitcast(made, tf.int8), tf.int32)
    boxes = np.array([[0, 1.0, 2, 6, 5], [1, 0, 0, 3, 7]], np.float32)
    output = tf_roialign.quantized_roi_align(
        quantized, boxes, 3, aligned=True, scale=scale, zero_point=zero_point
    )
    assert output.dtype == dtype
    plain = tf_roialign.roi_align(tf.cast(codes, tf.float32), boxes, 3, aligned=True)
    got = tf.cast(tf.bitcast(output, tf.int8 if low else tf.uint8), tf.int32)
    assert_codes(got.numpy(), plain.numpy().astype(np.float64), np.int8 if low else np.uint8)


def call(**changes):
    arguments = {
        "features": np.full((1, 4, 4, 4), 50, np.int8),
        "boxes": np.array([[0, 0, 0, 3, 3]], np.float32),
        "output_size": 2,
        "scale": 0.5,
        "zero_point": 7,
    }
    return tf_roialign.quantized_roi_align(**{**arguments, **changes})


def test_outside_is_real_zero():
    assert (call(boxes=np.array([[0, 90, 90, 95, 95]], np.float32)).numpy() == 7).all()
    assert (call().numpy() == 50).all()


@pytest.mark.parametrize("value", (np.nan, np.inf, -np.inf))
@pytest.mark.parametrize("data_format", cases.LAYOUTS)
def test_a_box_that_is_not_finite_gives_the_zero_point(data_format, value):
    boxes = np.array([[0, 0, 0, 3, 3], [0, 0, value, 3, 3], [0, 1, 1, 3, 3]], np.float32)
    output = call(boxes=boxes, data_format=data_format).numpy()
    assert (output[1] == 7).all()
    assert (output[[0, 2]] == 50).all()


@pytest.mark.parametrize(
    ("changes", "error", "text"),
    (
        (
            {"features": np.zeros((1, 4, 4, 2), np.float32)},
            TypeError,
            "`features` must be int8, uint8, qint8 or quint8, got float32",
        ),
        (
            {"features": np.zeros((4, 4, 2), np.int8)},
            ValueError,
            r"`features` must have shape \[N, H, W, C\], got \[4, 4, 2\]",
        ),
        (
            {"scale": 0.0},
            tf.errors.InvalidArgumentError,
            "`scale` must be finite and greater than 0, got 0",
        ),
        (
            {"scale": np.nan},
            tf.errors.InvalidArgumentError,
            "`scale` must be finite and greater than 0, got -?nan",
        ),
        (
            {"zero_point": 128},
            tf.errors.InvalidArgumentError,
            r"`zero_point` must be in \[-128, 127\], got 128",
        ),
        (
            {"zero_point": -1, "features": np.zeros((1, 4, 4, 2), np.uint8)},
            tf.errors.InvalidArgumentError,
            r"`zero_point` must be in \[0, 255\], got -1",
        ),
        (
            {"scale": [0.5]},
            tf.errors.InvalidArgumentError,
            r"`scale` must be a scalar, got shape \[1\]",
        ),
        (
            {"zero_point": [[1, 2]]},
            tf.errors.InvalidArgumentError,
            r"`zero_point` must be a scalar, got shape \[1, 2\]",
        ),
        (
            {"boxes": np.array([[3, 0, 0, 3, 3]], np.float32)},
            tf.errors.InvalidArgumentError,
            r"`boxes\[0, 0\]`, an image index, .*got 3",
        ),
        ({"output_size": 0}, ValueError, "`output_size`"),
        ({"scale": "x"}, TypeError, "`scale` must be a scalar float32, got 'x'"),
        ({"zero_point": 1.5}, TypeError, "`zero_point` must be a scalar int32, got 1.5"),
        (
            {"zero_point": tf.constant(1, tf.int64)},
            TypeError,
            "`zero_point` must be a scalar int32, got int64",
        ),
    ),
)
def test_errors(changes, error, text):
    with pytest.raises(error, match=text):
        call(**changes)


def test_shapes_are_inferred_and_checked_in_graphs():
    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None, None, 6], tf.int8),
            tf.TensorSpec([None, 5], tf.float32),
        ]
    )
    def pool(features, boxes):
        output = tf_roialign.quantized_roi_align(features, boxes, 3, scale=1.0, zero_point=0)
        assert output.shape.as_list() == [None, 3, 3, 6]
        return output

    features = np.full((1, 4, 4, 6), 9, np.int8)
    assert (pool(features, np.array([[0, 0, 0, 3, 3]], np.float32)).numpy() == 9).all()

    with pytest.raises(ValueError, match=r"`scale` must be a scalar, got shape \[2\]"):
        tf.function(lambda: call(scale=[1.0, 2.0]))()


def test_a_gradient_is_refused():
    boxes = tf.constant([[0, 0, 0, 3, 3]], tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(boxes)
        output = tf.cast(call(boxes=boxes), tf.float32)
    assert tape.gradient(output, boxes) is None  # TensorFlow: a cast of integers has none

    @tf.function(autograph=False)  # which wraps errors
    def differentiate():
        output = call(boxes=boxes)
        return tf.gradients(output, boxes, grad_ys=tf.ones_like(output))

    with pytest.raises(LookupError, match="inference only"):
        differentiate()
