"""Checks of Python arguments that the functional API and the layers share."""

import math
import numbers
import operator
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from tf_roialign.types import OutputSize, SpatialScale

_END_OF_INT32 = 2**31
_PLAIN = (int, float, str, np.generic, np.ndarray)

# The checks begin with what nearly every call gives, in its exact type: small eager calls would
# take as long for the rest as for the op.


def check_output_size(output_size: OutputSize) -> tuple[int, int]:
    """Returns (pooled height, pooled width)."""
    if type(output_size) is int and 0 < output_size < _END_OF_INT32:
        return output_size, output_size
    if type(output_size) in (tuple, list) and len(output_size) == 2:
        height, width = output_size
        are_ints = type(height) is int and type(width) is int
        if are_ints and 0 < height < _END_OF_INT32 and 0 < width < _END_OF_INT32:
            return height, width
    sizes = _without_tensors("output_size", output_size)
    if isinstance(sizes, numbers.Integral):
        sizes = (sizes, sizes)
    try:
        # Not of a set or a dict, whose order means nothing.
        is_ordered = isinstance(sizes, Sequence | np.ndarray)
        sizes = [_index(size) for size in sizes] if is_ordered else []
    except TypeError:
        sizes = []
    if len(sizes) != 2 or min(sizes) < 1:
        raise ValueError(
            f"`output_size` must be one or two integers of at least 1, got {_shown(output_size)}"
        )
    if max(sizes) >= _END_OF_INT32:
        raise ValueError(f"`output_size` must be less than 2^31, got {_shown(output_size)}")
    return sizes[0], sizes[1]


def check_spatial_scale(
    spatial_scale: SpatialScale, name: str = "spatial_scale"
) -> float | tuple[float, float]:
    """Returns the scale as a Python float; (y, x) where they differ."""
    if type(spatial_scale) is float and 0 < spatial_scale < math.inf:
        return spatial_scale
    value = _without_tensors(name, spatial_scale)
    if isinstance(value, list | tuple | np.ndarray):
        scales = [_scale(entry) for entry in value]
        if len(scales) != 2 or not all(map(_is_scale, scales)):
            raise ValueError(
                f"`{name}` must be a number or two, (y, x), finite and greater than 0, got "
                f"{_shown(spatial_scale)}"
            )
        return scales[0] if scales[0] == scales[1] else (scales[0], scales[1])
    scale = _scale(value)
    if not _is_scale(scale):
        raise ValueError(f"`{name}` must be finite and greater than 0, got {_shown(spatial_scale)}")
    return scale


def check_canonical_scale(canonical_scale: float) -> float:
    """Returns the side of a box of the canonical level as a Python float."""
    if type(canonical_scale) in (int, float) and 1 <= canonical_scale < 1e30:
        return float(canonical_scale)
    scale = _scale(_without_tensors("canonical_scale", canonical_scale))
    held = np.float32(scale) if abs(scale) < 3e38 else np.float32(np.nan)
    if not _is_scale(held):
        raise ValueError(
            "`canonical_scale` must be finite and greater than 0 as a float32, got "
            f"{_shown(canonical_scale)}"
        )
    return scale


def check_canonical_level(canonical_level: int) -> int:
    """Returns the level as a Python int."""
    level = _integer("canonical_level", canonical_level)
    if abs(level) >= _END_OF_INT32:
        raise ValueError(f"`canonical_level` must be less than 2^31, got {level}")
    return level


def _scale(value) -> float:
    try:
        # Of a string, float() would read a number.
        return math.nan if isinstance(value, str | bytes) else float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def _is_scale(scale):
    return math.isfinite(scale) and scale > 0


def check_sampling_ratio(sampling_ratio: int) -> int:
    """Returns the ratio as a Python int, -1 for every negative one."""
    if type(sampling_ratio) is int and sampling_ratio < _END_OF_INT32:
        return max(sampling_ratio, -1)
    ratio = _integer("sampling_ratio", sampling_ratio)
    if ratio >= _END_OF_INT32:
        raise ValueError(f"`sampling_ratio` must be less than 2^31, got {ratio}")
    return max(ratio, -1)


def check_aligned(aligned: bool) -> bool:
    """Returns `aligned` as a Python bool; 0 and 1 pass for one."""
    if type(aligned) is bool:
        return aligned
    value = _without_tensors("aligned", aligned)
    try:
        if np.ndim(value) == 0 and operator.index(np.asarray(value).item()) in (0, 1):
            return bool(value)
    except (TypeError, ValueError, OverflowError):
        pass
    raise ValueError(f"`aligned` must be True or False, got {_shown(aligned)}")


def check_choice(name: str, value: str, choices: Sequence[str]) -> str:
    """Returns `value` if it is one of `choices`."""
    if type(value) is str and value in choices:
        return value
    known = _without_tensors(name, value)
    if isinstance(known, bytes):  # what tensors of strings hold
        known = known.decode(errors="replace")
    if not isinstance(known, str) or known not in choices:
        wanted = " or ".join(f'"{choice}"' for choice in choices)
        raise ValueError(f"`{name}` must be {wanted}, got {_shown(value)}")
    return known


def _without_tensors(name, value):
    """`value` with Python's and NumPy's numbers in the place of tensors, shapes and 0-d arrays.

    The arguments are attributes of the op: parts of the graph, that no tensor of the graph
    can tell.
    """
    if isinstance(value, _PLAIN):
        return _without_dimensions(value)
    if isinstance(value, tf.TensorShape):
        value = value.as_list() if value.rank is not None else [None]
    if isinstance(value, list | tuple):
        if any(entry is None for entry in value):
            raise ValueError(
                f"`{name}` must be known when the graph is built, got a shape with unknown "
                f"dimensions, {_shown(value)}"
            )
        return [_without_tensors(name, entry) for entry in value]
    if not (tf.is_tensor(value) or isinstance(value, keras.KerasTensor)):
        return value
    try:
        known = tf.get_static_value(tf.convert_to_tensor(value))
    except Exception:  # a KerasTensor, a RaggedTensor, ...: each raises an error of its own
        known = None
    if known is None:
        raise ValueError(
            f"`{name}` must be known when the graph is built, got a tensor whose value only the "
            "run knows: give a Python value, or a constant"
        )
    return _without_dimensions(known)


def _without_dimensions(value):
    return value.item() if isinstance(value, np.ndarray) and value.ndim == 0 else value


def _integer(name, value) -> int:
    try:
        return _index(_without_tensors(name, value))
    except TypeError:
        raise ValueError(f"`{name}` must be an integer, got {_shown(value)}") from None


def _index(value) -> int:
    if isinstance(value, bool | np.bool_):
        raise TypeError("a bool is no number")
    return operator.index(value)


def _shown(value) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, tuple):
        value = list(value)
    return str(value)
