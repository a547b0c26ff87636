"""Turns every form that boxes come in into the ones that the ops read."""

from __future__ import annotations

import functools
import operator
import warnings

import keras
import numpy as np
import tensorflow as tf

from tf_roialign import keras2
from tf_roialign.constants import NO_INTEGERS, zeros
from tf_roialign.types import Boxes, TensorLike


def prepare_boxes(features, boxes, box_indices):
    """Returns (boxes, box_indices) as the ops take them.

    Dense and indexed boxes pass as they are, since the ops check and read them
    in place; lists and ragged boxes are flattened, to `[K, 4]` with indices or to
    `[K, 5]`, whichever takes fewer ops. Coordinates become float32 unless they are
    float64.
    """
    if isinstance(boxes, tf.Tensor):
        return _from_tensor(boxes, box_indices)
    if isinstance(boxes, tf.RaggedTensor):
        _refuse_indices(box_indices, "a RaggedTensor")
        return _from_ragged(features, boxes)
    if keras2.is_symbol(boxes) and isinstance(boxes.type_spec, tf.RaggedTensorSpec):
        # Of dense ones, Keras 2 makes layers as it comes upon functions of TensorFlow.
        raise TypeError(
            "`boxes` must be tensors, got a ragged symbolic input of a Keras 2 (tf_keras) model: "
            "call `tf_roialign.roi_align` in the `call` of a layer of your own"
        )
    is_one_matrix = box_indices is not None and _is_empty(boxes)
    if isinstance(boxes, list | tuple) and not is_one_matrix and _is_list_of_images(boxes):
        _refuse_indices(box_indices, "a list")
        return _from_list(features, boxes)
    return _from_tensor(to_tensor(boxes, "boxes"), box_indices)


def _from_tensor(boxes, box_indices):
    boxes = _to_coordinates(boxes, "boxes")
    shape = boxes.shape
    rank = shape.rank
    if box_indices is None:
        if rank == 2 and shape[1] == 4:
            raise ValueError(
                f"`boxes` of shape {shape_text(boxes)} need `box_indices`, one image index per box"
            )
        return boxes, NO_INTEGERS.anywhere()
    if rank == 1 and shape[0] == 0:
        boxes = tf.reshape(boxes, [0, 4])
    elif rank is not None and (rank != 2 or shape[1] not in (4, None)):
        raise ValueError(
            f"`boxes` must have shape [K, 4] when `box_indices` is given, got {shape_text(boxes)}"
        )
    return boxes, _to_indices(box_indices)


def flatten_boxes(
    boxes: Boxes, box_indices: TensorLike | None = None
) -> tuple[tf.Tensor, tf.Tensor]:
    """Turns boxes of any form into one matrix and the image of each box.

    Safe in graphs and under XLA: nothing depends on the values but the values. An image index
    that is no number, or too large for int32, becomes -1, which the ops refuse.

    Args:
      boxes: In any form that `tf_roialign.roi_align` takes: `[K, 5]`, `[K, 4]` with
        `box_indices`, a list of N tensors `[L_i, 4]`, a ragged `[N, (L), 4]` or a dense
        `[N, M, 4]`.
      box_indices: Tensor `[K]`, int32 or int64, for boxes `[K, 4]`.

    Returns:
      `(boxes, box_indices)`: `[K, 4]`, float32 or float64, and `[K]`, int32 (or as given), in
      the order in which the boxes came; K = N * M for dense ones.

    Raises:
      ValueError: The shapes are those of no form.
      TypeError: As for `tf_roialign.roi_align`.
    """
    boxes, indices = prepare_boxes(None, boxes, box_indices)
    if box_indices is not None:
        return boxes, tf.convert_to_tensor(indices)
    rank, columns = boxes.shape.rank, boxes.shape[-1] if boxes.shape.rank else None
    if rank == 3 and columns in (4, None):
        shape = tf.shape(boxes)
        images = tf.range(shape[0])[:, tf.newaxis] + tf.zeros(shape[:2], tf.int32)
        return tf.reshape(boxes, [-1, 4]), tf.reshape(images, [-1])
    if rank == 2 and columns == 5:
        column = boxes[:, 0]
        is_index = (column >= 0) & (column < 2**31 - 128)  # of float32, the next below 2^31
        return boxes[:, 1:], tf.cast(tf.where(is_index, column, -tf.ones_like(column)), tf.int32)
    if rank == 2 and columns == 4:  # of a list, or ragged
        return boxes, tf.convert_to_tensor(indices)
    raise ValueError(
        "`boxes` must have shape [K, 5], [K, 4] or [N, M, 4], got " + shape_text(boxes)
    )


