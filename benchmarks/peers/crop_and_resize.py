"""`tf.image.crop_and_resize` and average pooling: TensorFlow's own means.

RoIAlign with g samples per bin is a crop at g times the size whose samples fall on
RoIAlign's, and then the mean of g x g. They differ on the map's rim, where RoIAlign
clamps coordinates and crop_and_resize does not; adaptive sampling is out of reach.
"""

import numpy as np
import tensorflow as tf

from peers import base
from peers.tensorflow_base import TensorFlowPeer, TensorFlowProblem


def crop_boxes(workload):
    """Boxes (y1, x1, y2, x2) over the map's size minus 1: the first and the last sample."""
    _, _, height, width = workload.input_shape
    grid = workload.sampling_ratio
    coordinates = workload.rois[:, 1:].astype(np.float64) * workload.spatial_scale
    coordinates -= 0.5 * workload.aligned
    bounds = []
    for axis, (length, bins) in enumerate(
        [(width, workload.output_size[1]), (height, workload.output_size[0])]
    ):
        start, end = coordinates[:, axis], coordinates[:, axis + 2]
        extent = end - start if workload.aligned else np.maximum(end - start, 1)
        half_a_sample = 0.5 * extent / (bins * grid)
        bounds.append((start + half_a_sample) / (length - 1))
        bounds.append((start + extent - half_a_sample) / (length - 1))
    x1, x2, y1, y2 = bounds
    return np.stack([y1, x1, y2, x2], axis=1).astype(np.float32)


class Problem(TensorFlowProblem):
    def case(self, op, dtype, layout):
        workload = self.workload
        grid = workload.sampling_ratio
        if grid <= 0:
            raise base.Unsupported("no adaptive sampling")
        if dtype == "bfloat16":
            raise base.Unsupported("crop_and_resize takes no bfloat16")
        features = self.features(dtype, layout)
        boxes = tf.constant(crop_boxes(workload))
        images = tf.constant(workload.images)
        crop_size = [bins * grid for bins in workload.output_size]

        def forward(features, boxes):
            # Whatever the features' dtype, the crops are float32.
            crops = tf.image.crop_and_resize(features, boxes, images, crop_size)
            return tf.nn.avg_pool2d(crops, grid, grid, "VALID")

        if op == base.FORWARD:
            return lambda: forward(features, boxes)
        if op == base.FUNCTION:
            function = tf.function(forward, autograph=False)
            return lambda: function(features, boxes)

        upstream = self.upstream("float32", layout)
        if op == base.GRADIENT:
            crops_shape = [len(workload.rois), *crop_size, features.shape[-1]]
            image_size = tf.shape(features)

            def gradient():
                grad_crops = tf.raw_ops.AvgPoolGrad(
                    orig_input_shape=crops_shape,
                    grad=upstream,
                    ksize=[1, grid, grid, 1],
                    strides=[1, grid, grid, 1],
                    padding="VALID",
                )
                return tf.raw_ops.CropAndResizeGradImage(
                    grads=grad_crops,
                    boxes=boxes,
                    box_ind=images,
                    image_size=image_size,
                    T=features.dtype,
                )

            return gradient
        if op == base.BOTH:
            return lambda: both(forward, features, boxes, upstream)
        raise base.Unsupported(op)


def both(forward, features, boxes, upstream):
    with tf.GradientTape() as tape:
        tape.watch(features)
        output = forward(features, boxes)
    return tape.gradient(output, features, output_gradients=upstream)


class Peer(TensorFlowPeer):
    ops = (base.FORWARD, base.GRADIENT, base.BOTH, base.FUNCTION)
    problem_type = Problem
