"""Writes a SavedModel under one TensorFlow, or reads one that another has written.

    python exchange_saved_models.py write DIR
    python exchange_saved_models.py read DIR

A Keras model with convolutions before and after RoIAlign, and a function that returns its
gradients, with and without XLA; DIR also has their inputs and results.
"""

import os
import sys

import keras
import numpy as np
import tensorflow as tf

import tf_roialign


def make_model():
    keras.utils.set_random_seed(7)
    image = keras.Input([24, 32, 3])
    boxes = keras.Input([5, 4])
    features = keras.layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(image)
    pooled = tf_roialign.RoIAlign(4, spatial_scale=0.5, aligned=True)(features, boxes)
    return keras.Model([image, boxes], keras.layers.Dense(6)(pooled))


class Served(tf.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, 24, 32, 3], tf.float32),
            tf.TensorSpec([None, 5, 4], tf.float32),
        ]
    )
    def scores(self, image, boxes):
        return self.model([image, boxes])

    @tf.function(
        input_signature=[
            tf.TensorSpec([2, 9, 11, 8], tf.float32),
            tf.TensorSpec([3, 5], tf.float32),
        ]
    )
    def gradients(self, features, boxes):
        with tf.GradientTape() as tape:
            tape.watch([features, boxes])
            pooled = tf_roialign.roi_align(features, boxes, (3, 2), 0.5, mode="avg")
            loss = tf.reduce_sum(tf.square(pooled))
        return tape.gradient(loss, [features, boxes])


def inputs():
    rng = np.random.default_rng(1)

    def boxes(*shape):
        corners = rng.uniform(0, 20, (*shape, 2, 2))
        return np.sort(corners, -2).reshape(*shape, 4).astype(np.float32)

    return {
        "image": rng.standard_normal((2, 24, 32, 3)).astype(np.float32),
        "boxes": boxes(2, 5),
        "features": rng.standard_normal((2, 9, 11, 8)).astype(np.float32),
        "indexed": np.concatenate([[[0], [1], [1]], boxes(3)], 1).astype(np.float32),
    }


def results(served, data):
    gradients = tf.function(served.gradients, jit_compile=True)
    values = [served.scores(data["image"], data["boxes"])]
    values += served.gradients(data["features"], data["indexed"])
    values += gradients(data["features"], data["indexed"])
    return {f"result{i}": value.numpy() for i, value in enumerate(values)}


def main():
    command, directory = sys.argv[1:]
    data_file = os.path.join(directory, "data.npz")
    if command == "write":
        served, data = Served(make_model()), inputs()
        tf.saved_model.save(served, directory)
        np.savez(data_file, **data, **results(served, data))
        return
    with np.load(data_file) as data:
        got = results(tf.saved_model.load(directory), data)
        for name, value in got.items():
            np.testing.assert_allclose(value, data[name], rtol=1e-4, atol=1e-5, err_msg=name)


if __name__ == "__main__":
    main()
