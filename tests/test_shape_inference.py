"""Static shapes: exact for whatever is known, and never more than that."""

import cases
import numpy as np
import pytest
import tensorflow as tf

import tf_roialign
from tf_roialign import raw_ops

U = None  # unknown: a dimension, or a whole shape
NHWC_NCHW = pytest.mark.parametrize("data_format", cases.LAYOUTS)


def as_list(shape):
    return None if shape.rank is None else shape.as_list()


def trace(function, *specs):
    """The static shape of what `function` returns for arguments of these (shape, dtype)."""
    specs = [tf.TensorSpec(shape, dtype) for shape, dtype in specs]
    return as_list(tf.function(function).get_concrete_function(*specs).structured_outputs.shape)


def layout(shape, data_format):
    """[..., H, W, C] in the order of the format; an unknown shape stays unknown."""
    if shape is None or data_format == "NHWC":
        return shape
    return [*shape[:-3], shape[-1], *shape[-3:-1]]


def attributes(data_format):
    return {
        "output_size": [7, 5],
        "spatial_scale": 0.5,
        "sampling_ratio": 2,
        "aligned": True,
        "data_format": data_format,
    }


# (features, boxes, box_indices) -> output
FORWARD = [
    # Everything known, one form after the other.
    (([2, 8, 9, 3], [4, 5], [0]), [4, 7, 5, 3]),
    (([2, 8, 9, 3], [4, 4], [4]), [4, 7, 5, 3]),
    (([2, 8, 9, 3], [2, 6, 4], [0]), [2, 6, 7, 5, 3]),
    (([2, 8, 9, 3], [0, 5], [0]), [0, 7, 5, 3]),
    # Unknown dimensions.
    (([U, U, U, 3], [U, 5], [0]), [U, 7, 5, 3]),
    (([U, U, U, U], [4, 5], [0]), [4, 7, 5, U]),
    (([2, 8, 9, 3], [U, 4], [U]), [U, 7, 5, 3]),
    (([2, 8, 9, 3], [U, 4], [4]), [4, 7, 5, 3]),
    (([2, 8, 9, 3], [4, 4], [U]), [4, 7, 5, 3]),
    (([2, U, U, 3], [U, 6, 4], [0]), [2, 6, 7, 5, 3]),
    (([U, U, U, 3], [2, 6, 4], [0]), [2, 6, 7, 5, 3]),
    (([U, U, U, U], [U, U, 4], [0]), [U, U, 7, 5, U]),
    (([2, 8, 9, 3], [U, U, 4], [0]), [2, U, 7, 5, 3]),
    # An unknown last dimension.
    (([2, 8, 9, 3], [4, U], [0]), [4, 7, 5, 3]),
    (([2, 8, 9, 3], [U, U], [U]), [U, 7, 5, 3]),
    (([2, 8, 9, 3], [2, U, U], [0]), [2, U, 7, 5, 3]),
    # Unknown ranks.
    ((U, [4, 5], [0]), [4, 7, 5, U]),
    ((U, [4, 4], [4]), [4, 7, 5, U]),
    ((U, [2, 6, 4], [0]), [2, 6, 7, 5, U]),
    (([2, 8, 9, 3], U, [4]), [4, 7, 5, 3]),
    (([2, 8, 9, 3], U, [0]), U),
    (([2, 8, 9, 3], U, U), U),
    (([2, 8, 9, 3], [4, 5], U), [4, 7, 5, 3]),
    (([2, 8, 9, 3], [U, 4], U), [U, 7, 5, 3]),
    ((U, U, U), U),
]


@NHWC_NCHW
@pytest.mark.parametrize("inputs, output", FORWARD, ids=str)
def test_roi_align(inputs, output, data_format):
    features, boxes, indices = inputs
    assert trace(
        lambda *tensors: raw_ops.roi_align(*tensors, **attributes(data_format)),
        (layout(features, data_format), tf.float32),
        (boxes, tf.float32),
        (indices, tf.int32),
    ) == layout(output, data_format)


