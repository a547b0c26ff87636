"""`multiscale_roi_align`: torchvision's results, and those of `roi_align` level by level."""

import itertools
import pathlib

import cases
import numpy as np
import programs
import pyramids
import pytest
import tensorflow as tf

import tf_roialign

GOLDEN = np.load(
    pathlib.Path(__file__).parent / "golden" / "torchvision_multiscale.npz", allow_pickle=False
)


def rng_of(*parts):
    return np.random.default_rng(cases.seed_of(*parts))


def assert_same_bits(got, expected):
    for a, b in zip(tf.nest.flatten(got), tf.nest.flatten(expected), strict=True):
        # The gradient of tf.gather comes as slices.
        assert cases.as_bytes(a) == cases.as_bytes(tf.convert_to_tensor(b))


@pytest.mark.parametrize("data_format", cases.LAYOUTS)
@pytest.mark.parametrize("name", sorted({key.split("/")[0] for key in GOLDEN.files}))
def test_golden(name, data_format):
    def array(key):
        return GOLDEN[f"{name}/{key}"]

    def layout(values):
        return tf.constant(cases.from_nhwc(values.transpose(0, 2, 3, 1), data_format))

    maps, height, width, ratio, scale, level, size = map(int, array("params"))
    features = [layout(array(f"feature_{i}")) for i in range(maps)]
    boxes = tf.RaggedTensor.from_row_lengths(array("boxes"), array("row_lengths"))
    names = [f"p{i}" for i in range(maps)]
    layer = tf_roialign.MultiScaleRoIAlign(
        names,
        (height, width),
        ratio,
        canonical_scale=scale,
        canonical_level=level,
        data_format="channels_last" if data_format == "NHWC" else "channels_first",
        dtype="float64",
    )
    ignored = tf.zeros([1, 1, 1, 1], tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(features)
        output = layer(
            {"ignored": ignored, **dict(zip(names, features, strict=True))},
            boxes,
            image_shapes=[(size, size)],
        )
    gradients = tape.gradient(
        output, features, layout(array("grad_output")), unconnected_gradients="zero"
    )
    np.testing.assert_allclose(output, layout(array("output")), rtol=0, atol=1e-12)
    for i, gradient in enumerate(gradients):
        np.testing.assert_allclose(gradient, layout(array(f"grad_feature_{i}")), atol=1e-12)


@pytest.mark.parametrize("mode", ["avg", "max"])
@pytest.mark.parametrize("ratio", [2, -1])
@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("form", cases.FORMS)
@pytest.mark.parametrize(
    ("feature_dtype", "box_dtype", "data_format"),
    [
        ("float32", "float32", "NHWC"),
        ("float32", "float32", "NCHW"),
        ("float64", "float64", "NHWC"),
        ("bfloat16", "float32", "NHWC"),
        ("float16", "float64", "NCHW"),
    ],
)
def test_is_roi_align_level_by_level(
    feature_dtype, box_dtype, data_format, form, aligned, ratio, mode
):
    options = {
        "form": form,
        "feature_dtype": feature_dtype,
        "box_dtype": box_dtype,
        "data_format": data_format,
        "aligned": aligned,
        "ratio": ratio,
        "mode": mode,
    }
    pyramid = pyramids.Pyramid(rng_of(*options.values()), **options)
    assert set(pyramid.levels) == {0, 1, 2}
    boxes = tf.constant(pyramid.boxes)
    results = []
    for fused in (True, False):
        with tf.GradientTape() as tape:
            tape.watch([*pyramid.features, boxes])
            if fused and form == "box_indices":
                output = pyramid.run(boxes=boxes)
            elif fused:
                output = pyramid.run()
            else:
                output = pyramid.run_each(boxes=boxes)
        wanted = [*pyramid.features, boxes] if form == "box_indices" else pyramid.features
        results.append([output, *tape.gradient(output, wanted, pyramid.upstream)])
    assert_same_bits(*results)


def test_levels_in_the_place_of_the_rule():
    pyramid = pyramids.Pyramid(rng_of("levels"))
    expected = pyramid.run()
    for dtype in (np.int32, np.int64):
        assert_same_bits(pyramid.run(levels=pyramid.levels.astype(dtype)), expected)
    pyramid.levels = (pyramid.levels + 1) % 3
    assert_same_bits(pyramid.run(levels=pyramid.levels.astype(np.int32)), pyramid.run_each())
    dense = pyramids.Pyramid(rng_of("dense"), form="dense")
    levels = dense.levels.reshape(dense.images, -1).astype(np.int32)
    assert_same_bits(dense.run(levels=levels), dense.run())
    ragged = pyramids.Pyramid(rng_of("ragged"), form="ragged")
    lengths = ragged.arguments()["boxes"].row_lengths()
    of_rows = tf.RaggedTensor.from_row_lengths(ragged.levels.astype(np.int32), lengths)
    assert_same_bits(ragged.run(levels=of_rows), ragged.run())
    listed = pyramids.Pyramid(rng_of("list"), form="list")
    lengths = [len(each) for each in listed.arguments()["boxes"]]
    of_images = tf.split(tf.constant(listed.levels, tf.int32), lengths)
    assert_same_bits(listed.run(levels=of_images), listed.run())


@pytest.mark.parametrize("box_dtype", ["float32", "float64"])
def test_level_of_a_box(box_dtype):
    """By which map is read: each is filled with its place."""
    sides = [0, 1e-30, 1, 55.9, 56, 111.99, 112, 112.01, 223.999, 224, 447.9, 448, 1e5, 1e30]
    corners = np.array([[0, 0, side, side] for side in sides], box_dtype)
    maps = [tf.fill([1, 300, 300, 1], tf.constant(float(i))) for i in range(4)]

    def maps_read(boxes, order=(0, 1, 2, 3)):
        output = tf_roialign.multiscale_roi_align(
            [maps[i] for i in order],
            boxes,
            1,
            [1 / 2 ** (i + 2) for i in order],
            1,
            box_indices=np.zeros(len(boxes), np.int32),
        )
        return np.round(output.numpy().ravel(), 3)

    expected = [0] * 6 + [1] * 3 + [2] * 2 + [3] * 3
    read = maps_read(corners)
    # The largest reads nothing but what is outside.
    np.testing.assert_array_equal(read[:-2], expected[:-2])
    np.testing.assert_array_equal(maps_read(corners, (2, 0, 3, 1))[:-2], expected[:-2])
    moved = corners.copy()
    moved[:, [0, 2]] = moved[:, [2, 0]]  # reversed along one axis
    np.testing.assert_array_equal(maps_read(moved[:-2]), 0)
    for bad in (np.nan, np.inf, -np.inf):
        box = np.array([[0, 0, bad, 300]], box_dtype)
        assert np.isnan(maps_read(box)).all()


def test_levels_that_are_not_there():
    """A box reads the highest level that is not above its own."""
    maps = [tf.fill([1, 64, 64, 1], tf.constant(float(i))) for i in range(2)]
    boxes = np.array([[0, 0, side, side] for side in (56, 112, 224, 448)], np.float32)
    output = tf_roialign.multiscale_roi_align(
        maps, boxes, 1, [1 / 4, 1 / 16], 1, box_indices=np.zeros(4, np.int32)
    )
    np.testing.assert_array_equal(output.numpy().ravel(), [0, 0, 1, 1])


def test_second_derivatives_and_forward_mode():
    pyramid = pyramids.Pyramid(rng_of("second"), feature_dtype="float64", box_dtype="float64")
    boxes = tf.constant(pyramid.boxes)
    direction = tf.constant(rng_of("direction").standard_normal(boxes.shape))
    results = []
    for run in (lambda: pyramid.run(boxes=boxes), lambda: pyramid.run_each(boxes=boxes)):
        watched = [*pyramid.features, boxes]
        with tf.GradientTape() as outer:
            outer.watch(watched)
            with tf.GradientTape() as inner:
                inner.watch(watched)
                output = run() ** 2
            first = inner.gradient(output, watched)
            loss = sum(tf.reduce_sum(each**2) for each in first[:-1])
        second = outer.gradient(loss, watched)
        tangents = [tf.ones_like(each) for each in pyramid.features]
        with tf.autodiff.ForwardAccumulator(watched, [*tangents, direction]) as forward:
            output = run()
        results.append([*first, *second, forward.jvp(output)])
    for got, expected in zip(*results, strict=True):
        expected = tf.convert_to_tensor(expected)
        np.testing.assert_allclose(tf.convert_to_tensor(got), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("mode", ["avg", "max"])
@pytest.mark.parametrize("own_features", [False, True])
def test_vectorized_map(own_features, mode):
    pyramid = pyramids.Pyramid(rng_of("pfor"), mode=mode)
    several = tf.stack([tf.constant(pyramid.boxes) + shift for shift in (0.0, 3.0, -5.0)])
    stacks = [tf.stack([each, each + 1, -each]) for each in pyramid.features]

    def one(inputs):
        boxes, *features = inputs
        features = features if own_features else pyramid.features
        with tf.GradientTape() as tape:
            tape.watch([boxes, *features])
            output = pyramid.run(features, boxes=boxes)
        return (output, *tape.gradient(output, [boxes, *features], pyramid.upstream))

    got = tf.vectorized_map(one, (several, *stacks), fallback_to_while_loop=False)
    for i in range(3):
        expected = one((several[i], *(each[i] for each in stacks)))
        assert_same_bits([each[i] for each in got], list(expected))


@pytest.mark.parametrize("mode", ["avg", "max"])
@pytest.mark.parametrize("data_format", cases.LAYOUTS)
def test_xla_gives_the_same_bits(data_format, mode):
    pyramid = pyramids.Pyramid(rng_of("xla"), data_format=data_format, mode=mode)

    def step(features, boxes, scales):
        with tf.GradientTape() as tape:
            tape.watch([*features, boxes])
            output = pyramid.run(features, boxes=boxes, scales=scales)
        return output, tape.gradient(output, [*features, boxes], pyramid.upstream)

    scales = tf.constant(
        [[1 / 4] * 2, pyramids.SCALES[1], [1 / 16] * 2]
    )  # which only the run knows
    inputs = (pyramid.features, tf.constant(pyramid.boxes), scales)
    assert_same_bits(tf.function(step, jit_compile=True)(*inputs), step(*inputs))


def test_unknown_shapes_and_a_number_of_boxes_that_xla_does_not_know():
    pyramid = pyramids.Pyramid(rng_of("unknown"))
    expected = pyramid.run()
    maps = [tf.TensorSpec(None)] * 3
    specs = [maps, tf.TensorSpec(None), tf.TensorSpec(None, tf.int32), tf.TensorSpec([None, 2])]

    @tf.function(input_signature=specs)
    def unknown(features, boxes, indices, scales):
        return pyramid.run(features, boxes=boxes, box_indices=indices, scales=scales)

    scales = tf.constant([[1 / 4] * 2, pyramids.SCALES[1], [1 / 16] * 2])
    boxes, indices = tf.constant(pyramid.boxes), tf.constant(pyramid.indices, tf.int32)
    assert_same_bits(unknown(pyramid.features, boxes, indices, scales), expected)

    keep = np.arange(pyramid.count) % 3 != 0

    @tf.function(jit_compile=True)
    def filtered(features, boxes, indices, keep):
        return tf.reduce_sum(
            tf_roialign.multiscale_roi_align(
                features,
                tf.boolean_mask(boxes, keep),
                pyramid.output_size,
                pyramids.SCALES,
                2,
                box_indices=tf.boolean_mask(indices, keep),
                **pyramids.RULE,
            ),
            axis=0,
        )

    got = filtered(pyramid.features, boxes, indices, tf.constant(keep))
    np.testing.assert_allclose(got, expected.numpy()[keep].sum(0), rtol=1e-5, atol=1e-5)


def test_quantized_maps():
    pyramid = pyramids.Pyramid(rng_of("quantized"))
    codes = [tf.cast(tf.clip_by_value(each * 40, -120, 120), tf.int8) for each in pyramid.features]
    quantization = {"scale": 0.05, "zero_point": 3}
    got = tf_roialign.quantized_multiscale_roi_align(
        codes,
        pyramid.boxes,
        pyramid.output_size,
        pyramids.SCALES,
        2,
        box_indices=pyramid.indices.astype(np.int32),
        **pyramids.RULE,
        **quantization,
    )
    for level in range(3):
        (rows,) = np.nonzero(pyramid.levels == level)
        expected = tf_roialign.quantized_roi_align(
            codes[level],
            pyramid.boxes[rows],
            pyramid.output_size,
            pyramids.SCALES[level],
            2,
            box_indices=pyramid.indices[rows].astype(np.int32),
            **quantization,
        )
        np.testing.assert_array_equal(got.numpy()[rows], expected)


def test_saved_model_in_a_fresh_process(tmp_path):
    pyramid = pyramids.Pyramid(rng_of("saved"))
    module = tf.Module()
    specs = [tf.TensorSpec([None, None, None, 5])] * 3
    module.run = tf.function(
        lambda features, boxes, indices: pyramid.run(features, boxes=boxes, box_indices=indices),
        input_signature=[specs, tf.TensorSpec([None, 4]), tf.TensorSpec([None], tf.int32)],
    )
    tf.saved_model.save(module, str(tmp_path / "model"))
    np.savez(tmp_path / "inputs.npz", *pyramid.features, pyramid.boxes, pyramid.indices)
    program = """
import sys, numpy as np, tensorflow as tf, tf_roialign
inputs = np.load(sys.argv[1] + "/inputs.npz")
*features, boxes, indices = [inputs[f"arr_{i}"] for i in range(5)]
model = tf.saved_model.load(sys.argv[1] + "/model")
features = [tf.constant(each) for each in features]
output = model.run(features, tf.constant(boxes), tf.constant(indices, tf.int32))
np.save(sys.argv[1] + "/output.npy", output)
"""
    programs.run(program, tmp_path)
    expected = pyramid.run().numpy()
    np.testing.assert_array_equal(np.load(tmp_path / "output.npy"), expected)


ONE = np.zeros((1, 4, 4, 1), np.float32)
BOX = np.zeros((1, 5), np.float32)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"features": []}, ValueError, r"`features` must be a list of 1 to 8 maps, got 0"),
        ({"features": [ONE] * 9}, ValueError, r"list of 1 to 8 maps, got 9"),
        ({"features": ONE}, TypeError, r"`features` must be a list of maps, got a ndarray"),
        ({"features": {"p2": ONE}}, TypeError, r"got a dict: .*MultiScaleRoIAlign"),
        (
            {"features": [ONE, ONE.astype(np.float64)]},
            TypeError,
            r"one dtype, got float32 and, in `features\[1\]`, float64",
        ),
        (
            {"features": [ONE, np.zeros((1, 4, 4, 2), np.float32)]},
            tf.errors.InvalidArgumentError,
            r"`features\[1\]` must have shape \[1, H, W, 1\], the batch and channels of the other "
            r"maps, got \[1, 4, 4, 2\]",
        ),
        (
            {"features": [ONE, np.zeros((2, 4, 4, 1), np.float32)]},
            tf.errors.InvalidArgumentError,
            r"`features\[1\]` must have shape .* got \[2, 4, 4, 1\]",
        ),
        (
            {"features": [ONE, ONE[0]]},
            ValueError,
            r"`features\[1\]` must have shape \[N, H, W, C\]",
        ),
        ({"spatial_scales": [1.0]}, ValueError, r"must be 2 numbers or pairs .* got 1"),
        ({"spatial_scales": 0.5}, ValueError, r"`spatial_scales` must be 2 numbers"),
        ({"spatial_scales": [1, 0]}, ValueError, r"`spatial_scales\[1\]` must be finite and gre"),
        ({"levels": [2]}, tf.errors.InvalidArgumentError, r"`levels\[0\]`, .* in \[0, 2\), got 2"),
        ({"levels": [-1]}, tf.errors.InvalidArgumentError, r"in \[0, 2\), got -1"),
        ({"levels": [np.array([2**32])]}, tf.errors.InvalidArgumentError, r"got 4294967296"),
        ({"levels": [0, 1]}, tf.errors.InvalidArgumentError, r"`levels` must have shape \[1\]"),
        ({"levels": [0.5]}, TypeError, r"`levels` must be int32 or int64, got float32"),
        ({"canonical_scale": 0}, ValueError, r"`canonical_scale` must be finite and greater"),
        ({"canonical_level": 1.5}, ValueError, r"`canonical_level` must be an integer"),
        ({"mode": "sum"}, ValueError, r'`mode` must be "avg" or "max", got "sum"'),
    ],
)
def test_bad_input(arguments, error, message):
    good = {"features": [ONE, ONE], "boxes": BOX, "output_size": 2, "spatial_scales": [1, 0.5]}
    with pytest.raises(error, match=message):
        tf_roialign.multiscale_roi_align(**{**good, **arguments})


