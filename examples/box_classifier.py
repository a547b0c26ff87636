"""A small convolutional network that says which object is in a box."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers

import tf_roialign

STRIDE = 4  # image pixels per feature pixel
WINDOW = 320  # height and width of the training images
JITTER = 0.15  # how far a training box is off, relative to its size


def make_features():
    """Images in [0, 1] -> features of stride 4.

    The first three channels are the colours, so that pooled features can be looked at; the
    others are convolutions. Average pooling, unlike a strided convolution with "same"
    padding, keeps the centre of each feature where `aligned=True` takes it to be.
    """
    image = keras.Input([None, None, 3])
    colours = layers.AveragePooling2D(STRIDE)(image)
    x = layers.Conv2D(16, 3, padding="same", activation="relu")(image)
    x = layers.AveragePooling2D(2)(x)
    x = layers.Conv2D(16, 3, padding="same", activation="relu")(x)
    x = layers.AveragePooling2D(2)(x)
    return keras.Model(image, layers.Concatenate()([colours, x]), name="features")


def make_model(num_classes):
    """(images, ragged boxes) -> one row of logits per box; compiled."""
    images = keras.Input([None, None, 3], name="images")
    boxes = keras.Input([None, 4], ragged=True, name="boxes")
    x = make_features()(images)
    x = tf_roialign.RoIAlign(7, spatial_scale=1 / STRIDE, sampling_ratio=2, aligned=True)(x, boxes)
    x = layers.Flatten()(x)
    x = layers.Dense(32, activation="relu")(x)
    model = keras.Model([images, boxes], layers.Dense(num_classes)(x), name="box_classifier")
    model.compile(
        optimizer=keras.optimizers.Adam(1e-3),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


def make_dataset(photograph, objects, seed, num_images=96, batch_size=4):
    """Random windows of the photograph with jittered boxes around the objects in them.

    Returns batches `((images, boxes), labels)`: boxes ragged `[N, (L), 4]`, and labels
    `[K]` with one row per box, as the model's output has.
    """
    random = np.random.default_rng(seed)
    windows = [_make_window(photograph, np.array(objects), random) for _ in range(num_images)]
    images, boxes, labels = zip(*windows, strict=True)
    lengths = [len(entry) for entry in labels]
    dataset = tf.data.Dataset.from_tensor_slices(
        (
            np.stack(images),
            tf.RaggedTensor.from_row_lengths(np.concatenate(boxes), lengths),
            tf.RaggedTensor.from_row_lengths(np.concatenate(labels), lengths),
        )
    )
    return dataset.batch(batch_size).map(
        lambda images, boxes, labels: ((images, boxes), labels.values)
    )


def _make_window(photograph, objects, random):
    """One window, the boxes whose centres are in it, and the numbers of their objects."""
    height, width, _ = photograph.shape
    top, left = random.integers(0, [height - WINDOW + 1, width - WINDOW + 1])
    sizes = np.tile(objects[:, 2:] - objects[:, :2], 2)
    boxes = objects + random.uniform(-JITTER, JITTER, objects.shape) * sizes
    boxes -= [left, top, left, top]
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    (labels,) = np.nonzero(((centres > 0) & (centres < WINDOW)).all(axis=1))
    window = photograph[top : top + WINDOW, left : left + WINDOW]
    return window, boxes[labels].astype(np.float32), labels
