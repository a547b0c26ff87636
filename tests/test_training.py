"""BoxModel and BoxTraining: labels that are ragged as the boxes are.

With several replicas: test_distribution_fit.py.
"""

import keras
import numpy as np
import programs
import pytest
import tensorflow as tf

import tf_roialign
from tf_roialign import training

LENGTHS = [2, 0, 1, 3]
COUNT = sum(LENGTHS)


def data():
    """Images, ragged boxes, and for each box a class, a target box and a weight."""
    random = np.random.default_rng(4)
    images = random.standard_normal((4, 16, 16, 3)).astype("float32")
    corners = random.uniform(0, 8, (COUNT, 2))
    boxes = np.concatenate([corners, corners + random.uniform(2, 8, (COUNT, 2))], 1)
    boxes, targets = boxes.astype("float32"), boxes[::-1].astype("float32")
    classes = random.integers(0, 3, COUNT)
    weights = random.uniform(size=COUNT).astype("float32")
    return images, boxes, classes, targets, weights


def ragged(values):
    return tf.RaggedTensor.from_row_lengths(values, LENGTHS)


def layers():
    keras.utils.set_random_seed(1)
    images = keras.Input([16, 16, 3])
    boxes = keras.Input([None, 4], ragged=True)
    pooled = tf_roialign.RoIAlign(3, aligned=True)(images, boxes)
    hidden = keras.layers.Flatten()(keras.layers.Conv2D(4, 2)(pooled))
    outputs = {"class": keras.layers.Dense(3)(hidden), "box": keras.layers.Dense(4)(hidden)}
    return [images, boxes], outputs


LOSSES = {"class": keras.losses.SparseCategoricalCrossentropy(from_logits=True), "box": "mse"}


def trained(model, labels, weights):
    """Weights and losses after some epochs."""
    images, boxes, *_ = data()
    model.compile(keras.optimizers.SGD(0.01), LOSSES, metrics={"class": "accuracy"})
    dataset = tf.data.Dataset.from_tensors(((images, ragged(boxes)), labels, weights))
    history = model.fit(dataset, epochs=3, verbose=0).history
    loss = model.evaluate(dataset, verbose=0, return_dict=True)
    return [*model.get_weights(), *history.values(), *loss.values()]


def assert_equal(got, expected):
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("kind", ["rows", "all_ragged", "dense"])
def test_ragged_labels_are_those_of_the_rows(kind):
    *_, classes, targets, weights = data()
    flat = {"class": classes, "box": targets}, {"class": weights, "box": weights}
    expected = trained(keras.Model(*layers()), *flat)
    given = flat
    if kind == "rows":
        given = tf.nest.map_structure(ragged, flat)
    elif kind == "all_ragged":  # what tf.ragged.constant makes of nested lists
        given = tf.nest.map_structure(
            lambda x: tf.ragged.constant(ragged(x).to_list(), x.dtype), flat
        )
        assert given[0]["box"].ragged_rank == 2
    assert_equal(trained(tf_roialign.BoxModel(*layers()), *given), expected)


def test_the_mixin():
    class Detector(tf_roialign.BoxTraining, keras.Model):
        def __init__(self):
            super().__init__()
            self.inner = keras.Model(*layers())

        def call(self, inputs):
            return self.inner(inputs)

    *_, classes, targets, weights = data()
    flat = {"class": classes, "box": targets}, {"class": weights, "box": weights}
    expected = trained(keras.Model(*layers()), *flat)
    assert_equal(trained(Detector(), *tf.nest.map_structure(ragged, flat)), expected)


def test_saved_and_made_of_another_model(tmp_path):
    images, boxes, classes, targets, _ = data()
    model = keras.Model(*layers())
    box_model = tf_roialign.BoxModel(model.input, model.output)
    labels = {"class": ragged(classes), "box": ragged(targets)}
    dataset = tf.data.Dataset.from_tensors(((images, ragged(boxes)), labels))
    box_model.compile("adam", LOSSES)
    box_model.fit(dataset, verbose=0)
    inputs = [tf.constant(images), ragged(boxes)]
    expected = model(inputs)["box"]
    np.testing.assert_array_equal(box_model.predict(dataset, verbose=0)["box"], expected)
    box_model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert isinstance(loaded, tf_roialign.BoxTraining)
    np.testing.assert_array_equal(loaded(inputs)["box"], expected)
    loss = box_model.fit(dataset, verbose=0).history["loss"]
    assert loaded.fit(dataset, verbose=0).history["loss"] == pytest.approx(loss)
    tf_roialign.export_saved_model(loaded, tmp_path / "served")


def test_a_batch_of_no_image():
    """tf.data gives its ragged values the shape [0]."""
    images, boxes, classes, targets, _ = data()
    labels = {"class": ragged(classes), "box": ragged(targets)}
    rows = tf.data.Dataset.from_tensor_slices(((images, ragged(boxes)), labels))

    @tf.function
    def next_rows(iterator):
        return training._flat(next(iterator))[1]

    iterator = iter(rows.batch(4).rebatch([3, 0, 1]))
    shapes = [tf.nest.map_structure(np.shape, next_rows(iterator)) for _ in range(3)]
    assert shapes == [{"class": (n,), "box": (n, 4)} for n in (3, 0, 3)]


@pytest.fixture(name="scope")
def one_replica():
    return tf.distribute.MirroredStrategy(["CPU:0"]).scope


