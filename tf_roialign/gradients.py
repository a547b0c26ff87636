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

With `mode` "max" the map depends on which samples are the largest, so the features are an
input of their own gradient, and there is no second one.
"""

import tensorflow as tf

from tf_roialign import op_defs, raw_ops
from tf_roialign.library import register_once
from tf_roialign.op_defs import attributes_of, inputs_of, places_of_inputs

# What says which pixels a box reads, in every op.
_PLACEMENT = ("boxes", "box_indices", "levels", "spatial_scales")

_MAX_ONCE = 'RoIAlign with `mode` "max" can be differentiated once, not twice'


def _register(op_type):
    """A decorator: the gradient of an op, on one map and on many."""

    def register(function):
        for each in (op_type, op_defs.on_many_maps(op_type)):
            register_once(tf.RegisterGradient, each)(function)
        return function

    return register


class _Op:
    """An op that is differentiated, and the raw ops on the same boxes and maps."""

    def __init__(self, op):
        self._op = op
        self._places = places_of_inputs(op)
        self.inputs = inputs_of(op)
        self.attributes = attributes_of(op)
        self.is_on_many = op_defs.reads_many_maps(op.type)

    def is_wanted(self, name):
        """Whether the gradient to an input is asked for, where TF tells."""
        # Eager tapes tell; in graphs what is not asked for is pruned.
        skipped = getattr(self._op, "skip_input_indices", None) or ()
        places = self._places[name]
        places = places if isinstance(places, list) else [places]
        return any(place not in skipped for place in places)

    def run(self, name, **arguments):
        """Calls a raw op, by its name on one map."""
        raw = getattr(raw_ops, "multi_scale_" * self.is_on_many + name)
        placement = {
            each: getattr(self.inputs, each) for each in _PLACEMENT if hasattr(self.inputs, each)
        }
        return raw(**{**placement, **self.attributes, **arguments})

    def shapes_of(self, features):
        """The input `features_shape` of a gradient."""
        if self.is_on_many:
            return [tf.shape(each, out_type=tf.int64) for each in features]
        return tf.shape(features, out_type=tf.int64)

    def upstream(self, grads):
        """What comes back to the op's outputs, which are one or a list."""
        return list(grads) if self.is_on_many else grads[0]

    def in_order(self, **gradients):
        """The gradients to the inputs, in their order; None to those that are not named."""
        result = []
        for name, place in self._places.items():
            gradient = gradients.get(name)
            if not isinstance(place, list):
                result.append(gradient)
            else:
                result.extend([None] * len(place) if gradient is None else gradient)
        return result

    def has_meaning(self, dtype):
        """For each box whether it has a meaning, in a shape that broadcasts to its pooled features.

        That is for the op to say, which makes a box without meaning NaN: a coordinate that is not
        finite, and, on a GPU, an image index or a level out of range.
        """
        shape = self.inputs.features_shape
        images = (shape[0] if self.is_on_many else shape)[0]
        nothing = tf.zeros(tf.stack([images, 1, 1, 1]), dtype)
        pooled = self.run(
            "roi_align",
            features=[nothing] * len(shape) if self.is_on_many else nothing,
            output_size=[1, 1],
            sampling_ratio=1,
        )
        return ~tf.math.is_nan(pooled)

    def second_derivative(self):
        """Stands for the gradient by the boxes of what is a derivative by them already."""
        name = self._op.type.removeprefix("TfRoialign>")
        message = f"{name} cannot be differentiated by `boxes`: it is a derivative by them already"
        if getattr(self._op, "skip_input_indices", None) is not None:
            raise LookupError(message)
        # A graph asks for all gradients and prunes what it does not need. XLA, which leaves
        # out assertions, gets NaN.
        boxes = self.inputs.boxes
        with tf.control_dependencies([tf.debugging.Assert(False, [message])]):
            return tf.fill(tf.shape(boxes), tf.constant(float("nan"), boxes.dtype))


