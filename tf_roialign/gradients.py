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

from tf_roialign import op_defs, raw_ops
from tf_roialign.library import register_once
from tf_roialign.op_defs import attributes_of, index_of, input_names, inputs_of


def _is_wanted(op, name):
    """Whether the gradient to an input is asked for, where TF tells."""
    # Eager tapes tell; in graphs what is not asked for is pruned.
    return index_of(op.type, name) not in (getattr(op, "skip_input_indices", None) or ())


def _in_order(op, **gradients):
    """The gradients to an op's inputs, in their order; None to those that are not named."""
    return [gradients.get(name) for name in input_names(op.type)]


def _has_meaning(boxes, box_indices, images, dtype, attributes):
    """For each box whether it has a meaning, in a shape that broadcasts to its pooled features.

    That is for the op to say, which makes a box without meaning NaN: a coordinate that is not
    finite, and, on a GPU, an image index out of range.
    """
    nothing = tf.zeros(tf.stack([images, 1, 1, 1]), dtype)
    one_bin = {**attributes, "output_size": [1, 1], "sampling_ratio": 1}
    return ~tf.math.is_nan(raw_ops.roi_align(nothing, boxes, box_indices, **one_bin))


def _second_derivative(op):
    """Stands for the gradient by the boxes of what is a derivative by them already."""
    name = op.type.removeprefix("TfRoialign>")
    message = f"{name} cannot be differentiated by `boxes`: it is a derivative by them already"
    if getattr(op, "skip_input_indices", None) is not None:
        raise LookupError(message)
    # A graph asks for all gradients and prunes what it does not need. XLA, which leaves
    # out assertions, gets NaN.
    boxes = inputs_of(op).boxes
    with tf.control_dependencies([tf.debugging.Assert(False, [message])]):
        return tf.fill(tf.shape(boxes), tf.constant(float("nan"), boxes.dtype))


def _boxes_of(inputs):
    return inputs.boxes, inputs.box_indices


def _shape_of(features):
    return tf.shape(features, out_type=tf.int64)


@register_once(tf.RegisterGradient, op_defs.ROI_ALIGN)
def _roi_align_grad(op, grad_output):
    inputs, attributes = inputs_of(op), attributes_of(op)
    gradients = {}
    if _is_wanted(op, "features"):
        gradients["features"] = raw_ops.roi_align_grad(
            grad_output, *_boxes_of(inputs), _shape_of(inputs.features), **attributes
        )
    if _is_wanted(op, "boxes"):
        gradients["boxes"] = raw_ops.roi_align_boxes_grad(
            grad_output, inputs.features, *_boxes_of(inputs), **attributes
        )
    return _in_order(op, **gradients)


@register_once(tf.RegisterGradient, op_defs.ROI_ALIGN_GRAD)
def _roi_align_grad_grad(op, grad_features):
    """`grad_features`: the upstream, in the shape of the features."""
    inputs, attributes = inputs_of(op), attributes_of(op)
    gradients = {}
    if _is_wanted(op, "grad_output"):
        pooled = raw_ops.roi_align(grad_features, *_boxes_of(inputs), **attributes)
        # RoiAlignGrad skips boxes without a meaning, while RoiAlign makes them NaN.
        images, dtype = inputs.features_shape[0], grad_features.dtype
        has_meaning = _has_meaning(*_boxes_of(inputs), images, dtype, attributes)
        gradients["grad_output"] = tf.where(has_meaning, pooled, tf.zeros([], dtype))
    if _is_wanted(op, "boxes"):
        gradients["boxes"] = raw_ops.roi_align_boxes_grad(
            inputs.grad_output, grad_features, *_boxes_of(inputs), **attributes
        )
    return _in_order(op, **gradients)


@register_once(tf.RegisterGradient, op_defs.ROI_ALIGN_BOXES_GRAD)
def _roi_align_boxes_grad_grad(op, direction):
    """`direction`: the upstream, in the shape of the boxes."""
    inputs, attributes = inputs_of(op), attributes_of(op)
    gradients = {}
    if _is_wanted(op, "grad_output"):
        gradients["grad_output"] = raw_ops.roi_align_boxes_tangent(
            inputs.features, *_boxes_of(inputs), direction, **attributes
        )
    if _is_wanted(op, "features"):
        gradients["features"] = raw_ops.roi_align_boxes_tangent_grad(
            inputs.grad_output,
            *_boxes_of(inputs),
            _shape_of(inputs.features),
            direction,
            **attributes,
        )
    if _is_wanted(op, "boxes"):
        gradients["boxes"] = _second_derivative(op)
    return _in_order(op, **gradients)


@register_once(tf.RegisterGradient, op_defs.ROI_ALIGN_BOXES_TANGENT)
def _roi_align_boxes_tangent_grad(op, grad_output):
    inputs, attributes = inputs_of(op), attributes_of(op)
    gradients = {}
    if _is_wanted(op, "features"):
        gradients["features"] = raw_ops.roi_align_boxes_tangent_grad(
            grad_output,
            *_boxes_of(inputs),
            _shape_of(inputs.features),
            inputs.direction,
            **attributes,
        )
    if _is_wanted(op, "boxes"):
        gradients["boxes"] = _second_derivative(op)
    if _is_wanted(op, "direction"):
        gradients["direction"] = raw_ops.roi_align_boxes_grad(
            grad_output, inputs.features, *_boxes_of(inputs), **attributes
        )
    return _in_order(op, **gradients)


@register_once(tf.RegisterGradient, op_defs.ROI_ALIGN_BOXES_TANGENT_GRAD)
def _roi_align_boxes_tangent_grad_grad(op, grad_features):
    """`grad_features`: the upstream, in the shape of the features."""
    inputs, attributes = inputs_of(op), attributes_of(op)
    gradients = {}
    if _is_wanted(op, "grad_output"):
        gradients["grad_output"] = raw_ops.roi_align_boxes_tangent(
            grad_features, *_boxes_of(inputs), inputs.direction, **attributes
        )
    if _is_wanted(op, "boxes"):
        gradients["boxes"] = _second_derivative(op)
    if _is_wanted(op, "direction"):
        gradients["direction"] = raw_ops.roi_align_boxes_grad(
            inputs.grad_output, grad_features, *_boxes_of(inputs), **attributes
        )
    return _in_order(op, **gradients)


@register_once(tf.RegisterGradient, op_defs.QUANTIZED_ROI_ALIGN)
def _quantized_roi_align_grad(op, grad_output):
    raise LookupError(
        "`quantized_roi_align` has no gradient, it is for inference only: train with "
        "`roi_align` on float features"
    )
