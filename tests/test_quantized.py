"""quantized_roi_align: codes against torchvision's and against the NumPy reference."""

import pathlib

import cases
import keras
import numpy as np
import programs
import pytest
import reference
import tensorflow as tf

import tf_roialign

GOLDEN = np.load(pathlib.Path(__file__).parent / "golden" / "torchvision_quantized.npz")
NAMES = sorted({key.split("/")[0] for key in GOLDEN.files})
DTYPES = ("int8", "uint8", "int32")
QUANTIZED = {"int8": tf.qint8, "uint8": tf.quint8, "int32": tf.qint32}


def assert_codes(got, value, zero_point, dtype):
    """`value`: value / scale before rounding. Within rounding of a half, either code is right."""
    limits = np.iinfo(dtype)
    near_half = np.abs(np.abs(value - np.floor(value)) - 0.5) < 1e-3
    assert np.mean(near_half) < 0.25
    codes = np.clip(np.rint(value) + zero_point, limits.min, limits.max)
    assert (np.abs(got.astype(np.int64) - codes) <= near_half).all()


def rule(sums, counts, zero_point, dtype):
    """Exact codes of integer sums over integer counts: rounded half to even, then the rest."""
    quotients, rests = np.divmod(sums, counts)
    up = (2 * rests > counts) | ((2 * rests == counts) & (quotients % 2 == 1))
    limits = np.iinfo(dtype)
    return np.clip(quotients + up + zero_point, limits.min, limits.max)


def golden_case(name):
    keys = ("input", "rois", "output", "scale", "zero_point", "spatial_scale", "params")
    return {key: GOLDEN[f"{name}/{key}"] for key in keys}


def call_golden(case, data_format):
    ph, pw, ratio, aligned = case["params"].tolist()
    output = tf_roialign.quantized_roi_align(
        cases.from_nhwc(case["input"].transpose(0, 2, 3, 1), data_format),
        case["rois"],
        (ph, pw),
        float(case["spatial_scale"]),
        ratio,
        bool(aligned),
        scale=case["scale"],
        zero_point=case["zero_point"],
        data_format=data_format,
    )
    return cases.to_nhwc(output.numpy(), data_format).transpose(0, 3, 1, 2)


def exact_sums(case):
    """Sums of code - zero_point of the boxes where float32 holds them exactly, with all parts.

    Yields (box, sums [C, PH, PW], count). The bits of a float32 hold 2^24 units; the unit of
    a sum is the product of those of its weights, and no part of it is larger than the sum of
    all weights times 255.
    """
    ph, pw, ratio, aligned = case["params"].tolist()
    image = case["input"][0].astype(np.float64)
    zero_point = int(case["zero_point"])
    for k, box in enumerate(case["rois"][:, 1:]):
        # In float32, as torchvision does, and in float64, which has bits to spare: where
        # both agree, no step was rounded.
        axes = [
            reference.axes_of_box(
                box,
                image.shape[1:],
                (ph, pw),
                float(case["spatial_scale"]),
                ratio,
                bool(aligned),
                geometry,
            )
            for geometry in (np.float32, np.float64)
        ]
        y, x, count = axes[0]
        if (y.weight != axes[1][0].weight).any() or (x.weight != axes[1][1].weight).any():
            continue
        unit = 1.0
        for weight in (y.weight, x.weight):
            bits = next(bits for bits in range(54) if (weight * 2**bits % 1 == 0).all())
            unit /= 2**bits
        weights = np.einsum("py,qx->pq", y.weight, x.weight)
        if weights.max() * 255 / unit >= 2**24:
            continue
        sums = np.einsum("py,cyx,qx->cpq", y.weight, image, x.weight)
        yield k, sums - zero_point * weights, count


def test_there_are_golden_cases():
    assert len(NAMES) == 40
    assert {GOLDEN[f"{name}/input"].dtype.name for name in NAMES} == {"int8", "uint8"}


@pytest.mark.parametrize("data_format", cases.LAYOUTS)
def test_is_torchvision_where_float32_is_exact(data_format):
    """No tolerance, for ties neither."""
    codes = ties = 0
    for name in NAMES:
        case = golden_case(name)
        got = call_golden(case, data_format)
        for k, sums, count in exact_sums(case):
            np.testing.assert_array_equal(got[k], case["output"][k], err_msg=f"{name}, box {k}")
            codes += sums.size
            ties += np.count_nonzero(sums / count % 1 == 0.5)
    assert codes > 5000
    assert ties > 100


def test_golden_codes_follow_the_rule():
    """The rule in its own words gives torchvision's: value / scale, zero point, limits."""
    for name in NAMES:
        case = golden_case(name)
        scale, limits = np.float32(case["scale"]), np.iinfo(case["input"].dtype)
        for k, sums, count in exact_sums(case):
            value = scale * sums.astype(np.float32) / np.float32(count)
            codes = np.rint(value * (np.float32(1) / scale)) + int(case["zero_point"])
            expected = np.clip(codes, limits.min, limits.max)
            np.testing.assert_array_equal(case["output"][k], expected)


