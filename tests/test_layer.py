"""The Keras layer: in models of every kind, saved, reloaded, trained, in mixed precision."""

import cases
import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_roialign

SETTINGS = {
    "output_size": (3, 2),
    "spatial_scale": 0.5,
    "sampling_ratio": 2,
    "aligned": True,
}


@pytest.fixture
def image_data_format():
    """Keras' global default, put back afterwards."""
    before = keras.config.image_data_format()
    yield keras.config.set_image_data_format
    keras.config.set_image_data_format(before)


def data(images=4, per_image=3, height=10, width=12, channels=3, seed=0):
    """Images, dense boxes in their coordinates, and the boxes as a ragged tensor."""
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((images, height, width, channels)).astype("float32")
    dense = cases.random_boxes(rng, images * per_image, height, width, 0.5)
    dense = dense.reshape(images, per_image, 4)
    lengths = rng.permutation(np.resize([0, 1, 2, 3], images))
    flat = np.concatenate([row[:length] for row, length in zip(dense, lengths, strict=True)])
    # Keras wants all inputs of a call to be tensors, or none of them.
    return (
        tf.constant(features),
        tf.constant(dense),
        tf.RaggedTensor.from_row_lengths(flat, lengths),
    )


def expected(features, boxes, data_format="NHWC", **overrides):
    return tf_roialign.roi_align(
        features, boxes, data_format=data_format, **{**SETTINGS, **overrides}
    ).numpy()


# --- The call ------------------------------------------------------------------------------


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("form", cases.FORMS)
def test_is_the_function(form, data_format):
    layer = tf_roialign.RoIAlign(**SETTINGS, data_format=data_format)
    problem = cases.Problem(
        np.random.default_rng(1),
        form=form,
        data_format={"channels_last": "NHWC", "channels_first": "NCHW"}[data_format],
        ratio=2,
        scale=0.5,
        aligned=True,
    )
    arguments = problem.arguments()
    output = layer(problem.features, *arguments.values())
    assert cases.as_bytes(output) == cases.as_bytes(problem.run())
    assert layer.weights == []


def test_data_format_default_is_that_of_keras(image_data_format):
    features, dense, _ = data()
    assert tf_roialign.RoIAlign(2).data_format == keras.config.image_data_format()
    image_data_format("channels_first")
    layer = tf_roialign.RoIAlign(**SETTINGS)
    assert layer.data_format == "channels_first"
    image_data_format("channels_last")
    assert layer.data_format == "channels_first", "decided when the layer is made"
    first = tf.transpose(features, [0, 3, 1, 2])
    np.testing.assert_array_equal(layer(first, dense), expected(first, dense, "NCHW"))
    layer = tf_roialign.RoIAlign(**SETTINGS)
    np.testing.assert_array_equal(layer(features, dense), expected(features, dense))


def test_one_integer_is_a_square():
    layer = tf_roialign.RoIAlign(3)
    features, dense, _ = data()
    assert layer(features, dense).shape == (4, 3, 3, 3, 3)


def test_features_are_cast_and_boxes_are_not():
    features, dense, _ = data()
    layer = tf_roialign.RoIAlign(**SETTINGS)
    assert layer(tf.cast(features, "float64"), dense).dtype == tf.float32
    layer = tf_roialign.RoIAlign(**SETTINGS, dtype="float64")
    far = tf.cast(dense, "float64") + 1e-9
    output = layer(features, far)
    assert output.dtype == tf.float64
    np.testing.assert_array_equal(output, expected(tf.cast(features, "float64"), far))


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("form", cases.FORMS)
def test_boxes_stay_float32_in_mixed_precision(form, policy):
    """Beyond 2048 pixels 16 bits cannot tell one pixel from the next."""
    rng = np.random.default_rng(7)
    wide = tf.constant(rng.standard_normal((2, 4, 5000, 3)), tf.float32)
    boxes = (rng.uniform(0, 4, (6, 4)) + [3000, 0, 3006, 3]).astype("float32")
    arguments = cases.in_form(form, boxes, np.repeat([0, 1], 3), 2)
    layer = tf_roialign.RoIAlign((3, 2), aligned=True, dtype=policy)
    output = layer(wide, *arguments.values())
    half = tf.cast(wide, policy.removeprefix("mixed_"))
    assert output.dtype == half.dtype
    wanted = tf_roialign.roi_align(half, **arguments, output_size=(3, 2), aligned=True)
    assert cases.as_bytes(output) == cases.as_bytes(wanted)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("ragged", [False, True], ids=["dense", "ragged"])
