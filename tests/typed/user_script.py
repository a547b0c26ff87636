"""What a user writes, with every public name: no type checker has anything to say about it.

test_typing.py also runs it.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import keras
import numpy as np
import tensorflow as tf

import tf_roialign
from tf_roialign import BoxModel, RoIAlign, raw_ops, roi_align
from tf_roialign.types import Boxes, DataFormat, KerasDataFormat, Mode, OutputSize, SpatialScale

if TYPE_CHECKING:
    from typing_extensions import assert_type
else:

    def assert_type(value, _):
        return value


def pool(
    features: tf.Tensor,
    boxes: Boxes,
    output_size: OutputSize = 7,
    spatial_scale: SpatialScale = 1 / 4,
    data_format: DataFormat = "NHWC",
    mode: Mode = "avg",
) -> tf.Tensor:
    return roi_align(
        features,
        boxes,
        output_size,
        spatial_scale,
        aligned=True,
        data_format=data_format,
        mode=mode,
    )


def functions(features: tf.Tensor, boxes: tf.Tensor, image_of_box: tf.Tensor) -> None:
    assert_type(pool(features, boxes), tf.Tensor)
    assert_type(roi_align(features, boxes[:, 1:], (7, 7), box_indices=image_of_box), tf.Tensor)
    # Every form of boxes, as tensors, arrays and numbers.
    ragged = tf.ragged.constant([[[1.0, 2, 8, 9]], []], ragged_rank=1, inner_shape=(4,))
    pool(features, ragged)
    pool(features, [boxes[:1, 1:], boxes[1:, 1:]])
    pool(features, ([[0.0, 0.0, 9.0, 9.0]], np.zeros([0, 4], np.float32)))
    pool(features, [[0, 1.0, 2.0, 8.0, 9.0]], tf.TensorShape([3, 4]), (1 / 4, 1 / 8))
    pool(features, np.zeros([2, 3, 4]))
    pool(tf.zeros([1, 5, 5, 2]), tf.constant([[0.0, 1, 2, 8, 9]]), [2, 3])

    pyramid = [features, features[:, ::2, ::2]]
    scales = [1 / 4, 1 / 8]
    pooled = tf_roialign.multiscale_roi_align(pyramid, boxes, 7, scales, levels=image_of_box)
    assert_type(pooled, tf.Tensor)

    codes = tf.cast(features, tf.int8)
    quantized = tf_roialign.quantized_roi_align(codes, boxes, 7, scale=0.5, zero_point=3)
    assert_type(quantized, tf.Tensor)
    quantized = tf_roialign.quantized_multiscale_roi_align(
        [codes, codes[:, ::2, ::2]], boxes, 7, scales, scale=tf.constant(0.5), zero_point=3
    )
    assert_type(quantized, tf.Tensor)

    flat, indices = tf_roialign.flatten_boxes(ragged)
    assert_type(flat, tf.Tensor)
    assert_type(indices, tf.Tensor)

    findings = tf_roialign.check_boxes(features, boxes, spatial_scale=1 / 4)
    for finding in findings:
        print(finding.code.upper(), finding.count + 1, finding.message)

    shape = tf.shape(features)
    attributes = {"output_size": [7, 7], "spatial_scale": 0.25}
    pooled = raw_ops.roi_align(features, boxes[:, 1:], image_of_box, **attributes)
    gradient = raw_ops.roi_align_grad(pooled, boxes[:, 1:], image_of_box, shape, **attributes)
    assert_type(gradient, tf.Tensor)


def layers(
    features: tf.Tensor, boxes: tf.Tensor, layout: KerasDataFormat = "channels_last"
) -> None:
    layer = RoIAlign(7, spatial_scale=1 / 4, aligned=True, data_format=layout, name="pool")
    assert_type(layer(features, boxes), tf.Tensor)
    assert_type(layer([features, boxes]), tf.Tensor)
    assert_type(layer({"features": features, "boxes": boxes}), tf.Tensor)
    names = ["p2", "p3"]
    pooler = tf_roialign.MultiScaleRoIAlign(names, 7, sampling_ratio=2, mode="max")
    pyramid = {"p2": features, "p3": features[:, ::2, ::2]}
    assert_type(pooler(pyramid, boxes, image_shapes=[(64, 80)]), tf.Tensor)


class Detector(tf_roialign.BoxTraining, keras.Model):  # type: ignore[misc, unused-ignore]
    """A model of one's own."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = RoIAlign(7, 1 / 4)
        self.dense = keras.layers.Dense(3)

    def call(self, inputs: tuple[tf.Tensor, tf.RaggedTensor]) -> tf.Tensor:
        features, boxes = inputs
        pooled = self.pool(features, boxes)
        logits: tf.Tensor = self.dense(tf.reshape(pooled, [-1, 7 * 7 * 3]))
        return logits


def models(features: tf.Tensor, path: str) -> None:
    images = keras.Input([None, None, 3], name="images")
    boxes = keras.Input([None, 4], ragged=True, name="boxes")
    maps = keras.layers.Conv2D(8, 4, strides=4)(images)
    pooled = RoIAlign(7, spatial_scale=1 / 4, aligned=True)(maps, boxes)
    logits = keras.layers.Dense(3)(keras.layers.Flatten()(pooled))
    model = BoxModel([images, boxes], logits)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss)
    ragged = tf.ragged.constant([[[1.0, 2, 30, 40]], [[5, 6, 50, 60]]], ragged_rank=1)
    labels = tf.ragged.constant([[0], [2]])
    data = tf.data.Dataset.from_tensors(((tf.ones([2, 64, 64, 3]), ragged), labels))
    history = model.fit(data, verbose=0)
    print(history.history["loss"])
    tf_roialign.export_saved_model(model, path)

    detector = Detector()
    detector.compile("sgd", loss)
    print(detector.predict(data, verbose=0))


def pictures(path: str) -> None:
    image = np.zeros([32, 40, 3], np.float32)
    figure = tf_roialign.draw(image, [4.0, 5, 24, 30], 3, 1 / 2, sampling_ratio=2, bin=(1, 2))
    figure.savefig(os.path.join(path, "call.png"))


def facts() -> None:
    print(tf_roialign.__version__.split("."), os.path.basename(tf_roialign.library_path()))
    memory: tf_roialign.KeptMemory = tf_roialign.kept_memory()
    print(memory.in_use + memory.waiting)
    tf_roialign.limit_kept_memory(memory.limit)


def main() -> None:
    features = tf.random.uniform([2, 16, 20, 3])
    boxes = tf.constant([[0.0, 1, 2, 30, 40], [1, 5, 6, 50, 60]])
    functions(features, boxes, tf.constant([0, 1]))
    layers(features, boxes)
    models(features, sys.argv[1])
    pictures(sys.argv[1])
    facts()


if __name__ == "__main__":
    main()