# (grad_output, boxes, box_indices, features' shape: a constant, or how much of it is known)
GRADIENT = [
    (([4, 7, 5, 3], [4, 5], [0], [2, 8, 9, 3]), [2, 8, 9, 3]),
    ((U, U, U, [2, 8, 9, 3]), [2, 8, 9, 3]),
    (([U, 7, 5, 3], [U, 5], [0], [U, 8, U, 3]), [U, 8, U, 3]),
    (([4, 7, 5, 3], [4, 5], [0], [U, U, U, U]), [U, U, U, 3]),
    (([2, 6, 7, 5, 3], [2, 6, 4], [0], [U, U, U, U]), [2, U, U, 3]),
    (([U, U, 7, 5, 3], [2, U, 4], [0], [U, U, U, U]), [2, U, U, 3]),
    ((U, [4, 4], [4], [U, U, U, U]), [U, U, U, U]),
    ((U, U, U, U), [U, U, U, U]),
    # From the upstream alone.
    (([4, 7, 5, 3], U, U, U), [U, U, U, 3]),
    (([U, 7, 5, 3], U, [0], U), [U, U, U, 3]),
    (([2, 6, 7, 5, 3], U, U, U), [2, U, U, 3]),
    (([U, U, 7, 5, U], U, U, [U, U, U, 3]), [U, U, U, 3]),
]


@NHWC_NCHW
@pytest.mark.parametrize("shape_dtype", [tf.int32, tf.int64])
@pytest.mark.parametrize("inputs, output", GRADIENT, ids=str)
def test_roi_align_grad(inputs, output, shape_dtype, data_format):
    upstream, boxes, indices, features = inputs

    def function(upstream, boxes, indices, given):
        shape = given  # nothing is known about its values
        if features is not None and None not in features:
            shape = tf.constant(layout(features, data_format), shape_dtype)
        elif features is not None:
            # The shape of a tensor of which this much is known.
            like = tf.ensure_shape(tf.zeros(given), layout(features, data_format))
            shape = tf.shape(like, shape_dtype)
        return raw_ops.roi_align_grad(upstream, boxes, indices, shape, **attributes(data_format))

    got = trace(
        function,
        (layout(upstream, data_format), tf.float32),
        (boxes, tf.float32),
        (indices, tf.int32),
        ([4] if features is not None else None, shape_dtype),
    )
    assert got == layout(output, data_format)


# (grad_output, features, boxes, box_indices) -> the boxes' shape
BOX_GRADIENT = [
    (([4, 7, 5, 3], [2, 8, 9, 3], [4, 5], [0]), [4, 5]),
    (([4, 7, 5, 3], [2, 8, 9, 3], [4, 4], [4]), [4, 4]),
    (([2, 6, 7, 5, 3], [2, 8, 9, 3], [2, 6, 4], [0]), [2, 6, 4]),
    (([U, 7, 5, 3], [2, 8, 9, 3], [U, 5], [0]), [U, 5]),
    (([4, 7, 5, 3], [2, 8, 9, 3], [U, 5], [0]), [4, 5]),
    (([U, 7, 5, 3], [2, 8, 9, 3], [U, 4], [4]), [4, 4]),
    (([4, 7, 5, 3], U, [U, 4], [U]), [4, 4]),
    ((U, [2, 8, 9, 3], [U, 6, 4], [0]), [2, 6, 4]),
    (([2, 6, 7, 5, 3], U, [U, U, 4], [0]), [2, 6, 4]),
    ((U, U, [4, 5], U), [4, 5]),
    ((U, [2, 8, 9, 3], U, [4]), [4, 4]),
    ((U, U, U, U), U),
    # From the upstream alone: with an image index, or not.
    (([4, 7, 5, 3], U, U, U), [4, U]),
    (([4, 7, 5, 3], [2, 8, 9, 3], U, U), [4, U]),
    (([U, 7, 5, 3], U, U, U), [U, U]),
    (([2, 6, 7, 5, 3], U, U, U), [2, 6, 4]),
    (([U, 6, 7, 5, 3], [2, 8, 9, 3], U, U), [2, 6, 4]),
    # Boxes without indices have five columns, unless there are none.
    ((U, U, [7, U], [0]), [7, 5]),
    ((U, U, [7, U], [7]), [7, 4]),
    ((U, U, [7, U], U), [7, U]),
    ((U, U, [0, U], [0]), [0, U]),
    ((U, U, [U, U], [0]), [U, U]),
]


@NHWC_NCHW
@pytest.mark.parametrize("inputs, output", BOX_GRADIENT, ids=str)
def test_roi_align_boxes_grad(inputs, output, data_format):
    upstream, features, boxes, indices = inputs
    assert (
        trace(
            lambda *tensors: raw_ops.roi_align_boxes_grad(*tensors, **attributes(data_format)),
            (layout(upstream, data_format), tf.float32),
            (layout(features, data_format), tf.float32),
            (boxes, tf.float64),
            (indices, tf.int64),
        )
        == output
    )


