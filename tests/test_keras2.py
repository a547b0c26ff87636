"""Models of Keras 2 (tf_keras): they run and export with a layer of their own around the op."""

import heads
import numpy as np
import pytest
import tensorflow as tf

import tf_roialign

tf_keras = pytest.importorskip("tf_keras", reason="tf_keras, which is Keras 2, is not installed")
layers = tf_keras.layers


class Pool(layers.Layer):
    def call(self, features, boxes):
        return tf_roialign.roi_align(features, boxes, 6, 1 / 2, aligned=True)


def head(images, rois):
    hidden = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(8, 3, padding="same")(rois)))
    return {
        "masks": layers.Conv2DTranspose(4, 2, strides=2)(hidden),
        "scores": layers.Dense(3)(layers.Flatten()(hidden)),
        "context": layers.GlobalAveragePooling2D()(images),
    }


def functional(pool, names=("images", "boxes")):
    images = tf_keras.Input([None, None, 3], name=names[0])
    boxes = tf_keras.Input([None, 4], ragged=True, name=names[1])
    features = layers.BatchNormalization()(layers.Conv2D(8, 3, strides=2)(images))
    return tf_keras.Model([images, boxes], head(images, pool(features, boxes)))


class Subclassed(tf_keras.Model):
    """With the layer of Keras 3, which has no weights for Keras 2 to find."""

    def __init__(self):
        super().__init__()
        self.conv = layers.Conv2D(8, 3, strides=2)
        self.roi_align = tf_roialign.RoIAlign(6, 1 / 2, data_format="channels_last")
        self.head = layers.Conv2D(4, 3)

    def call(self, inputs):
        return self.head(self.roi_align(self.conv(inputs["images"]), inputs["boxes"]))


def request():
    return {name: tf.constant(value) for name, value in heads.request().items()}


def ragged(request):
    return tf.RaggedTensor.from_row_lengths(request["boxes"], request["boxes_row_lengths"])


@pytest.mark.parametrize("named", [True, False], ids=["named", "numbered"])
@pytest.mark.parametrize("kind", ["layer", "lambda"])
def test_functional_models_export(tmp_path, kind, named):
    pool = Pool() if kind == "layer" else lambda *x: layers.Lambda(lambda y: Pool()(*y))(x)
    model = functional(pool, ("images", "boxes") if named else (None, None))
    tf_roialign.export_saved_model(model, tmp_path)
    given = request()
    expected = model([given["images"], ragged(given)])
    if not named:
        given = {
            name.replace("images", "input_0").replace("boxes", "input_1"): value
            for name, value in given.items()
        }
    loaded = tf.saved_model.load(str(tmp_path))
    got = loaded.signatures["serving_default"](**given)
    assert sorted(got) == ["context", "masks", "scores"]
    for name, value in got.items():
        np.testing.assert_array_equal(value, expected[name], name)


def test_subclassed_models_run_train_and_export(tmp_path):
    model, given = Subclassed(), request()
    inputs = {"images": given["images"], "boxes": ragged(given)}
    before = model(inputs)
    model.compile("sgd", "mse")
    labels = tf.zeros([6, 4, 4, 4])
    model.fit(tf.data.Dataset.from_tensors((inputs, labels)), epochs=2, verbose=0)
    after = model(inputs)
    assert np.abs(after).sum() < np.abs(before).sum()
    symbols = {
        "images": tf_keras.Input([None, None, 3]),
        "boxes": tf_keras.Input([None, 4], ragged=True),
    }
    tf_roialign.export_saved_model(model, tmp_path, symbols)
    loaded = tf.saved_model.load(str(tmp_path))
    got = loaded.signatures["serving_default"](**given)["output_0"]
    np.testing.assert_array_equal(got, after)


def test_the_function_in_a_functional_model():
    """Keras 2 makes layers of TensorFlow's functions, for boxes that are not ragged."""
    images, boxes = tf_keras.Input([8, 9, 3]), tf_keras.Input([5, 4])
    model = tf_keras.Model([images, boxes], tf_roialign.roi_align(images, boxes, 2))
    features, values = tf.random.normal([2, 8, 9, 3]), tf.random.uniform([2, 5, 4], 0, 8)
    np.testing.assert_array_equal(
        model([features, values]), tf_roialign.roi_align(features, values, 2)
    )
    with pytest.raises(TypeError, match="got a ragged symbolic input of a Keras 2"):
        tf_roialign.roi_align(images, tf_keras.Input([None, 4], ragged=True), 2)


def test_the_layer_in_a_functional_model():
    message = r"`RoIAlign` is a Keras 3 layer, got the symbolic input of a Keras 2 \(tf_keras\)"
    for is_ragged in (False, True):
        boxes = tf_keras.Input([None, 4], ragged=is_ragged)
        with pytest.raises(TypeError, match=message):
            tf_roialign.RoIAlign(2)(tf_keras.Input([8, 9, 3]), boxes)