def test_scales_of_the_run_are_looked_at():
    run = tf.function(
        lambda scales: tf_roialign.multiscale_roi_align([ONE, ONE], BOX, 2, scales),
        input_signature=[tf.TensorSpec([2])],
    )
    for bad in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(
            tf.errors.InvalidArgumentError, match=r"`spatial_scales\[1\]` must be finite and"
        ):
            run(tf.constant([1.0, bad]))


def test_an_empty_map_that_is_read_and_one_that_is_not():
    empty = np.zeros((1, 0, 4, 1), np.float32)
    for features, levels in itertools.product(([ONE, empty],), ([0], [1])):
        arguments = (features, BOX, 2, [1, 1])
        if levels == [0]:
            assert tf_roialign.multiscale_roi_align(*arguments, levels=levels).shape[0] == 1
            continue
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"`features\[1\]` must have a he"):
            tf_roialign.multiscale_roi_align(*arguments, levels=levels)


def test_several_maps_given_to_the_functions_for_one():
    for features in ([tf.constant(ONE), tf.constant(ONE)], {"p2": ONE}):
        for call in (tf_roialign.roi_align, lambda *a: tf_roialign.RoIAlign(2)(*a[:2])):
            with pytest.raises(TypeError, match="MultiScaleRoIAlign"):
                call(features, BOX, 2)


@pytest.mark.parametrize("form", cases.FORMS)
@pytest.mark.parametrize("jit_compile", [False, True])
def test_flatten_boxes(form, jit_compile):
    rng = rng_of("flatten")
    boxes = rng.uniform(0, 9, (6, 4)).astype(np.float32)
    indices = cases.random_indices(rng, form, 6, 3)
    arguments = cases.in_form(form, boxes, indices, 3, "int32")
    got = tf.function(lambda: tf_roialign.flatten_boxes(**arguments), jit_compile=jit_compile)()
    np.testing.assert_array_equal(got[0], boxes)
    np.testing.assert_array_equal(got[1], indices)


def test_flatten_boxes_of_no_form():
    with pytest.raises(ValueError, match=r"`boxes` must have shape \[K, 5\]"):
        tf_roialign.flatten_boxes(tf.zeros([3, 6]))
    column = np.array([np.nan, -1, 3e9, 7.9], np.float32)
    boxes = np.concatenate([column[:, None], np.zeros((4, 4), np.float32)], 1)
    np.testing.assert_array_equal(tf_roialign.flatten_boxes(boxes)[1], [-1, -1, -1, 7])