def consistent(static, actual):
    return static.rank is None or static.is_compatible_with(actual)


@NHWC_NCHW
@pytest.mark.parametrize("form", cases.FORMS)
def test_what_is_inferred_is_what_comes(form, data_format):
    """Forget random parts of the inputs' shapes; the rest must not contradict the result."""
    rng = np.random.default_rng(cases.seed_of("shapes", form, data_format))
    problem = cases.Problem(rng, form=form, data_format=data_format, images=2, count=6)
    arguments = problem.arguments()

    def forget(tensor):
        if isinstance(tensor, tf.RaggedTensor):
            rows = rng.choice([None, tensor.shape[0]])
            return tf.RaggedTensorSpec([rows, None, 4], tensor.dtype, ragged_rank=1)
        if rng.random() < 0.2:
            return tf.TensorSpec(None, tensor.dtype)
        dims = [dim if rng.random() < 0.6 else None for dim in tensor.shape]
        return tf.TensorSpec(dims, tensor.dtype)

    expected = cases.as_bytes(problem.run())
    for _ in range(8):
        function = tf.function(lambda features, given: problem.run(features, **given))
        specs = tf.nest.map_structure(forget, arguments)
        features = forget(problem.features)
        concrete = function.get_concrete_function(features, specs)
        output = concrete(problem.features, arguments)
        static = concrete.structured_outputs.shape
        assert consistent(static, output.shape), f"{static} from {features}, {specs}"
        assert cases.as_bytes(output) == expected


@NHWC_NCHW
def test_of_the_public_function(data_format):
    """What Python knows more than the op: a list of boxes adds up, a ragged tensor may not."""

    def shape(features, boxes, box_indices=None):
        def function(features, boxes, box_indices):
            return tf_roialign.roi_align(
                features, boxes, (7, 5), box_indices=box_indices, data_format=data_format
            )

        features = tf.TensorSpec(layout(features, data_format), tf.float32)
        concrete = tf.function(function).get_concrete_function(features, boxes, box_indices)
        return as_list(concrete.structured_outputs.shape)

    spec, known = tf.TensorSpec, [2, 8, 9, 3]
    bins = layout([7, 5, 3], data_format)
    assert shape(known, [spec([3, 4]), spec([1, 4])]) == [4, *bins]
    assert shape(known, (spec([3, 4]), spec([None, 4]))) == [None, *bins]
    assert shape([None] * 3 + [3], [spec([3, 4]), spec([1, 4])]) == [4, *bins]
    assert shape(known, tf.RaggedTensorSpec([2, None, 4], tf.float32, 1)) == [None, *bins]
    assert shape(known, tf.RaggedTensorSpec([None, None, 4], tf.float32, 1)) == [None, *bins]
    assert shape(known, spec([4, 4]), spec([None], tf.int64)) == [4, *bins]
    assert shape(known, spec([None, 6, 4])) == [2, 6, *bins]
    assert shape(known, spec([None, 5])) == [None, *bins]
    assert shape(known, spec([4, 5], tf.float64)) == [4, *bins]


def test_gradients_have_the_shapes_of_what_they_are_gradients_of():
    @tf.function
    def gradients(features, boxes, indices):
        with tf.GradientTape() as tape:
            tape.watch([features, boxes])
            output = tf_roialign.roi_align(features, boxes, 2, box_indices=indices)
        return tape.gradient(output, [features, boxes])

    for features, boxes in (([2, 8, 9, 3], [4, 4]), ([None, 8, None, 3], [None, 4])):
        concrete = gradients.get_concrete_function(
            tf.TensorSpec(features), tf.TensorSpec(boxes), tf.TensorSpec(boxes[:1], tf.int32)
        )
        of_features, of_boxes = concrete.structured_outputs
        assert of_features.shape.as_list() == features
        assert of_boxes.shape.as_list() == boxes


def test_gradients_to_many_maps_have_the_shape_of_each():
    @tf.function
    def gradients(features, boxes):
        with tf.GradientTape() as tape:
            tape.watch(features)
            output = tf_roialign.multiscale_roi_align(features, boxes, 2, [1 / 4, 1 / 8])
        return tape.gradient(output, features)

    shapes = [[2, 8, 9, 3], [2, 4, None, 3]]
    concrete = gradients.get_concrete_function(
        [tf.TensorSpec(shape) for shape in shapes], tf.TensorSpec([None, 5])
    )
    assert [each.shape.as_list() for each in concrete.structured_outputs] == shapes