def test_boxes_stay_float32_in_a_mixed_precision_model(ragged, policy):
    """Through a functional model, whose own casting must not touch them either."""
    rng = np.random.default_rng(7)
    wide = tf.constant(rng.standard_normal((2, 4, 5000, 3)), tf.float32)
    boxes = tf.constant(rng.uniform(0, 4, (2, 3, 4)) + [3000, 0, 3006, 3], tf.float32)
    if ragged:
        boxes = tf.RaggedTensor.from_row_lengths(tf.reshape(boxes, [6, 4])[:4], [3, 1])
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        images = keras.Input((None, None, 3))
        inputs = keras.Input((None, 4), ragged=ragged)
        output = tf_roialign.RoIAlign((3, 2), aligned=True)(images, inputs)
        model = keras.Model([images, inputs], output)
    finally:
        keras.config.set_dtype_policy(before)
    half = policy.removeprefix("mixed_")
    assert output.dtype == half
    wanted = tf_roialign.roi_align(tf.cast(wide, half), boxes, (3, 2), aligned=True)
    assert cases.as_bytes(model([wide, boxes])) == cases.as_bytes(wanted)


# --- Shapes before anything runs -----------------------------------------------------------


def test_compute_output_shape():
    last = tf_roialign.RoIAlign(**SETTINGS, data_format="channels_last")
    first = tf_roialign.RoIAlign(**SETTINGS, data_format="channels_first")
    for layer, features, bins in (
        (last, (2, 8, 9, 5), (3, 2, 5)),
        (first, (2, 5, 8, 9), (5, 3, 2)),
    ):
        for boxes, leading in (
            ((7, 5), (7,)),
            ((None, 5), (None,)),
            ((2, 6, 4), (2, 6)),
            ((None, None, 4), (2, None)),  # one row per image: as many as features
            ([(3, 4), (1, 4)], (4,)),
            ([(3, 4), (None, 4)], (None,)),
        ):
            assert tuple(layer.compute_output_shape(features, boxes)) == (*leading, *bins)
        assert tuple(layer.compute_output_shape(features, (7, 4), (7,))) == (7, *bins)


def test_compute_output_spec():
    features = keras.KerasTensor((None, 8, 9, 5), "float32")
    layer = tf_roialign.RoIAlign(**SETTINGS)

    def spec(boxes, *indices):
        result = layer.compute_output_spec(features, boxes, *indices)
        assert isinstance(result, keras.KerasTensor)
        return tuple(result.shape), result.dtype

    tensor = keras.KerasTensor
    assert spec(tensor((None, 5))) == ((None, 3, 2, 5), "float32")
    assert spec(tensor((7, 4)), tensor((7,), "int32")) == ((7, 3, 2, 5), "float32")
    assert spec(tensor((None, 6, 4))) == ((None, 6, 3, 2, 5), "float32")
    assert spec(tensor((None, None, 4))) == ((None, None, 3, 2, 5), "float32")
    assert spec([tensor((2, 4)), tensor((3, 4))]) == ((5, 3, 2, 5), "float32")
    # The raggedness of an Input is a flag of its KerasTensor.
    assert spec(keras.Input((None, 4), ragged=True)) == ((None, 3, 2, 5), "float32")
    layer = tf_roialign.RoIAlign(**SETTINGS, dtype="mixed_bfloat16")
    assert spec(tensor((None, 5)))[1] == "bfloat16"


