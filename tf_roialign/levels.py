"""Which map of a pyramid each box reads, where the caller says it."""

import tensorflow as tf

from tf_roialign.boxes import to_tensor
from tf_roialign.constants import NO_INTEGERS


def prepare_levels(levels):
    """`levels` as the ops take them: `[K]`, int32 or int64; `[0]` where there are none."""
    if levels is None:
        return NO_INTEGERS.anywhere()  # by their areas
    if isinstance(levels, tf.RaggedTensor):
        levels = levels.flat_values
    if isinstance(levels, list | tuple) and any(_has_a_dimension(entry) for entry in levels):
        # One entry for each image, as a list of boxes has.
        entries = [_flat(entry, f"levels[{i}]") for i, entry in enumerate(levels)]
        dtypes = {entry.dtype for entry in entries}
        common = tf.int32 if dtypes == {tf.int32} else tf.int64
        return tf.concat([tf.cast(entry, common) for entry in entries], axis=0)
    return _flat(levels, "levels")


def _flat(levels, name):
    levels = to_tensor(levels, name)
    # An empty Python list has no integers to tell its dtype by.
    if levels.dtype not in (tf.int32, tf.int64) and levels.shape == [0]:
        levels = tf.cast(levels, tf.int32)
    if levels.dtype not in (tf.int32, tf.int64):
        raise TypeError(f"`{name}` must be int32 or int64, got {levels.dtype.name}")
    if levels.shape.rank == 1:
        return levels
    if levels.shape.rank == 2:
        return tf.reshape(levels, [-1])  # [N, M], of dense boxes
    if levels.shape.rank is None:
        return levels  # for the op to look at
    raise ValueError(
        f"`{name}` must have shape [K] or [N, M], one map index per box, got "
        f"{levels.shape.as_list()}"
    )


def _has_a_dimension(value):
    return isinstance(value, list | tuple) or len(getattr(value, "shape", ())) > 0
