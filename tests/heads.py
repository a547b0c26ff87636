"""Models with the heads that detectors have behind RoIAlign, for the tests of serving."""

import keras
import numpy as np
import tensorflow as tf

import tf_roialign

STRIDE = 2
CLASSES = ["ant", "bee", "cat", "dog"]
SPECS = {
    "images": tf.TensorSpec([None, None, None, 3]),
    "boxes": tf.RaggedTensorSpec([None, None, 4], ragged_rank=1),
}

layers = keras.layers


def request(images=3, lengths=(4, 0, 2), seed=5):
    """Inputs of the signature of ragged boxes."""
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, 14, (sum(lengths), 2))
    return {
        "images": rng.standard_normal((images, 20, 24, 3)).astype("float32"),
        "boxes": np.concatenate([corners, corners + rng.uniform(1, 9, corners.shape)], 1).astype(
            "float32"
        ),
        "boxes_row_lengths": np.array(lengths),
    }


def pooled(images, boxes, size=6):
    features = layers.Conv2D(8, 3, strides=STRIDE, padding="same")(images)
    features = layers.ReLU()(layers.BatchNormalization()(features))
    return tf_roialign.RoIAlign(size, 1 / STRIDE, aligned=True)(features, boxes)


def faster_rcnn(rois):
    hidden = layers.Dense(16, activation="relu")(layers.Flatten()(rois))
    return {
        "scores": layers.Dense(len(CLASSES), activation="softmax")(hidden),
        "deltas": layers.Reshape([len(CLASSES), 4])(layers.Dense(4 * len(CLASSES))(hidden)),
    }


def mask_rcnn(rois):
    for _ in range(2):
        rois = layers.Conv2D(8, 3, padding="same", use_bias=False)(rois)
        rois = layers.ReLU()(layers.BatchNormalization()(rois))
    rois = layers.Conv2DTranspose(8, 2, strides=2, activation="relu")(rois)
    return layers.Conv2D(len(CLASSES), 1, activation="sigmoid")(rois)


def convolution(rois):
    return layers.Conv2D(5, 3)(rois)


def pools(rois):
    rois = layers.MaxPooling2D()(layers.SeparableConv2D(8, 3, padding="same")(rois))
    rois = layers.UpSampling2D()(layers.AveragePooling2D(2, padding="same")(rois))
    return layers.GlobalAveragePooling2D()(layers.GroupNormalization(4)(rois))


def several(rois):
    return [faster_rcnn(rois)["scores"], mask_rcnn(rois)]


def functional(head):
    images = keras.Input([None, None, 3], name="images")
    boxes = keras.Input([None, 4], ragged=True, name="boxes")
    return _moved(keras.Model([images, boxes], head(pooled(images, boxes))))


def _moved(model):
    """With moving averages that are not those of a new model."""
    rng = np.random.default_rng(1)
    for variable in model.variables:
        if "moving" in variable.path:
            low, high = (0.5, 1.5) if "variance" in variable.path else (-0.1, 0.1)
            variable.assign(rng.uniform(low, high, variable.shape))
    return model


class Subclassed(keras.Model):
    """Takes a dict, and does something else in training."""

    def __init__(self):
        super().__init__()
        self.conv = layers.Conv2D(8, 3, strides=STRIDE, padding="same")
        self.roi_align = tf_roialign.RoIAlign(6, 1 / STRIDE)
        self.norm = layers.BatchNormalization()
        self.up = layers.Conv2DTranspose(4, 2, strides=2)
        self.dropout = layers.Dropout(0.5)

    def call(self, inputs, training=False):
        rois = self.roi_align(self.conv(inputs["images"]), inputs["boxes"])
        rois = self.up(self.norm(rois, training=training))
        return {"masks": self.dropout(rois, training=training)}


class Detector(tf.Module):
    """Owns a Keras model, a table of names, and a count of requests."""

    def __init__(self):
        super().__init__()
        self.model = functional(faster_rcnn)
        self.requests = tf.Variable(0)

    def __call__(self, images, boxes):
        self.requests.assign_add(1)
        outputs = self.model([images, boxes], training=False)
        best = tf.argmax(outputs["scores"], axis=-1)
        return {**outputs, "names": NAMES.lookup(best)}

    def masks(self, images, boxes):
        return self.model([images, boxes])["deltas"]


# Hangs in no object: a graph is all that knows of it.
NAMES = tf.lookup.StaticHashTable(
    tf.lookup.KeyValueTensorInitializer(tf.range(len(CLASSES), dtype=tf.int64), CLASSES), "?"
)


def preprocessing(vocabulary):
    """Layers with a state that is no weight: statistics, and a table out of a file."""
    images = keras.Input([None, None, 3], name="images")
    boxes = keras.Input([None, 4], ragged=True, name="boxes")
    tags = keras.Input([], dtype="string", name="tags")
    normalization = layers.Normalization(mean=[0.1, 0.2, 0.3], variance=[1.5, 2.0, 0.5])
    adapted = layers.Normalization()
    adapted.adapt(request()["images"])
    rois = pooled(adapted(normalization(images)), boxes, 2)
    ids = layers.StringLookup(vocabulary=str(vocabulary))(tags)
    hashed = layers.Hashing(num_bins=7)(tags)
    outputs = {"rois": convolution(layers.ZeroPadding2D()(rois)), "ids": ids, "hashed": hashed}
    return _moved(keras.Model([images, boxes, tags], outputs))


def make(name, folder):
    """(model, `inputs` of `export_saved_model`, what the request has besides)."""
    keras.utils.set_random_seed(3)
    if name == "preprocessing":
        vocabulary = folder / "vocabulary.txt"
        vocabulary.write_text("sun\nrain\nsnow\n")
        return preprocessing(vocabulary), None, {"tags": np.array([b"rain", b"fog", b"snow"])}
    if name == "subclassed":
        model = Subclassed()
        model.build({"images": (None, None, None, 3), "boxes": (None, None, 4)})
        return _moved(model), SPECS, {}
    if name == "module":
        return Detector(), SPECS, {}
    if name == "bound_method":
        return Detector().masks, SPECS, {}
    return functional(HEADS[name]), None, {}


HEADS = {f.__name__: f for f in (convolution, faster_rcnn, mask_rcnn, pools, several)}
ALL = [*HEADS, "subclassed", "module", "bound_method", "preprocessing"]
