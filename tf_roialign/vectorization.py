"""Registers how `tf.vectorized_map` and `tf.GradientTape.jacobian` vectorise the ops.

A loop over P calls becomes one call on P times the boxes, and on P times the images where
each iteration has features of its own. The registry is no public part of TensorFlow: where
it is not found, TensorFlow runs a `while_loop` instead, which is slower.
"""

import tensorflow as tf

from tf_roialign import op_defs, raw_ops
from tf_roialign.library import register_once
from tf_roialign.op_defs import attributes_of, index_of

try:
    from tensorflow.python.ops.parallel_for import pfor as _pfor

    _register, _wrap = _pfor.RegisterPFor, _pfor.wrap
    _NotConverted = _pfor.ConversionNotImplementedError
except (ImportError, AttributeError):
    _register = None


class _Boxes:
    """The boxes of all iterations, as `[P * K, 4]` with `box_indices`."""

    def __init__(self, boxes, box_indices, iterations, images, own_features):
        """`boxes` and `box_indices` are stacked; `images` are those of one iteration."""
        columns = boxes.shape[-1] if boxes.shape.rank else None
        if boxes.shape.rank not in (3, 4) or columns not in (4, 5):
            raise _NotConverted(f"the form of boxes {boxes.shape} is not known")
        self.is_dense = boxes.shape.rank == 4
        self.is_indexed = not self.is_dense and columns == 5
        self.iterations = iterations
        self.shape = tf.shape(boxes)
        images = tf.cast(images, tf.int64)
        if self.is_dense:
            # One row of boxes per image: as many rows as images, or the op refuses them all.
            rows = tf.range(tf.cast(self.shape[1], tf.int64))
            is_right = tf.equal(tf.cast(self.shape[1], tf.int64), images)
            rows = tf.where(is_right, rows, -tf.ones_like(rows))
            indices = rows[tf.newaxis, :, tf.newaxis] + tf.zeros(self.shape[:-1], tf.int64)
        elif self.is_indexed:
            column = boxes[..., 0]
            is_right = (column >= 0) & (column < tf.cast(images, column.dtype))
            # -1 is refused by the op, as it would have refused what stands there.
            indices = tf.cast(tf.where(is_right, column, -tf.ones_like(column)), tf.int64)
        else:
            indices = tf.cast(box_indices, tf.int64)
            is_right = (indices >= 0) & (indices < images)
            indices = tf.where(is_right, indices, -tf.ones_like(indices))
        if own_features:
            first = tf.range(tf.cast(iterations, tf.int64)) * images
            first = tf.reshape(first, [-1] + [1] * (boxes.shape.rank - 2))
            indices = tf.where(indices >= 0, indices + first, indices)
        self.box_indices = tf.reshape(indices, [-1])
        self.boxes = tf.reshape(boxes[..., -4:], [-1, 4])

    def fold(self, pooled):
        """`[P, K, ...]` or `[P, N, M, ...]` as `[P * K, ...]`."""
        return tf.reshape(pooled, tf.concat([[-1], tf.shape(pooled)[self.shape.shape[0] - 1 :]], 0))

    def unfold(self, rows):
        """The inverse, for what has one row per box."""
        return tf.reshape(rows, tf.concat([self.shape[:-1], tf.shape(rows)[1:]], 0))

    def unfold_gradient(self, rows):
        """A gradient to `boxes`, in the shape that the boxes came in."""
        if self.is_indexed:
            rows = tf.pad(rows, [[0, 0], [1, 0]])
        return self.unfold(rows)


def _fold_images(features):
    """`[P, N, ...]` as `[P * N, ...]`."""
    return tf.reshape(features, tf.concat([[-1], tf.shape(features)[2:]], 0))


def _iterations(pfor_input):
    return pfor_input.pfor.loop_len_vector[0]


def _input(pfor_input, name):
    """(value, whether it is stacked)."""
    value, is_stacked, _ = pfor_input.input(index_of(pfor_input.op.type, name))
    return value, is_stacked


def _stacked(pfor_input, *names):
    """The values of inputs, stacked."""
    places = [index_of(pfor_input.op.type, name) for name in names]
    pfor_input.stack_inputs(places)
    return [pfor_input.stacked_input(place) for place in places]


def _features(pfor_input):
    """(features, images of one iteration, whether each iteration has features of its own)."""
    features, is_stacked = _input(pfor_input, "features")
    if is_stacked:
        return _fold_images(features), tf.shape(features)[1], True
    return features, tf.shape(features)[0], False


def _convert(pfor_input):
    attributes = attributes_of(pfor_input.op)
    features, images, own = _features(pfor_input)
    boxes, indices = _stacked(pfor_input, "boxes", "box_indices")
    boxes = _Boxes(boxes, indices, _iterations(pfor_input), images, own)
    output = raw_ops.roi_align(features, boxes.boxes, boxes.box_indices, **attributes)
    return _wrap(boxes.unfold(output), True)


def _convert_grad(pfor_input):
    attributes = attributes_of(pfor_input.op)
    iterations = _iterations(pfor_input)
    shape, is_stacked = _input(pfor_input, "features_shape")
    if is_stacked:
        shape = shape[0]  # all iterations have the same
    grad_output, boxes, indices = _stacked(pfor_input, "grad_output", "boxes", "box_indices")
    boxes = _Boxes(boxes, indices, iterations, shape[0], True)
    iterations = tf.cast(tf.reshape(iterations, [1]), shape.dtype)
    grad_features = raw_ops.roi_align_grad(
        boxes.fold(grad_output),
        boxes.boxes,
        boxes.box_indices,
        tf.concat([iterations * shape[:1], shape[1:]], 0),
        **attributes,
    )
    return _wrap(tf.reshape(grad_features, tf.concat([iterations, shape], 0)), True)


def _convert_boxes_grad(pfor_input):
    attributes = attributes_of(pfor_input.op)
    features, images, own = _features(pfor_input)
    grad_output, boxes, indices = _stacked(pfor_input, "grad_output", "boxes", "box_indices")
    boxes = _Boxes(boxes, indices, _iterations(pfor_input), images, own)
    grad_boxes = raw_ops.roi_align_boxes_grad(
        boxes.fold(grad_output), features, boxes.boxes, boxes.box_indices, **attributes
    )
    return _wrap(boxes.unfold_gradient(grad_boxes), True)


if _register is not None:
    register_once(_register, op_defs.ROI_ALIGN)(_convert)
    register_once(_register, op_defs.ROI_ALIGN_GRAD)(_convert_grad)
    register_once(_register, op_defs.ROI_ALIGN_BOXES_GRAD)(_convert_boxes_grad)