def test_what_makes_variables_in_a_step(scope):
    with scope():
        model = tf_roialign.BoxModel(*layers())
        for metrics in (["accuracy"], {"class": "accuracy"}, [keras.losses.mean_squared_error]):
            with pytest.raises(ValueError, match="`metrics` must be objects under a strategy"):
                model.compile("sgd", LOSSES, metrics=metrics)
        with pytest.raises(ValueError, match="`weighted_metrics` must be objects"):
            model.compile("sgd", LOSSES, weighted_metrics=["mse"])

        class Unbuilt(tf_roialign.BoxTraining, keras.Model):
            def call(self, inputs):
                return inputs

        unbuilt = Unbuilt()
        unbuilt.compile("sgd", "mse")
    for method in (unbuilt.fit, unbuilt.evaluate):
        with pytest.raises(ValueError, match="must be called on a batch, in the strategy's scope"):
            method(np.zeros([2, 3]), np.zeros([2, 3]))


def test_compiled_again_outside(scope):
    """It stays on its replicas."""
    images, boxes, classes, targets, _ = data()
    labels = {"class": ragged(classes), "box": ragged(targets)}
    dataset = tf.data.Dataset.from_tensors(((images, ragged(boxes)), labels))
    with scope():
        model = tf_roialign.BoxModel(*layers())
        model.compile("sgd", LOSSES)
    for _ in range(2):
        with scope():
            optimizer = keras.optimizers.Adam()
        model.compile(optimizer, LOSSES)
        losses = model.fit(dataset, epochs=2, verbose=0).history["loss"]
        assert losses[1] < losses[0]
        assert np.isfinite(model.evaluate(dataset, verbose=0)).all()


def test_xla_under_a_strategy_is_not_taken_unasked(scope, monkeypatch):
    devices = [*tf.config.list_physical_devices(), tf.config.PhysicalDevice("/GPU:0", "GPU")]
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: devices)
    with scope():
        model = tf_roialign.BoxModel(*layers())
        model.compile("sgd", LOSSES)
    assert model.jit_compile is False


def test_ragged_tensors_as_they_are():
    """Not in a dataset: Keras cuts ragged tensors into batches by images, labels too."""
    images, boxes, classes, targets, _ = data()
    labels = {"class": ragged(classes), "box": ragged(targets)}
    inputs = [images, ragged(boxes)]
    model = tf_roialign.BoxModel(*layers())
    model.compile("sgd", LOSSES)
    batches = tf.data.Dataset.from_tensor_slices(((images, ragged(boxes)), labels)).batch(2)
    expected = model.evaluate(batches, verbose=0)
    assert model.evaluate(inputs, labels, batch_size=2, verbose=0) == pytest.approx(expected)
    losses = model.fit(inputs, labels, batch_size=2, epochs=3, verbose=0).history["loss"]
    assert losses[2] < losses[0]
    assert model.predict(inputs, batch_size=2, verbose=0)["box"].shape == (COUNT, 4)


@pytest.mark.parametrize("kind", ["dataset", "as_they_are"])
def test_class_weights_of_ragged_labels_are_refused(kind):
    """Keras would make them of labels that it pads."""
    images, boxes, classes, _, _ = data()
    inputs, outputs = layers()
    model = tf_roialign.BoxModel(inputs, outputs["class"])
    model.compile("sgd", LOSSES["class"])
    given = ([images, ragged(boxes)], ragged(classes))
    if kind == "dataset":
        given = (tf.data.Dataset.from_tensors(((images, ragged(boxes)), ragged(classes))),)
    with pytest.raises(ValueError, match="`class_weight` needs labels that are not ragged"):
        model.fit(*given, class_weight={0: 1.0, 1: 2.0, 2: 3.0})


def test_inside_another_model():
    inner = tf_roialign.BoxModel(*layers())
    images, boxes = keras.Input([16, 16, 3]), keras.Input([None, 4], ragged=True)
    outer = tf_roialign.BoxModel([images, boxes], inner([images, boxes]))
    *_, classes, targets, weights = data()
    flat = {"class": classes, "box": targets}, {"class": weights, "box": weights}
    expected = trained(keras.Model(*layers()), *flat)
    assert_equal(trained(outer, *tf.nest.map_structure(ragged, flat)), expected)


def test_compile_takes_keras_order():
    model = tf_roialign.BoxModel(*layers())
    model.compile("sgd", LOSSES, None, None, None, True)
    assert model.run_eagerly and not model.jit_compile


def test_several_outputs_on_two_replicas():
    """Each loss has a mean of its own, whose variables have to be there before the step."""
    program = """
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import keras, test_training, tf_roialign
from test_training import ragged

class Subclassed(tf_roialign.BoxTraining, keras.Model):
    def __init__(self):
        super().__init__()
        self.inner = keras.Model(*test_training.layers())

    def call(self, inputs):
        outputs = self.inner(inputs)
        return [outputs["class"], outputs["box"]]

images, boxes, classes, targets, _ = test_training.data()
inputs = (images, ragged(boxes))
labels = {"class": ragged(classes), "box": ragged(targets)}
losses = test_training.LOSSES
listed = [labels["class"], labels["box"]], [losses["class"], losses["box"]]
for kind in ("functional", "subclassed"):
    with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
        if kind == "functional":
            model = tf_roialign.BoxModel(*test_training.layers())
        else:
            model = Subclassed()
            model([tf.constant(images), ragged(boxes)])
            labels, losses = listed
            labels = tuple(labels)
        model.compile(keras.optimizers.SGD(0.001), losses)
    rows = tf.data.Dataset.from_tensor_slices((inputs, labels)).batch(4)
    history = model.fit(rows, epochs=3, verbose=0).history
    losses_of = model.evaluate(rows, verbose=0)
    print(len(history), history["loss"][2] < history["loss"][0], len(losses_of))
"""
    assert programs.run(program).stdout.splitlines() == ["3 True 3", "3 True 3"]