def scale_exactly(boxes, spatial_scale):
    """Returns (boxes, spatial_scale) with a scale that the op's attributes hold.

    These are 32 bits wide. Where float64 boxes ask for more, they are multiplied here:
    coordinate * scale is the first thing the op does, so not a bit is different.
    """
    are_usable, are_exact = _as_held(spatial_scale)
    if are_exact:
        return boxes, spatial_scale
    is_pair = isinstance(spatial_scale, tuple)
    scales = spatial_scale if is_pair else (spatial_scale,)
    if boxes.dtype != tf.float64:
        if not are_usable:
            raise ValueError(
                "`spatial_scale` must be finite and greater than 0 as a float32, which it is for "
                f"boxes that are not float64, got {list(scales) if is_pair else spatial_scale}"
            )
        return boxes, spatial_scale
    if boxes.shape.rank == 0:
        return boxes, 1.0  # for the op to refuse
    columns = boxes.shape[-1] if boxes.shape.rank else None
    if columns is None:
        # Of unknown rank, a scalar has no columns: the op refuses that too.
        columns = tf.reduce_sum(tf.shape(boxes)[-1:])
    # The coordinates come last: x, y, x, y.
    place = columns - tf.range(columns)
    y, x = (tf.constant(scale, tf.float64) for scale in (scales[0], scales[-1]))
    of_place = tf.where(tf.equal(place % 2, 0), x, y)
    return boxes * tf.where(place <= 4, of_place, tf.ones([], tf.float64)), 1.0


@functools.lru_cache(maxsize=256)
def _as_held(spatial_scale):
    """Of a float or two: whether they are usable as the op's attributes, and the same there."""
    scales = spatial_scale if isinstance(spatial_scale, tuple) else (spatial_scale,)
    with np.errstate(over="ignore"):
        held = [float(np.float32(scale)) for scale in scales]
    # Subnormals are zero on TensorFlow's threads.
    are_usable = all(np.finfo(np.float32).tiny <= scale < np.inf for scale in held)
    return are_usable, are_usable and all(map(operator.eq, held, scales))


def shape_text(tensor):
    """The shape of a tensor as error texts show it."""
    if tensor.shape.rank is None:
        return "a shape of unknown rank"
    return "[" + ", ".join("?" if size is None else str(size) for size in tensor.shape) + "]"


def to_tensor(value, name):
    """`tf.convert_to_tensor` whose error names the argument."""
    if isinstance(value, tf.Tensor):
        return value
    if isinstance(value, tf.RaggedTensor | tf.SparseTensor):
        raise TypeError(f"`{name}` must be a dense tensor, got a {type(value).__name__}")
    try:
        return tf.convert_to_tensor(value)
    except (TypeError, ValueError) as error:
        if any(isinstance(leaf, keras.KerasTensor) for leaf in tf.nest.flatten(value)):
            raise TypeError(
                f"`{name}` must be a tensor, got a KerasTensor: use the layer "
                "`tf_roialign.RoIAlign` to build a Keras model, or call the function inside a "
                "layer of your own"
            ) from None
        raise TypeError(f"`{name}` cannot be converted to a tensor: {error}") from error


def _to_coordinates(boxes, name):
    boxes = to_tensor(boxes, name)
    if boxes.dtype in (tf.float32, tf.float64):
        return boxes
    if not (boxes.dtype.is_floating or boxes.dtype.is_integer):
        raise TypeError(f"`{name}` must be float32 or float64, got {boxes.dtype.name}")
    if boxes.dtype in (tf.float16, tf.bfloat16):
        _warn_of_16_bits(boxes.dtype.name)
    return tf.cast(boxes, tf.float32)


@functools.cache  # Python's own "once" starts anew whenever someone touches its filters.
def _warn_of_16_bits(dtype):
    bits = 11 if dtype == "float16" else 8
    warnings.warn(
        f"`boxes` are {dtype}, which has {bits} bits: coordinates beyond {2**bits} pixels are "
        "rounded by a pixel or more before RoIAlign sees them. "
        "The layer `tf_roialign.RoIAlign` itself never does this. Keras does, under "
        "`mixed_float16` and `mixed_bfloat16`, to the float inputs of every other layer, `Lambda` "
        "and `keras.Model` subclass that the boxes pass through: make these with "
        "`super().__init__(autocast=False)` (`Lambda(..., autocast=False)`), or keep boxes "
        "float32. This is said once.",
        stacklevel=2,
    )


def _to_indices(box_indices):
    box_indices = to_tensor(box_indices, "box_indices")
    if box_indices.dtype in (tf.int32, tf.int64):
        return box_indices
    # An empty Python list has no integers to tell its dtype by.
    if not box_indices.dtype.is_integer and box_indices.shape != [0]:
        raise TypeError(f"`box_indices` must be int32 or int64, got {box_indices.dtype.name}")
    return tf.cast(box_indices, tf.int64)


