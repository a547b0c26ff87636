"""Registers how `tf.vectorized_map` and `tf.GradientTape.jacobian` vectorise the ops.

A loop over P calls becomes one call on P times the boxes, and on P times the images where
each iteration has features of its own. The registry is no public part of TensorFlow: where
it is not found, TensorFlow runs a `while_loop` instead, which is slower.
"""

import tensorflow as tf

from tf_roialign import op_defs, raw_ops
from tf_roialign.library import register_once
from tf_roialign.op_defs import attributes_of, places_of_inputs

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


def _places(pfor_input, name):
    """Where an input is among the op's tensors, as a list."""
    places = places_of_inputs(pfor_input.op)[name]
    return places if isinstance(places, list) else [places]


def _stacked(pfor_input, *names):
    """The values of inputs, stacked."""
    places = [place for name in names for place in _places(pfor_input, name)]
    pfor_input.stack_inputs(places)
    return [pfor_input.stacked_input(place) for place in places]


def _run(pfor_input, name, **arguments):
    """Calls a raw op, by its name on one map."""
    op = pfor_input.op
    prefix = "multi_scale_" * op_defs.reads_many_maps(op.type)
    return getattr(raw_ops, prefix + name)(**{**attributes_of(op), **arguments})


def _as_input(pfor_input, tensors):
    """The tensors of an input that is a list for ops on many maps."""
    return tensors if op_defs.reads_many_maps(pfor_input.op.type) else tensors[0]


def _features(pfor_input):
    """(features, images of one iteration, whether each iteration has features of its own)."""
    places = _places(pfor_input, "features")
    inputs = [pfor_input.input(place) for place in places]
    if any(is_stacked for _, is_stacked, _ in inputs):
        stacked = _stacked(pfor_input, "features")
        images = tf.shape(stacked[0])[1]
        return _as_input(pfor_input, [_fold_images(each) for each in stacked]), images, True
    features = [value for value, _, _ in inputs]
    return _as_input(pfor_input, features), tf.shape(features[0])[0], False


def _shapes(pfor_input):
    """The shapes of the features of one iteration: all iterations have the same."""
    inputs = [pfor_input.input(place) for place in _places(pfor_input, "features_shape")]
    return [value[0] if is_stacked else value for value, is_stacked, _ in inputs]


def _many(pfor_input):
    """The inputs of an op on many maps that it has besides; levels are those of all iterations."""
    if not op_defs.reads_many_maps(pfor_input.op.type):
        return {}
    (place,) = _places(pfor_input, "spatial_scales")
    scales, is_stacked, _ = pfor_input.input(place)
    if is_stacked:
        raise _NotConverted("each iteration has `spatial_scales` of its own")
    (levels,) = _stacked(pfor_input, "levels")
    return {"levels": tf.reshape(levels, [-1]), "spatial_scales": scales}


def _convert(pfor_input):
    features, images, own = _features(pfor_input)
    boxes, indices = _stacked(pfor_input, "boxes", "box_indices")
    boxes = _Boxes(boxes, indices, _iterations(pfor_input), images, own)
    output = _run(
        pfor_input,
        "roi_align",
        features=features,
        boxes=boxes.boxes,
        box_indices=boxes.box_indices,
        **_many(pfor_input),
    )
    return _wrap(boxes.unfold(output), True)


def _unfold_maps(pfor_input, grad_features, shapes):
    """Gradients to the features of all iterations, stacked."""
    is_list = op_defs.reads_many_maps(pfor_input.op.type)
    outputs = [
        _wrap(tf.reshape(each, tf.concat([[-1], shape], 0)), True)
        for each, shape in zip(grad_features if is_list else [grad_features], shapes, strict=True)
    ]
    return outputs if is_list else outputs[0]


def _convert_grad(pfor_input):
    iterations = _iterations(pfor_input)
    shapes = _shapes(pfor_input)
    grad_output, boxes, indices = _stacked(pfor_input, "grad_output", "boxes", "box_indices")
    boxes = _Boxes(boxes, indices, iterations, shapes[0][0], True)
    of_all = [
        tf.concat([tf.cast(tf.reshape(iterations, [1]), shape.dtype) * shape[:1], shape[1:]], 0)
        for shape in shapes
    ]
    grad_features = _run(
        pfor_input,
        "roi_align_grad",
        grad_output=boxes.fold(grad_output),
        boxes=boxes.boxes,
        box_indices=boxes.box_indices,
        features_shape=_as_input(pfor_input, of_all),
        **_many(pfor_input),
    )
    return _unfold_maps(pfor_input, grad_features, shapes)


def _convert_max_grad(pfor_input):
    stacked = _stacked(pfor_input, "features")
    images = tf.shape(stacked[0])[1]
    grad_output, boxes, indices = _stacked(pfor_input, "grad_output", "boxes", "box_indices")
    boxes = _Boxes(boxes, indices, _iterations(pfor_input), images, True)
    grad_features = _run(
        pfor_input,
        "roi_align_max_grad",
        grad_output=boxes.fold(grad_output),
        features=_as_input(pfor_input, [_fold_images(each) for each in stacked]),
        boxes=boxes.boxes,
        box_indices=boxes.box_indices,
        **_many(pfor_input),
    )
    return _unfold_maps(pfor_input, grad_features, [tf.shape(each)[1:] for each in stacked])


def _convert_boxes_grad(pfor_input):
    features, images, own = _features(pfor_input)
    grad_output, boxes, indices = _stacked(pfor_input, "grad_output", "boxes", "box_indices")
    boxes = _Boxes(boxes, indices, _iterations(pfor_input), images, own)
    grad_boxes = _run(
        pfor_input,
        "roi_align_boxes_grad",
        grad_output=boxes.fold(grad_output),
        features=features,
        boxes=boxes.boxes,
        box_indices=boxes.box_indices,
        **_many(pfor_input),
    )
    return _wrap(boxes.unfold_gradient(grad_boxes), True)


if _register is not None:
    for _op_type, _converter in (
        (op_defs.ROI_ALIGN, _convert),
        (op_defs.ROI_ALIGN_GRAD, _convert_grad),
        (op_defs.ROI_ALIGN_MAX_GRAD, _convert_max_grad),
        (op_defs.ROI_ALIGN_BOXES_GRAD, _convert_boxes_grad),
    ):
        register_once(_register, _op_type)(_converter)
        register_once(_register, op_defs.on_many_maps(_op_type))(_converter)
