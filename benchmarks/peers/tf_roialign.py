"""This project."""

import numpy as np
import tensorflow as tf

import tf_roialign
from peers import SIMD_LEVEL, base
from peers.tensorflow_base import TensorFlowPeer, TensorFlowProblem
from tf_roialign.library import simd_level


def op_attributes(workload, layout):
    return {
        "output_size": workload.output_size,
        "spatial_scale": workload.spatial_scale,
        "sampling_ratio": workload.sampling_ratio,
        "aligned": workload.aligned,
        "data_format": layout,
    }


class Problem(TensorFlowProblem):
    def __init__(self, workload):
        super().__init__(workload)
        self.boxes = tf.constant(workload.rois)
        self.box_indices = tf.zeros([0], tf.int32)  # they are in the boxes

    def _features(self, dtype, layout):
        features = super()._features("float32" if dtype == "int8" else dtype, layout)
        if dtype != "int8":
            return features
        return tf.cast(tf.round(features / self._scale(features)), tf.int8)

    def _scale(self, features):
        """Of int8 codes with the zero point 0."""
        self.scale = float(tf.reduce_max(tf.abs(features))) / 127
        return self.scale

    def to_numpy(self, result):
        values = super().to_numpy(result)
        return values * np.float32(self.scale) if result.dtype == tf.int8 else values

    def case(self, op, dtype, layout):
        workload = self.workload
        features, boxes, box_indices = self.features(dtype, layout), self.boxes, self.box_indices
        attributes = op_attributes(workload, layout)

        if dtype == "int8":
            if op != base.FORWARD:
                raise base.Unsupported(op)
            quantization = {"scale": tf.constant(self.scale), "zero_point": tf.constant(0)}
            return lambda: tf_roialign.quantized_roi_align(
                features, boxes, **quantization, **attributes
            )

        def forward(features, boxes):
            return tf_roialign.roi_align(features, boxes, **attributes)

        if op == base.FORWARD:
            return lambda: forward(features, boxes)
        if op == base.FUNCTION:
            function = tf.function(forward, autograph=False)
            return lambda: function(features, boxes)
        raw = tf_roialign.raw_ops
        if op == base.RAW:
            return lambda: raw.roi_align(features, boxes, box_indices, **attributes)

        upstream = self.upstream(dtype, layout)
        if op == base.GRADIENT:
            shape = tf.shape(features, out_type=tf.int64)
            return lambda: raw.roi_align_grad(upstream, boxes, box_indices, shape, **attributes)
        if op == base.BOX_GRADIENT:
            return lambda: raw.roi_align_boxes_grad(
                upstream, features, boxes, box_indices, **attributes
            )
        if op == base.BOTH:
            return lambda: both(forward, features, boxes, upstream)
        raise base.Unsupported(op)


def both(forward, features, boxes, upstream):
    with tf.GradientTape() as tape:
        tape.watch(features)
        output = forward(features, boxes)
    return tape.gradient(output, features, output_gradients=upstream)


class PyramidProblem(TensorFlowProblem):
    """Several maps in one op, in float32 and NHWC."""

    def case(self, op, dtype, layout):
        workload = self.workload
        features = [self.features(dtype, layout) + each for each in range(workload.maps)]
        attributes = op_attributes(workload, layout)
        scales = tf.constant(attributes.pop("spatial_scale"), tf.float64, [workload.maps, 2])
        levels = tf.range(len(workload.rois)) % workload.maps
        call = (tf.constant(workload.rois), tf.zeros([0], tf.int32), levels, scales)
        raw = tf_roialign.raw_ops
        if op == base.FORWARD:
            return lambda: raw.multi_scale_roi_align(features, *call, **attributes)
        if op == base.GRADIENT:
            upstream = self.upstream(dtype, layout)
            shapes = [tf.shape(each, out_type=tf.int64) for each in features]
            return lambda: raw.multi_scale_roi_align_grad(upstream, *call, shapes, **attributes)[-1]
        raise base.Unsupported(op)


class Peer(TensorFlowPeer):
    packages = ("tf_roialign", *TensorFlowPeer.packages)
    layouts = ("NHWC", "NCHW")
    ops = (*base.OPS, base.RAW, base.FUNCTION)
    facts = {SIMD_LEVEL: simd_level()}

    def load(self, workload):
        return (PyramidProblem if workload.maps > 1 else Problem)(workload)
