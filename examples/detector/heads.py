"""What is computed of the maps, and of what is pooled out of them, one row per box."""

import keras
from keras import layers

from .settings import CLASSES


def make_proposal_head(settings):
    """A map -> for each anchor of each cell, (the logit of an object, deltas of the box)."""
    features = keras.Input([None, None, settings.channels])
    anchors = len(settings.anchor_ratios)
    x = layers.Conv2D(settings.channels, 3, padding="same", activation="relu")(features)
    # float32 from here: these become coordinates.
    logits = layers.Conv2D(anchors, 1, dtype="float32")(x)
    deltas = layers.Conv2D(4 * anchors, 1, kernel_initializer=_small(), dtype="float32")(x)
    logits = layers.Reshape([-1], dtype="float32")(logits)
    deltas = layers.Reshape([-1, 4], dtype="float32")(deltas)
    return keras.Model(features, [logits, deltas], name="proposal_head")


def make_box_head(settings):
    """Pooled boxes `[K, 7, 7, C]` -> (logits of the classes and of "none", deltas of the box)."""
    pooled = keras.Input([settings.box_bins, settings.box_bins, settings.channels])
    x = layers.Conv2D(settings.channels, 3, padding="same", activation="relu")(pooled)
    x = layers.Flatten()(x)
    x = layers.Dense(192, activation="relu")(x)
    x = layers.Dense(192, activation="relu")(x)
    logits = layers.Dense(len(CLASSES) + 1, dtype="float32")(x)
    deltas = layers.Dense(4, kernel_initializer=_small(), dtype="float32")(x)
    return keras.Model(pooled, [logits, deltas], name="box_head")


def make_mask_head(settings):
    """Pooled boxes `[K, 14, 14, C]` -> a logit for each pixel and class, `[K, 28, 28, classes]`."""
    pooled = keras.Input([settings.mask_bins, settings.mask_bins, settings.channels])
    x = layers.Conv2D(settings.channels, 3, padding="same", activation="relu")(pooled)
    x = layers.Conv2D(settings.channels, 3, padding="same", activation="relu")(x)
    x = layers.Conv2DTranspose(settings.channels // 2, 2, strides=2, activation="relu")(x)
    logits = layers.Conv2D(len(CLASSES), 1, dtype="float32")(x)
    return keras.Model(pooled, logits, name="mask_head")


def _small():
    return keras.initializers.RandomNormal(stddev=0.01)