def _is_list_of_images(boxes):
    """Tells a list with the boxes of each image from a matrix that is a list of its rows.

    A row has numbers, so an empty entry is an image without boxes.
    """
    return not boxes or any(_rank(entry) not in (0, 1) or _is_empty(entry) for entry in boxes)


def _is_empty(value):
    """Whether it is known to be `[]`, or a tensor or an array of shape [0]."""
    if isinstance(value, list | tuple):
        return not value
    return getattr(value, "shape", None) == (0,)


def _rank(value):
    """The rank of a tensor, a variable, an array or nested numbers; may be None."""
    if isinstance(value, tf.Tensor):  # first, for it is quick to tell
        return value.shape.rank
    if isinstance(value, tf.RaggedTensor | tf.Variable):
        return value.shape.rank
    if isinstance(value, float | int):
        return 0
    if isinstance(value, list | tuple):
        rank = _rank(value[0]) if value else 0
        return None if rank is None else rank + 1
    return np.ndim(value)


def _from_list(features, boxes):
    checks = []
    if not _knows_one_per_image(features, len(boxes), "entry"):
        of_each = tf.zeros([len(boxes)], tf.int32)
        checks = _check_one_per_image(features, len(boxes), "entry", of_each)
    entries = []
    for i, entry in enumerate(boxes):
        if _are_coordinates(entry):
            entries.append(entry)
            continue
        name = f"boxes[{i}]"
        if isinstance(entry, tf.RaggedTensor) and entry.shape.rank == 2:
            # A row of a tensor of ragged_rank 2.
            message = f"`{name}` must have shape [L, 4], with four numbers per box"
            entry = tf.reshape(_after(_four_columns(entry, message), entry.flat_values), [-1, 4])
        entries.append(_as_rows(_to_coordinates(entry, name), f"`{name}` must have shape [L, 4]"))
    if not entries:
        return _after(checks, tf.zeros([0, 4])), NO_INTEGERS.anywhere()
    lengths = [entry.shape[0] for entry in entries]
    # np.array([]) is float64 because nobody said otherwise.
    dtypes = [e.dtype for e, length in zip(entries, lengths, strict=True) if length != 0]
    dtype = tf.float64 if tf.float64 in dtypes else tf.float32
    entries = [entry if entry.dtype == dtype else tf.cast(entry, dtype) for entry in entries]
    if None in lengths:
        entries, box_indices = _with_images(entries), NO_INTEGERS.anywhere()
    elif len(entries) == 1:
        box_indices = zeros(lengths[0])
    else:
        box_indices = np.repeat(np.arange(len(entries), dtype=np.int32), lengths)
    flat = entries[0] if len(entries) == 1 else tf.concat(entries, axis=0)
    return _after(checks, flat), box_indices


def _with_images(entries):
    """`[L_i, 4]` as `[L_i, 5]`: where only the run knows the lengths, that takes the fewest ops."""
    paddings = tf.constant([[0, 0], [1, 0]])
    return [tf.pad(entry, paddings, constant_values=i) for i, entry in enumerate(entries)]


def _are_coordinates(value):
    """Whether it is known to be what the ops take for `[L, 4]`, as it nearly always is."""
    return (
        isinstance(value, tf.Tensor)
        and value.dtype in (tf.float32, tf.float64)
        and value.shape.rank == 2
        and value.shape[1] == 4
    )


def _as_rows(boxes, rule, form=""):
    """Boxes `[L, 4]` of known rank; an empty `[0]` becomes `[0, 4]`."""
    if _are_coordinates(boxes):
        return boxes
    if boxes.shape == [0]:
        return tf.reshape(boxes, [0, 4])
    if not (boxes.shape.is_compatible_with([None, 4]) or boxes.shape.is_compatible_with([0])):
        raise ValueError(f"{rule}, got {shape_text(boxes)}{form}")
    shape = tf.shape(boxes)
    # What only the run knows: [L, 4], or [0].
    is_right = (
        tf.reduce_all(tf.equal(shape[1:], 4))
        & (tf.size(shape) <= 2)
        & tf.equal(tf.size(boxes), 4 * tf.reduce_sum(shape[:1]))
    )
    check = tf.debugging.Assert(is_right, [rule, "got", shape])
    boxes = _after([check], boxes)
    return tf.ensure_shape(tf.reshape(boxes, tf.concat([shape[:1], [4]], 0)), [None, 4])