@pytest.mark.parametrize("data_format", cases.LAYOUTS)
@pytest.mark.parametrize("name", NAMES)
def test_agrees_with_torchvision(name, data_format):
    case = golden_case(name)
    ph, pw, ratio, aligned = case["params"].tolist()
    got = call_golden(case, data_format)
    expected = case["output"]
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
    value = real.transpose(0, 3, 1, 2)
    near_half = np.abs(np.abs(value - np.floor(value)) - 0.5) < 1e-3
    assert (np.abs(got.astype(int) - expected.astype(int)) <= near_half).all()
    assert_codes(got, value, zero_point, got.dtype)


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
    assert_codes(problem.values(got), problem.expected(), zero_point, dtype)


def exact_boxes(rng, count, height, width, bins, ratio):
    """[count, 4] boxes whose samples lie on eighths of a pixel, `bins` and `steps` by axis.

    An extent is a multiple of bins * ratio / 4, so that a step between samples is a multiple
    of 1/4.
    """
    boxes = []
    for length, of_axis in ((height, bins[0]), (width, bins[1])):
        start = rng.integers(-8, 4 * length, count) / 4
        longest = max(1, 4 * (length + 4) // (of_axis * ratio))
        extent = rng.integers(1, longest, count, endpoint=True) * of_axis * ratio / 4
        boxes.insert(0, (start, start + extent))
    (x1, x2), (y1, y2) = boxes
    return np.stack([x1, y1, x2, y2], axis=1).astype(np.float32)


@pytest.mark.parametrize("channels", (1, 3, 4, 7, 8, 21, 64, 141, 300))
@pytest.mark.parametrize("data_format", cases.LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_exact_codes(dtype, data_format, channels):
    """Every code, ties too: vector bodies and tails, odd and even zero points, all counts."""
    rng = np.random.default_rng(cases.seed_of(dtype, data_format, channels))
    limits = np.iinfo(dtype)
    images, height, width, count = 2, 6, 7, 10
    ties = odd = 0
    for ratio in (1, 2, 3, 5, 6):
        for output_size in ((1, 1), (2, 4), (16, 16)):
            low = int(rng.integers(limits.min, limits.max - 8))
            codes = rng.integers(low, low + 8, (images, height, width, channels), endpoint=True)
            zero_point = int(rng.integers(max(limits.min, low - 9), low + 8, endpoint=True))
            if rng.random() < 0.3:  # the limits themselves
                codes = rng.choice([limits.min, limits.max], codes.shape)
                zero_point = int(rng.choice([limits.min, limits.max]))
            boxes = exact_boxes(rng, count, height, width, output_size, ratio)
            indices = rng.integers(0, images, count)
            geometry = {
                "output_size": output_size,
                "scale": 1.0,
                "ratio": ratio,
                "aligned": True,
            }
            got = tf_roialign.quantized_roi_align(
                cases.from_nhwc(codes.astype(dtype), data_format),
                boxes,
                output_size,
                sampling_ratio=ratio,
                aligned=True,
                box_indices=indices,
                scale=2.0 ** int(rng.integers(-9, 9)),
                zero_point=zero_point,
                data_format=data_format,
            )
            expected = np.empty((count, *output_size, channels), np.int64)
            for k, box in enumerate(boxes):
                y, x, samples = reference.axes_of_box(
                    box, (height, width), geometry=np.float64, **geometry
                )
                units = [np.rint(weight * 64).astype(np.int64) for weight in (y.weight, x.weight)]
                assert (units[0] == y.weight * 64).all() and (units[1] == x.weight * 64).all()
                sums = np.einsum(
                    "py,yxc,qx->pqc", units[0], codes[indices[k]] - zero_point, units[1]
                )
                counts = int(samples) * 64**2
                expected[k] = rule(sums, counts, zero_point, dtype)
                ties += np.count_nonzero(2 * (sums % counts) == counts)
            odd += zero_point % 2
            np.testing.assert_array_equal(cases.to_nhwc(got.numpy(), data_format), expected)
    assert ties > 20 * channels
    assert 0 < odd < 15


@pytest.mark.parametrize("data_format", cases.LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("pair", "zero_point", "code"),
    (
        # The mean of the pair is a tie; code - zero_point is even.
        ((10, 11), 1, 11),
        ((10, 11), 0, 10),
        ((11, 12), 1, 11),
        ((11, 12), 2, 12),
        ((10, 11), 127, 11),
        ((126, 127), 0, 126),
        ((126, 127), 127, 127),
        ((0, 1), 1, 1),
        ((0, 1), 0, 0),
        ((0, 1), 126, 0),
        ((-10, -11), 1, -11),
        ((-10, -11), 0, -10),
        ((-10, -11), -1, -11),
        ((-127, -128), 0, -128),
        ((-127, -128), -127, -127),
        ((-127, -128), 127, -127),
    ),
)
def test_ties(dtype, data_format, pair, zero_point, code):
    if dtype == "uint8" and min(*pair, zero_point) < 0:  # the same, 128 higher
        pair, zero_point, code = np.add(pair, 128), zero_point + 128, code + 128
    for scale in (1.0, 0.125):
        output = tf_roialign.quantized_roi_align(
            cases.from_nhwc(np.reshape(pair, (1, 1, 2, 1)).astype(dtype), data_format),
            np.array([[0, 0, 0, 1, 1]], np.float32),
            1,
            sampling_ratio=1,
            scale=scale,
            zero_point=zero_point,
            data_format=data_format,
        )
        assert output.numpy().ravel().tolist() == [code]


@pytest.mark.parametrize("data_format", cases.LAYOUTS)
@pytest.mark.parametrize("zero_point", (-(2**31), -1, 0, 12345, 2**31 - 1))
@pytest.mark.parametrize("code", (-(2**31), 1 - 2**31, -(2**24) - 1, 2**24 + 1, 2**31 - 1))
def test_codes_of_32_bits_are_kept(code, zero_point, data_format):
    """float32 does not hold them, and 1 / 9 or 1 / 49 of a sum is no binary fraction."""
    boxes = np.array([[0, 0, 0, 6, 6], [0, 0.3, 0.7, 4.1, 5.9], [0, 50, 50, 60, 60]], np.float32)
    for ratio in (3, 7, -1):
        output = tf_roialign.quantized_roi_align(
            np.full((1, 8, 8, 8), code, np.int32),
            boxes,
            2,
            sampling_ratio=ratio,
            scale=0.1,
            zero_point=zero_point,
            data_format=data_format,
        ).numpy()
        assert (output[:2] == code).all()
        assert (output[2] == zero_point).all()


@pytest.mark.parametrize("channels", (1, 64))
@pytest.mark.parametrize("dtype", ("int8", "uint8"))
def test_a_sum_of_many_codes_saturates(dtype, channels):
    """The rounding of a float32 sum of 360 000 samples must not carry a code past its limit."""
    limits = np.iinfo(dtype)
    for code, zero_point in ((limits.max, limits.min), (limits.min, limits.max)):
        output = tf_roialign.quantized_roi_align(
            np.full((1, 600, 600, channels), code, dtype),
            np.array([[0, 0, 0, 599, 599]], np.float32),
            1,
            scale=0.7,
            zero_point=zero_point,
        ).numpy()
        assert (np.abs(output.astype(int) - code) <= 2).all()


@pytest.mark.parametrize("scale", (1e-30, 2e-38, 0.1, 1e30, 3e38))
def test_no_scale_is_too_small_or_too_large(scale):
    assert (call(scale=scale).numpy() == 50).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_takes_quantized_dtypes(dtype):
    """Their codes are those of the plain dtype."""
    codes = np.random.default_rng(3).integers(0, 100, (2, 8, 9, 5)).astype(dtype)
    boxes = np.array([[0, 1.0, 2, 6, 5], [1, 0, 0, 3, 7]], np.float32)
    plain = tf_roialign.quantized_roi_align(codes, boxes, 3, scale=0.03, zero_point=41)
    assert plain.dtype == dtype
    features = tf.bitcast(codes, QUANTIZED[dtype])
    output = tf_roialign.quantized_roi_align(features, boxes, 3, scale=0.03, zero_point=41)
    assert output.dtype == QUANTIZED[dtype]
    np.testing.assert_array_equal(tf.bitcast(output, dtype), plain)


@pytest.mark.parametrize("dtype", ("int8", "int32"))
def test_takes_what_uniform_quantize_makes(dtype):
    features = np.random.default_rng(3).normal(size=(2, 8, 9, 5)).astype(np.float32)
    scale, zero_point = (0.03, -28) if dtype == "int8" else (1e-6, 5)
    made = tf.raw_ops.UniformQuantize(
        input=features,
        scales=scale,
        zero_points=zero_point,
        Tout=QUANTIZED[dtype],
        quantization_min_val=np.iinfo(dtype).min,
        quantization_max_val=np.iinfo(dtype).max,
    )
    codes = tf.bitcast(made, dtype).numpy().astype(np.float64)
    expected = np.clip(features / scale + zero_point, np.iinfo(dtype).min, np.iinfo(dtype).max)
    np.testing.assert_allclose(codes, expected, atol=1, rtol=1e-6)
    boxes = np.array([[0, 1.0, 2, 6, 5], [1, 0, 0, 3, 7]], np.float32)
    output = tf_roialign.quantized_roi_align(
        made, boxes, 3, aligned=True, scale=scale, zero_point=zero_point
    )
    real = tf_roialign.roi_align(codes - zero_point, boxes, 3, aligned=True)
    assert_codes(tf.bitcast(output, dtype).numpy(), real.numpy(), zero_point, dtype)


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
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_box_that_is_not_finite_gives_the_zero_point(dtype, data_format, value):
    boxes = np.array([[0, 0, 0, 3, 3], [0, 0, value, 3, 3], [0, 1, 1, 3, 3]], np.float32)
    features = np.full((1, 4, 4, 4), 50, dtype)
    output = call(features=features, boxes=boxes, data_format=data_format).numpy()
    assert (output[1] == 7).all()
    assert (output[[0, 2]] == 50).all()


@pytest.mark.parametrize(
    ("changes", "error", "text"),
    (
        (
            {"features": np.zeros((1, 4, 4, 2), np.float32)},
            TypeError,
            "`features` must be qint8, quint8, qint32, int8, uint8 or int32, got float32",
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
        ({"scale": keras.Input([])}, TypeError, "`scale` must be a scalar float32, got float32"),
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


INPUTS = np.full((1, 4, 4, 4), 50, np.int8), np.array([[0, 0, 0, 3, 3]], np.float32)


def pool(features, boxes):
    return call(features=features, boxes=boxes)


def test_wherever_xla_compiles_it():
    """In functions of functions, in a branch, and in what is not traced again."""
    expected = pool(*INPUTS).numpy()
    inner = tf.function(pool)
    for function in (pool, inner, tf.function(inner)):
        compiled = tf.function(lambda *inputs, f=function: f(*inputs), jit_compile=True)
        np.testing.assert_array_equal(compiled(*INPUTS), expected)

    @tf.function
    def outer(condition, *inputs):  # a branch in a function for XLA in a function
        def compiled(*inputs):
            return tf.cond(condition, lambda: pool(*inputs), lambda: -pool(*inputs))

        return tf.function(compiled, jit_compile=True)(*inputs)

    np.testing.assert_array_equal(outer(tf.constant(True), *INPUTS), expected)
    np.testing.assert_array_equal(outer(tf.constant(False), *INPUTS), -expected)


def test_a_saved_model_that_xla_compiles(tmp_path):
    traced = tf.function(
        pool,
        input_signature=[tf.TensorSpec([None] * 4, tf.int8), tf.TensorSpec([None, 5])],
        jit_compile=True,
    )
    module = tf.Module()
    module.pool = traced
    tf.saved_model.save(module, tmp_path)
    loaded = tf.saved_model.load(tmp_path).pool
    assert (loaded(*INPUTS).numpy() == 50).all()


class Pool(keras.layers.Layer):
    def call(self, features, boxes):
        codes = tf.cast(features, tf.int8)
        output = tf_roialign.quantized_roi_align(codes, boxes, 2, scale=1.0, zero_point=1)
        return tf.cast(output, tf.float32)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_keras_model(jit_compile):
    inputs = [np.full((2, 4, 4, 1), 9, np.float32), np.zeros((2, 3, 4), np.float32)]
    images, boxes = keras.Input((4, 4, 1)), keras.Input((3, 4))
    model = keras.Model([images, boxes], Pool()(images, boxes))
    model.compile("sgd", "mse", jit_compile=jit_compile)
    assert model.jit_compile is jit_compile
    assert (model.predict(inputs, verbose=0) == 9).all()


def test_auto_clustering(tmp_path):
    program = """
import numpy as np
import tensorflow as tf
tf.config.optimizer.set_jit("autoclustering")
import tf_roialign

@tf.function
def run(values, boxes):
    codes = tf.cast(tf.round(tf.nn.relu(values * 2.0) + 1.0), tf.int8)
    codes = tf_roialign.quantized_roi_align(codes, boxes, 2, scale=1.0, zero_point=1)
    return tf.nn.relu(tf.cast(codes, tf.float32) * 3.0) + 1.0

print(run(tf.fill([1, 4, 4, 1], 4.0), tf.constant([[0, 0.0, 0, 3, 3]])).numpy().ravel())
"""
    output = programs.run(
        program,
        TF_XLA_FLAGS="--tf_xla_cpu_global_jit --tf_xla_min_cluster_size=2 "
        "--tf_xla_enable_lazy_compilation=false",
        XLA_FLAGS=f"--xla_dump_to={tmp_path} --xla_dump_hlo_as_text",
    ).stdout
    assert output.split() == ["[28.", "28.", "28.", "28.]"]
    dump = "".join(path.read_text() for path in tmp_path.glob("*after_optimizations.txt"))
    assert 'custom_call_target="TfRoialign>QuantizedRoiAlign"' in dump
