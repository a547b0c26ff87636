"""Keras' jit_compile="auto" takes XLA only where the number of boxes cannot change."""

import warnings

import keras
import pytest
import tensorflow as tf

import tf_roialign
from tf_roialign.library import build_info, xla_problem

if xla_problem is not None:
    pytest.skip("the package was built without its part for XLA", allow_module_level=True)
if build_info.CUDA is None and tf.test.is_built_with_gpu_support():
    pytest.skip("the package was built without kernels for a GPU", allow_module_level=True)

COUNTS = {  # (boxes, box_indices, images of the batch): whether the number of boxes is fixed
    "ragged": (lambda: (keras.Input([None, 4], ragged=True),), False),
    "dense_any": (lambda: (keras.Input([None, 4]),), False),
    "dense": (lambda: (keras.Input([5, 4]),), True),
    "indexed_any": (lambda: (keras.Input([5]),), False),
    "indexed": (lambda: (keras.Input(batch_shape=(7, 5)),), True),
    "box_indices_any": (lambda: (keras.Input([4]), keras.Input([], dtype="int32")), False),
    "list_any": (lambda: ([keras.Input([4]), keras.Input([4])],), False),
    "list": (lambda: ([keras.Input(batch_shape=(n, 4)) for n in (3, 0)],), False),
}


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.roi_align = tf_roialign.RoIAlign(2, data_format="channels_last")
        self.dense = keras.layers.Dense(2)

    def call(self, inputs):
        return self.dense(self.roi_align(inputs))


@pytest.fixture(autouse=True)
def a_gpu(monkeypatch):
    """Keras looks at the list of devices, and takes XLA where one of them is no CPU."""
    devices = [
        *tf.config.list_physical_devices("CPU"),
        tf.config.PhysicalDevice("/physical_device:GPU:0", "GPU"),
    ]
    monkeypatch.setattr(
        tf.config,
        "list_physical_devices",
        lambda kind=None: [d for d in devices if kind in (None, d.device_type)],
    )


def functional(form):
    boxes, _ = COUNTS[form]
    features = keras.Input([8, 9, 3], batch_size=2 if form.startswith("list") else None)
    boxes = boxes()
    pooled = tf_roialign.RoIAlign(2, data_format="channels_last")(features, *boxes)
    return keras.Model([features, *tf.nest.flatten(boxes)], keras.layers.Dense(2)(pooled))


def choices(model):
    """(unasked, asked) choices of Keras."""
    model.compile("sgd", "mse")
    auto = model.jit_compile
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Keras warns where it does not do what it was told
        model.compile("sgd", "mse", jit_compile=True)
    return auto, model.jit_compile


def roi_layer(model):
    return next(x for x in model._flatten_layers() if isinstance(x, tf_roialign.RoIAlign))


@pytest.mark.parametrize("form", COUNTS)
def test_functional(form, tmp_path):
    is_fixed = COUNTS[form][1]
    model = functional(form)
    assert choices(model) == (is_fixed, True)
    assert roi_layer(model).supports_jit is is_fixed
    assert functional(form).jit_compile is is_fixed, "without compile(), as for predict()"
    model.save(tmp_path / "model.keras")
    assert choices(keras.models.load_model(tmp_path / "model.keras")) == (is_fixed, True)


def test_one_layer_in_two_models():
    """Fixed in one place, and not in the other."""
    layer = tf_roialign.RoIAlign(2, data_format="channels_last")
    features = keras.Input([8, 9, 3])
    layer(features, keras.Input([5, 4]))
    assert layer.supports_jit
    layer(features, keras.Input([None, 4]))
    layer(features, keras.Input([5, 4]))
    assert not layer.supports_jit


@pytest.mark.parametrize("state", ["new", "called", "fitted"])
def test_subclassed(state):
    """It may get other boxes with the next batch, so nothing is known."""
    model = Subclassed()
    features, boxes = tf.zeros([2, 8, 9, 3]), tf.zeros([3, 5])
    if state == "called":
        model([features, boxes])
    if state == "fitted":
        model.compile("sgd", "mse", jit_compile=False)
        model.fit(
            tf.data.Dataset.from_tensors(((features, boxes), tf.zeros([3, 2, 2, 2]))), verbose=0
        )
    assert choices(model) == (False, True)


def test_shapes_are_no_call():
    layer = tf_roialign.RoIAlign(2)
    layer.compute_output_shape((2, 8, 9, 3), (7, 5))
    assert not layer.supports_jit


def test_a_user_may_say_no_before_any_call():
    layer = tf_roialign.RoIAlign(2, data_format="channels_last")
    layer.supports_jit = False
    layer(keras.Input([8, 9, 3]), keras.Input([5, 4]))
    assert layer.supports_jit is False


def test_a_user_may_say_no():
    model = functional("dense")
    roi_layer(model).supports_jit = False
    model.compile("sgd", "mse")
    assert model.jit_compile is False
    assert roi_layer(model).supports_jit is False


def test_fit_with_the_xla_that_was_asked_for():
    model = functional("ragged")
    model.compile("sgd", "mse", jit_compile=True)
    boxes = tf.RaggedTensor.from_row_lengths([[0.0, 0, 5, 5], [1, 2, 3, 4], [0, 1, 7, 7]], [1, 2])
    labels = tf.ones([3, 2, 2, 2])
    batches = tf.data.Dataset.from_tensors(((tf.ones([2, 8, 9, 3]), boxes), labels))
    with tf.device("CPU:0"):
        loss = model.fit(batches, epochs=3, verbose=0).history["loss"]
    assert model.jit_compile and loss[2] < loss[0]