@_register(op_defs.ROI_ALIGN)
def _roi_align_grad(op, grad_output):
    op = _Op(op)
    features = op.inputs.features
    gradients = {}
    if op.is_wanted("features"):
        if tf.compat.as_str(op.attributes["mode"]) == "max":
            gradients["features"] = op.run(
                "roi_align_max_grad", grad_output=grad_output, features=features
            )
        else:
            gradients["features"] = op.run(
                "roi_align_grad", grad_output=grad_output, features_shape=op.shapes_of(features)
            )
    if op.is_wanted("boxes"):
        gradients["boxes"] = op.run(
            "roi_align_boxes_grad", grad_output=grad_output, features=features
        )
    return op.in_order(**gradients)


@_register(op_defs.ROI_ALIGN_GRAD)
def _roi_align_grad_grad(op, *grad_features):
    """`grad_features`: the upstream, in the shape of the features."""
    op = _Op(op)
    grad_features = op.upstream(grad_features)
    gradients = {}
    if op.is_wanted("grad_output"):
        pooled = op.run("roi_align", features=grad_features)
        # RoiAlignGrad skips boxes without a meaning, while RoiAlign makes them NaN.
        has_meaning = op.has_meaning(pooled.dtype)
        gradients["grad_output"] = tf.where(has_meaning, pooled, tf.zeros([], pooled.dtype))
    if op.is_wanted("boxes"):
        gradients["boxes"] = op.run(
            "roi_align_boxes_grad", grad_output=op.inputs.grad_output, features=grad_features
        )
    return op.in_order(**gradients)


@_register(op_defs.ROI_ALIGN_MAX_GRAD)
def _roi_align_max_grad_grad(op, *grad_features):
    raise LookupError(_MAX_ONCE)


@_register(op_defs.ROI_ALIGN_BOXES_GRAD)
def _roi_align_boxes_grad_grad(op, direction):
    """`direction`: the upstream, in the shape of the boxes."""
    op = _Op(op)
    if tf.compat.as_str(op.attributes["mode"]) == "max":
        raise LookupError(_MAX_ONCE)
    gradients = {}
    if op.is_wanted("grad_output"):
        gradients["grad_output"] = op.run(
            "roi_align_boxes_tangent", features=op.inputs.features, direction=direction
        )
    if op.is_wanted("features"):
        gradients["features"] = op.run(
            "roi_align_boxes_tangent_grad",
            grad_output=op.inputs.grad_output,
            features_shape=op.shapes_of(op.inputs.features),
            direction=direction,
        )
    if op.is_wanted("boxes"):
        gradients["boxes"] = op.second_derivative()
    return op.in_order(**gradients)


@_register(op_defs.ROI_ALIGN_BOXES_TANGENT)
def _roi_align_boxes_tangent_grad(op, grad_output):
    op = _Op(op)
    features = op.inputs.features
    gradients = {}
    if op.is_wanted("features"):
        gradients["features"] = op.run(
            "roi_align_boxes_tangent_grad",
            grad_output=grad_output,
            features_shape=op.shapes_of(features),
            direction=op.inputs.direction,
        )
    if op.is_wanted("boxes"):
        gradients["boxes"] = op.second_derivative()
    if op.is_wanted("direction"):
        gradients["direction"] = op.run(
            "roi_align_boxes_grad", grad_output=grad_output, features=features
        )
    return op.in_order(**gradients)


@_register(op_defs.ROI_ALIGN_BOXES_TANGENT_GRAD)
def _roi_align_boxes_tangent_grad_grad(op, *grad_features):
    """`grad_features`: the upstream, in the shape of the features."""
    op = _Op(op)
    grad_features = op.upstream(grad_features)
    gradients = {}
    if op.is_wanted("grad_output"):
        gradients["grad_output"] = op.run(
            "roi_align_boxes_tangent", features=grad_features, direction=op.inputs.direction
        )
    if op.is_wanted("boxes"):
        gradients["boxes"] = op.second_derivative()
    if op.is_wanted("direction"):
        gradients["direction"] = op.run(
            "roi_align_boxes_grad", grad_output=op.inputs.grad_output, features=grad_features
        )
    return op.in_order(**gradients)


@_register(op_defs.QUANTIZED_ROI_ALIGN)
def _quantized_roi_align_grad(op, grad_output):
    raise LookupError(
        "RoIAlign of quantized features has no gradient, it is for inference only: train with "
        "`roi_align` on float features"
    )