@pytest.mark.parametrize("form", cases.FORMS)
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_symbolic_and_eager_calls_agree_on_shape_and_dtype(form, data_format):
    problem = cases.Problem(
        np.random.default_rng(2),
        form=form,
        data_format={"channels_last": "NHWC", "channels_first": "NCHW"}[data_format],
    )
    arguments = problem.arguments()
    layer = tf_roialign.RoIAlign(**SETTINGS, data_format=data_format)

    def symbol(tensor):
        if isinstance(tensor, tf.RaggedTensor):
            return keras.Input((None, 4), batch_size=tensor.shape[0], ragged=True)
        return keras.KerasTensor(tensor.shape, tensor.dtype.name)

    symbols = [
        [symbol(t) for t in value] if isinstance(value, list) else symbol(value)
        for value in arguments.values()
    ]
    promised = layer(keras.KerasTensor(problem.features.shape), *symbols)
    output = layer(problem.features, *arguments.values())
    assert promised.dtype == output.dtype.name
    static = tuple(None if form == "ragged" and i == 0 else d for i, d in enumerate(output.shape))
    assert tuple(promised.shape) == static


@pytest.mark.parametrize(
    "features, boxes, message",
    [
        ((None, None, 3), (None, 3), "`boxes` must have shape"),
        ((None, 3), (None, 4), "`features` must have shape"),
        ((None, None, 3), (), "`boxes` must have shape"),
        ((None, None, 3), (4,), "need `box_indices`"),
    ],
    ids=str,
)
def test_symbolic_calls_refuse_what_cannot_be(features, boxes, message):
    with pytest.raises(ValueError, match=message):
        tf_roialign.RoIAlign(2)(keras.Input(features), keras.Input(boxes))


@pytest.mark.parametrize("boxes", [(None, 3), (None, 5), (4,), (None, None, 4)], ids=str)
def test_symbolic_calls_refuse_ragged_boxes_of_another_shape(boxes):
    with pytest.raises(ValueError, match="`boxes` must be a RaggedTensor of shape"):
        tf_roialign.RoIAlign(2)(keras.Input((None, None, 3)), keras.Input(boxes, ragged=True))


def test_symbolic_calls_refuse_ragged_boxes_with_indices():
    boxes = keras.Input((None, 4), ragged=True)
    indices = keras.Input((), dtype="int32")
    with pytest.raises(ValueError, match="when `box_indices` is given, got a RaggedTensor"):
        tf_roialign.RoIAlign(2)(keras.Input((None, None, 3)), boxes, indices)


def test_symbolic_calls_refuse_ragged_boxes_of_another_batch():
    layer = tf_roialign.RoIAlign(2, data_format="channels_last")
    for images, rows in ((3, 3), (3, None), (None, 3)):
        features = keras.Input((8, 9, 5), batch_size=images)
        boxes = keras.Input((None, 4), batch_size=rows, ragged=True)
        assert tuple(layer(features, boxes).shape) == (None, 2, 2, 5)
    features = keras.Input((8, 9, 5), batch_size=3)
    boxes = keras.Input((None, 4), batch_size=2, ragged=True)
    with pytest.raises(ValueError, match=r"`boxes` must have one row per image \(3\), got 2"):
        layer(features, boxes)


# --- Configuration -------------------------------------------------------------------------