def _from_ragged(features, boxes):
    row_splits = boxes.row_splits
    is_eager = tf.executing_eagerly()
    # The shape of a RaggedTensor knows the number of more rows, and is slow.
    rows = row_splits.shape[0] - 1 if is_eager else boxes.shape[0]
    is_known = _knows_one_per_image(features, rows, "row")
    # Of [1:] there are four ops.
    ends = None if is_known and (is_eager or rows == 1) else tf.slice(row_splits, [1], [-1])
    checks = [] if is_known else _check_one_per_image(features, rows, "row", ends)
    values = boxes.values
    if not _are_coordinates(values):
        values = _flat_values(boxes, checks)
    if values.shape[0] is None and not rows:
        # Of no image tf.data makes a tensor of shape [0], whatever its static shape says.
        values = tf.reshape(values, [-1, 4])
    values = _after(checks, values)
    if is_eager and "CPU" in row_splits.backing_device:
        return values, _rows_of_known(row_splits.numpy(), values.shape[0])
    if rows == 1:
        return _with_images([values])[0], NO_INTEGERS.anywhere()
    return values, _rows_of(tf.slice(row_splits, [1], [-1]) if ends is None else ends, values)


def _flat_values(boxes, checks):
    """The boxes `[K, 4]` of a RaggedTensor, or why it has none. Adds to the checks."""
    rule = "`boxes` must be a RaggedTensor of shape [N, (L), 4]"
    form = f" with ragged_rank {boxes.ragged_rank}"
    values = boxes.values
    if isinstance(values, tf.RaggedTensor):
        if values.shape.rank != 2:
            raise ValueError(f"{rule}, got {shape_text(boxes)}{form}")
        # tf.ragged.constant and tf.ragged.stack make the four columns ragged too.
        checks += _four_columns(values, f"{rule}, with four numbers per box")
        values = tf.reshape(_after(checks, values.flat_values), [-1, 4])
    return _as_rows(_to_coordinates(values, "boxes"), rule, form)


def _rows_of_known(row_splits, count):
    """`_rows_of` for numbers that can be looked at."""
    if len(row_splits) == 2 and row_splits[1] == count:
        return zeros(count)
    return np.searchsorted(row_splits[1:], np.arange(count), side="right").astype(np.int32)


def _rows_of(row_ends, values):
    """The row of each value: `RaggedTensor.value_rowids`.

    For that, XLA would have to know the row lengths when it compiles, and compile again for
    every other ones.
    """
    dtype = row_ends.dtype
    first = tf.constant(0, dtype)
    # Of tf.unstack there is one op, of [0] there are four.
    count = values.shape[0]
    count = tf.unstack(tf.shape(values, out_type=dtype))[0] if count is None else count
    places = tf.range(first, count, dtype=dtype)
    rows = tf.raw_ops.UpperBound(
        sorted_inputs=tf.expand_dims(row_ends, first), values=tf.expand_dims(places, first)
    )
    return tf.squeeze(rows, [0])


# What is wrong with known numbers is raised at once. Checks of numbers that only a
# graph's run knows are returned, to be put before what follows, whose own errors are
# less clear.


def _four_columns(rows, message):
    lengths = rows.row_lengths()
    static_lengths = tf.get_static_value(lengths)
    if static_lengths is None:
        four = tf.constant(4, lengths.dtype)
        return [tf.debugging.assert_equal(lengths, four, message=message)]
    if np.any(static_lengths != 4):
        raise ValueError(f"{message}, got {static_lengths[static_lengths != 4][0]}")
    return []


def _knows_one_per_image(features, count, noun):
    """Whether there is nothing left for the run to check."""
    if features is None:
        return True
    batch = features.shape[0] if features.shape.rank else None
    if batch is None or count is None:
        return False
    if batch != count:
        raise ValueError(f"{_one_per_image(noun)} ({batch}), got {count}")
    return True


def _one_per_image(noun):
    return f"`boxes` must have one {noun} per image"


def _check_one_per_image(features, count, noun, of_each):
    """`of_each`: some tensor with a number for each of the `count`, which may be None."""
    shape = tf.shape(features)
    count = tf.size(of_each) if count is None else tf.constant(count)
    # No == here: in a graph of TensorFlow 1 it compares identities.
    if features.shape.rank:
        images = tf.unstack(shape)[0]
        is_right = tf.equal(images, count)
        images = tf.stack([images])
    else:
        # Features of another rank are for the op to refuse.
        images = shape[:1]
        is_right = tf.reduce_all(tf.equal(images, count)) | tf.not_equal(tf.size(shape), 4)
    # Of int32 this is one op; of other numbers it is a function call, to keep them off a GPU.
    check = tf.debugging.Assert(is_right, [_one_per_image(noun), images, "got", count])
    if check is None:  # done already, eagerly
        return []
    # XLA leaves assertions out, but this fails there too. Elsewhere it is optimized away.
    with tf.control_dependencies([check]):
        return [tf.reshape(of_each, images)]


def _after(checks, tensor):
    if not checks:
        return tensor
    with tf.control_dependencies(checks):
        return tf.identity(tensor)


def _refuse_indices(box_indices, form):
    if box_indices is not None:
        raise ValueError(
            "`boxes` must have shape [K, 4] when `box_indices` is given, "
            f"got {form}, which says itself which image a box is of"
        )
