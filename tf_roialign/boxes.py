"""Turns every form that boxes come in into the ones that the ops read."""

import numpy as np
import tensorflow as tf

_NO_INDICES = np.empty([0], np.int32)


def prepare_boxes(features, boxes, box_indices):
    """Returns (boxes, box_indices) as the ops take them.

    Dense and indexed boxes pass as they are, since the ops check and read them
    in place; lists and ragged boxes are flattened. Coordinates become float32
    unless they are float64.
    """
    if isinstance(boxes, tf.RaggedTensor):
        _refuse_indices(box_indices, "a RaggedTensor")
        return _from_ragged(features, boxes)
    if isinstance(boxes, list | tuple) and _is_list_of_matrices(boxes):
        _refuse_indices(box_indices, "a list")
        return _from_list(features, boxes)

    boxes = _to_coordinates(boxes)
    if box_indices is None:
        if boxes.shape.rank == 2 and boxes.shape[1] == 4:
            raise ValueError(
                f"`boxes` of shape {_shape_text(boxes)} need `box_indices`, one image index per box"
            )
        return boxes, _NO_INDICES
    box_indices = tf.convert_to_tensor(box_indices)
    if not box_indices.dtype.is_integer:
        # An empty Python list has no integers to tell its dtype by.
        if box_indices.shape != [0]:
            raise TypeError(f"`box_indices` must be int32 or int64, got {box_indices.dtype.name}")
        box_indices = tf.cast(box_indices, tf.int32)
    if box_indices.dtype not in (tf.int32, tf.int64):
        box_indices = tf.cast(box_indices, tf.int64)
    if boxes.shape.rank is not None and (boxes.shape.rank != 2 or boxes.shape[1] not in (4, None)):
        raise ValueError(
            f"`boxes` must have shape [K, 4] when `box_indices` is given, got {_shape_text(boxes)}"
        )
    return boxes, box_indices


def scale_exactly(boxes, spatial_scale):
    """Returns (boxes, spatial_scale) with a scale that the op's attribute holds.

    The attribute is 32 bits wide. Where float64 boxes ask for more, they are
    multiplied here: coordinate * scale is the first thing the op does, so not a
    bit is different.
    """
    if boxes.dtype != tf.float64:
        return boxes, spatial_scale
    with np.errstate(over="ignore"):
        if float(np.float32(spatial_scale)) == spatial_scale:
            return boxes, spatial_scale
    columns = boxes.shape[-1] if boxes.shape.rank else None
    if columns is None:
        columns = tf.shape(boxes)[-1]
    elif columns not in (4, 5):
        return boxes, spatial_scale  # for the op to refuse
    is_coordinate = tf.range(columns) >= columns - 4
    one = tf.ones([], tf.float64)
    return boxes * tf.where(is_coordinate, one * spatial_scale, one), 1.0


def _to_coordinates(boxes):
    boxes = tf.convert_to_tensor(boxes)
    if boxes.dtype in (tf.float32, tf.float64):
        return boxes
    if not (boxes.dtype.is_floating or boxes.dtype.is_integer):
        raise TypeError(f"`boxes` must be float32 or float64, got {boxes.dtype.name}")
    return tf.cast(boxes, tf.float32)


def _is_list_of_matrices(boxes):
    """Tells a list with one matrix of boxes per image from one nested list."""
    if not boxes:
        return True
    first = boxes[0]
    if isinstance(first, list | tuple):
        return not first or _rank(first[0]) == 1
    return _rank(first) not in (0, 1)


def _rank(value):
    """The rank of a tensor, a variable, an array or nested numbers; may be None."""
    return value.shape.rank if isinstance(value, tf.Tensor | tf.Variable) else np.ndim(value)


def _from_list(features, boxes):
    check = _check_one_per_image(features, len(boxes), "entry")
    entries = [_to_coordinates(entry) for entry in boxes]
    dtype = tf.float64 if any(e.dtype == tf.float64 for e in entries) else tf.float32
    for i, entry in enumerate(entries):
        if entry.shape == [0]:
            entry = tf.reshape(entry, [0, 4])
        if not entry.shape.is_compatible_with([None, 4]):
            raise ValueError(f"`boxes[{i}]` must have shape [L, 4], got {_shape_text(entry)}")
        if not entry.shape[1:].is_fully_defined():
            check = tf.debugging.assert_equal(
                tf.shape(entry)[1:], [4], message=f"`boxes[{i}]` must have shape [L, 4]"
            )
            entry = _rows_of_four(entry, check)
        entries[i] = tf.cast(entry, dtype)
    if not entries:
        return tf.zeros([0, 4], dtype), _NO_INDICES
    lengths = [entry.shape[0] for entry in entries]
    if None in lengths:
        lengths = [tf.shape(entry)[0] for entry in entries]
        box_indices = tf.repeat(tf.range(len(entries)), lengths)
    else:
        box_indices = np.repeat(np.arange(len(entries), dtype=np.int32), lengths)
    return _after(check, tf.concat(entries, axis=0)), box_indices


def _from_ragged(features, boxes):
    values = boxes.values
    if isinstance(values, tf.RaggedTensor) and values.shape.rank == 2:
        # tf.ragged.constant and tf.ragged.stack make the four columns ragged too.
        values = _four_columns(values)
    if isinstance(values, tf.RaggedTensor) or not values.shape.is_compatible_with([None, 4]):
        raise ValueError(
            f"`boxes` must be a RaggedTensor of shape [N, (L), 4], got {_shape_text(boxes)} "
            f"with ragged_rank {boxes.ragged_rank}"
        )
    check = _check_one_per_image(features, boxes.nrows(), "row")
    return _after(check, _to_coordinates(values)), boxes.value_rowids()


def _four_columns(rows):
    lengths = rows.row_lengths()
    message = "`boxes` must be a RaggedTensor of shape [N, (L), 4], with four numbers per box"
    static_lengths = tf.get_static_value(lengths)
    if static_lengths is None:
        check = tf.debugging.assert_equal(lengths, tf.constant(4, lengths.dtype), message=message)
        return _rows_of_four(rows.flat_values, check)
    if np.any(static_lengths != 4):
        raise ValueError(f"{message}, got {static_lengths[static_lengths != 4][0]}")
    return tf.reshape(rows.flat_values, [-1, 4])


def _rows_of_four(numbers, check):
    return tf.reshape(_after(check, numbers), [-1, 4])


def _check_one_per_image(features, count, noun):
    """Returns a check still to be run if a number is only known in a graph."""
    message = f"`boxes` must have one {noun} per image"
    batch = features.shape[0] if features.shape.rank else None
    static_count = tf.get_static_value(count)
    if batch is None or static_count is None:
        batch = tf.shape(features, out_type=tf.int64)[0]
        count = tf.cast(count, tf.int64)
        return tf.debugging.Assert(batch == count, [message, batch, "got", count])
    if batch != static_count:
        raise ValueError(f"{message} ({batch}), got {static_count}")
    return None


def _after(check, tensor):
    """`tensor`, once `check` has passed: its message is clearer than what would follow."""
    if check is None:
        return tensor
    with tf.control_dependencies([check]):
        return tf.identity(tensor)


def _refuse_indices(box_indices, form):
    if box_indices is not None:
        raise ValueError(
            "`boxes` must have shape [K, 4] when `box_indices` is given, "
            f"got {form}, which says itself which image a box is of"
        )


def _shape_text(tensor):
    if tensor.shape.rank is None:
        return "a shape of unknown rank"
    return "[" + ", ".join("?" if size is None else str(size) for size in tensor.shape) + "]"