@pytest.mark.parametrize("data_format", [None, "channels_last", "channels_first"])
def test_config_round_trip(data_format):
    layer = tf_roialign.RoIAlign(
        [5, 4], 1 / 3, 3, True, data_format, name="pool", dtype="mixed_float16"
    )
    config = layer.get_config()
    again = tf_roialign.RoIAlign.from_config(config)
    assert again.get_config() == config
    assert config["name"] == "pool"
    for key, value in (
        ("output_size", (5, 4)),
        ("spatial_scale", 1 / 3),
        ("sampling_ratio", 3),
        ("aligned", True),
        ("data_format", data_format or "channels_last"),
    ):
        found = config[key]
        assert (tuple(found) if key == "output_size" else found) == value
    assert again.dtype_policy.name == "mixed_float16"
    text = keras.saving.serialize_keras_object(layer)
    assert text["registered_name"] == "tf_roialign>RoIAlign"
    assert keras.saving.deserialize_keras_object(text).get_config() == config


def test_positional_arguments_are_those_of_the_function():
    assert (
        tf_roialign.RoIAlign(7, 0.25, 2, True).get_config().items()
        >= {
            "spatial_scale": 0.25,
            "sampling_ratio": 2,
            "aligned": True,
        }.items()
    )
    config = tf_roialign.RoIAlign(7).get_config()
    assert (config["spatial_scale"], config["sampling_ratio"], config["aligned"]) == (
        1.0,
        -1,
        False,
    )


# --- Models --------------------------------------------------------------------------------


def functional(ragged, data_format="channels_last"):
    """Convolution, RoIAlign at half the scale, and a head that gives 4 numbers a box."""
    shape = (None, None, 3) if data_format == "channels_last" else (3, None, None)
    images = keras.Input(shape, name="images")
    boxes = keras.Input((None, 4), ragged=ragged, name="boxes")
    features = keras.layers.Conv2D(
        6, 3, strides=2, padding="same", activation="relu", data_format=data_format
    )(images)
    pooled = tf_roialign.RoIAlign(**SETTINGS, data_format=data_format, name="align")(
        features, boxes
    )
    if ragged:
        head = keras.layers.Flatten()(pooled)
    else:
        head = keras.layers.Reshape((-1, 3 * 2 * 6))(pooled)
    return keras.Model([images, boxes], keras.layers.Dense(4, name="scores")(head))


