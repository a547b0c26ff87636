"""Registers the gradients of the graph ops.

RoIAlign is linear in the features, `A(boxes) @ features`. So its feature
gradient is `A(boxes).T @ grad`, the gradient of that with respect to `grad` is
RoIAlign again, and the gradient of either with respect to the boxes is the one
bilinear form `grad.T @ dA @ features`, with the upstream in the place of the
one or the other. Two gradient ops therefore close the family.

That form is linear in `grad` and in `features`, so the gradient of the box gradient
with respect to these is `dA`, taken along the upstream, and its transpose: two ops
more, with which forward mode works too. What is not there is `d2A`, the second
derivative by the boxes.
"""

import tensorflow as tf

from tf_roialign import raw_ops
from tf_roialign.library import register_once

_ATTRIBUTES = ("output_size", "spatial_scale", "sampling_ratio", "aligned", "data_format")


def attributes_of(op):
    """The attributes that the ops have in common."""
    return {name: op.get_attr(name) for name in _ATTRIBUTES}


def _is_wanted(op, index):
    """Whether the gradient to input `index` is asked for, where TF tells."""
    # Eager tapes tell; in graphs what is not asked for is pruned.
    return index not in (getattr(op, "skip_input_indices", None) or ())


def _has_meaning(boxes, box_indices, images, dtype, attributes):
    """For each box whether it has a meaning, in a shape that broadcasts to its pooled features.

    That is for the op to say, which makes a box without meaning NaN: a coordinate that is not
    finite, and, on a GPU, an image index out of range.
    """
    nothing = tf.zeros(tf.stack([images, 1, 1, 1]), dtype)
    one_bin = {**attributes, "output_size": [1, 1], "sampling_ratio": 1}
    return ~tf.math.is_nan(raw_ops.roi_align(nothing, boxes, box_indices, **one_bin))


def _second_derivative(op, index):
    """Stands for the gradient by the boxes of what is a derivative by them already."""
    name = op.type.removeprefix("TfRoialign>")
    message = f"{name} cannot be differentiated by `boxes`: it is a derivative by them already"
    if getattr(op, "skip_input_indices", None) is not None:
        raise LookupError(message)
    # A graph asks for all gradients and prunes what it does not need. XLA, which leaves
    # out assertions, gets NaN.
    boxes = op.inputs[index]
    with tf.control_dependencies([tf.debugging.Assert(False, [message])]):
        return tf.fill(tf.shape(boxes), tf.constant(float("nan"), boxes.dtype))


@register_once(tf.RegisterGradient, "TfRoialign>RoiAlign")
def _roi_align_grad(op, grad_output):
    features, boxes, box_indices = op.inputs
    attributes = attributes_of(op)
    grad_features = grad_boxes = None
    if _is_wanted(op, 0):
        grad_features = raw_ops.roi_align_grad(
            grad_output,
            boxes,
            box_indices,
            tf.shape(features, out_type=tf.int64),
            **attributes,
        )
    if _is_wanted(op, 1):
        grad_boxes = raw_ops.roi_align_boxes_grad(
            grad_output, features, boxes, box_indices, **attributes
        )
    return grad_features, grad_boxes, None


@register_once(tf.RegisterGradient, "TfRoialign>RoiAlignGrad")
def _roi_align_grad_grad(op, grad_features):
    """`grad_features`: the upstream, in the shape of the features."""
    grad_output, boxes, box_indices, features_shape = op.inputs
    attributes = attributes_of(op)
    grad_grad_output = grad_boxes = None
    if _is_wanted(op, 0):
        grad_grad_output = raw_ops.roi_align(grad_features, boxes, box_indices, **attributes)
        # RoiAlignGrad skips boxes without a meaning, while RoiAlign makes them NaN.
        images, dtype = features_shape[0], grad_features.dtype
        grad_grad_output = tf.where(
            _has_meaning(boxes, box_indices, images, dtype, attributes),
            grad_grad_output,
            tf.zeros([], dtype),
        )
    if _is_wanted(op, 1):
        grad_boxes = raw_ops.roi_align_boxes_grad(
            grad_output, grad_features, boxes, box_indices, **attributes
        )
    return grad_grad_output, grad_boxes, None, None


@register_once(tf.RegisterGradient, "TfRoialign>RoiAlignBoxesGrad")
def _roi_align_boxes_grad_grad(op, direction):
    """`direction`: the upstream, in the shape of the boxes."""
    grad_output, features, boxes, box_indices = op.inputs
    attributes = attributes_of(op)
    grad_grad_output = grad_features = grad_boxes = None
    if _is_wanted(op, 0):
        grad_grad_output = raw_ops.roi_align_boxes_tangent(
            features, boxes, box_indices, direction, **attributes
        )
    if _is_wanted(op, 1):
        grad_features = raw_ops.roi_align_boxes_tangent_grad(
            grad_output,
            boxes,
            box_indices,
            tf.shape(features, out_type=tf.int64),
            direction,
            **attributes,
        )
    if _is_wanted(op, 2):
        grad_boxes = _second_derivative(op, 2)
    return grad_grad_output, grad_features, grad_boxes, None


@register_once(tf.RegisterGradient, "TfRoialign>RoiAlignBoxesTangent")
def _roi_align_boxes_tangent_grad(op, grad_output):
    features, boxes, box_indices, direction = op.inputs
    attributes = attributes_of(op)
    grad_features = grad_boxes = grad_direction = None
    if _is_wanted(op, 0):
        grad_features = raw_ops.roi_align_boxes_tangent_grad(
            grad_output,
            boxes,
            box_indices,
            tf.shape(features, out_type=tf.int64),
            direction,
            **attributes,
        )
    if _is_wanted(op, 1):
        grad_boxes = _second_derivative(op, 1)
    if _is_wanted(op, 3):
        grad_direction = raw_ops.roi_align_boxes_grad(
            grad_output, features, boxes, box_indices, **attributes
        )
    return grad_features, grad_boxes, None, grad_direction


@register_once(tf.RegisterGradient, "TfRoialign>RoiAlignBoxesTangentGrad")
def _roi_align_boxes_tangent_grad_grad(op, grad_features):
    """`grad_features`: the upstream, in the shape of the features."""
    grad_output, boxes, box_indices, _, direction = op.inputs
    attributes = attributes_of(op)
    grad_grad_output = grad_boxes = grad_direction = None
    if _is_wanted(op, 0):
        grad_grad_output = raw_ops.roi_align_boxes_tangent(
            grad_features, boxes, box_indices, direction, **attributes
        )
    if _is_wanted(op, 1):
        grad_boxes = _second_derivative(op, 1)
    if _is_wanted(op, 4):
        grad_direction = raw_ops.roi_align_boxes_grad(
            grad_output, grad_features, boxes, box_indices, **attributes
        )
    return grad_grad_output, grad_boxes, None, None, grad_direction


@register_once(tf.RegisterGradient, "TfRoialign>QuantizedRoiAlign")
def _quantized_roi_align_grad(op, grad_output):
    raise LookupError(
        "`quantized_roi_align` has no gradient, it is for inference only: train with "
        "`roi_align` on float features"
    )