@pytest.mark.parametrize("ragged", [False, True], ids=["dense", "ragged"])
def test_functional_model(ragged):
    features, dense, rows = data()
    boxes = rows if ragged else dense
    model = functional(ragged)
    conv = next(layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D))
    head = model.get_layer("scores")
    pooled = tf_roialign.roi_align(conv(features), boxes, **SETTINGS)
    shape = [pooled.shape[0], -1] if ragged else [*pooled.shape[:2], -1]
    wanted = (tf.reshape(pooled, shape) @ head.kernel + head.bias).numpy()
    assert np.abs(wanted).max() > 0
    np.testing.assert_allclose(model([features, boxes]), wanted, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        model({"images": features, "boxes": boxes}), wanted, rtol=1e-5, atol=1e-6
    )
    # predict() cuts the images into batches, the boxes with them.
    got = model.predict([features, boxes], batch_size=2, verbose=0)
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("ragged", [False, True], ids=["dense", "ragged"])
def test_save_and_load(ragged, tmp_path):
    """A .keras file, without naming custom objects."""
    features, dense, rows = data()
    inputs = [features, rows if ragged else dense]
    model = functional(ragged)
    wanted = model.predict(inputs, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.get_layer("align").get_config() == model.get_layer("align").get_config()
    np.testing.assert_array_equal(loaded.predict(inputs, verbose=0), wanted)


@keras.saving.register_keras_serializable(package="tests")
class Detector(keras.Model):
    """A subclassed model of all box forms."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.conv = keras.layers.Conv2D(6, 3, strides=2, padding="same")
        self.align = tf_roialign.RoIAlign(**SETTINGS)
        self.score = keras.layers.Dense(4)

    def build(self, input_shape):
        images, *_ = input_shape
        self.conv.build(images)
        self.score.build((None, self.conv.filters))

    def call(self, inputs):
        images, *boxes = inputs
        pooled = self.align(self.conv(images), *boxes)
        return self.score(keras.ops.mean(pooled, axis=(-2, -3)))


def test_subclassed_model(tmp_path):
    features, dense, rows = data()
    model = Detector()
    flat = tf.reshape(dense, [-1, 4])
    indices = tf.repeat(tf.range(4), 3)
    wanted = model([features, flat, indices]).numpy()
    assert wanted.shape == (12, 4)
    np.testing.assert_array_equal(tf.reshape(model([features, dense]), wanted.shape), wanted)
    ragged = model([features, rows]).numpy()
    assert len(ragged) == rows.flat_values.shape[0]
    got = model.predict([features, dense], batch_size=3, verbose=0)
    np.testing.assert_allclose(got.reshape(wanted.shape), wanted, rtol=1e-5, atol=1e-6)

    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded([features, flat, indices]), wanted)


@pytest.mark.parametrize("jit_compile", ["auto", False])
def test_fit(jit_compile):
    """Training through the layer lowers the loss and moves the weights below it."""
    features, dense, _ = data(images=8, seed=3)
    model = functional(ragged=False)
    conv = next(layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D))
    before = conv.kernel.numpy()
    target = functional(ragged=False)([features, dense]).numpy()  # another model's answers
    model.compile(keras.optimizers.Adam(0.01), "mse", jit_compile=jit_compile)
    history = model.fit([features, dense], target, batch_size=4, epochs=15, verbose=0)
    losses = history.history["loss"]
    assert losses[-1] < 0.5 * losses[0]
    assert np.abs(conv.kernel.numpy() - before).max() > 1e-3


def test_fit_with_ragged_boxes():
    """One target per box: batches of images with as many targets as they have boxes."""
    features, _, rows = data(images=6, seed=5)
    model = functional(ragged=True)
    model.compile(keras.optimizers.Adam(0.01), "mse")
    batches = []
    for start in (0, 2, 4):
        boxes = rows[start : start + 2]
        target = np.full((int(boxes.flat_values.shape[0]), 4), 0.7, "float32")
        batches.append(((features[start : start + 2], boxes), target))

    def loss():
        return float(np.mean([np.mean((model(list(x)) - y) ** 2) for x, y in batches if len(y)]))

    first = loss()
    for _ in range(10):
        for x, y in batches:
            if len(y):
                model.train_on_batch(list(x), y)
    assert loss() < 0.7 * first


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_fit_in_mixed_precision(policy):
    features, dense, _ = data(images=8, seed=3)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        model = functional(ragged=False)
        target = np.random.default_rng(1).standard_normal((8, 3, 4)).astype("float32")
        model.compile(keras.optimizers.Adam(0.01), "mse")
        losses = model.fit([features, dense], target, epochs=15, verbose=0).history["loss"]
    finally:
        keras.config.set_dtype_policy(before)
    assert np.isfinite(losses).all()
    assert losses[-1] < 0.9 * losses[0]


def test_boxes_can_be_learnt():
    """The gradient goes through the layer to a variable of boxes."""
    rng = np.random.default_rng(11)
    features = tf.nn.avg_pool2d(rng.standard_normal((1, 30, 30, 4)).astype("float32"), 5, 1, "SAME")
    layer = tf_roialign.RoIAlign(4, sampling_ratio=2, aligned=True)
    goal = layer(features, tf.constant([[0.0, 8.0, 9.0, 20.0, 19.0]]))
    boxes = tf.Variable([[0.0, 7.0, 10.0, 19.0, 20.0]])
    losses = []
    for _ in range(200):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum((layer(features, boxes) - goal) ** 2)
        losses.append(float(loss))
        boxes.assign_sub(0.5 * tape.gradient(loss, boxes))
    assert losses[-1] < 0.05 * losses[0]
    np.testing.assert_allclose(boxes.numpy(), [[0, 8, 9, 20, 19]], atol=0.3)
