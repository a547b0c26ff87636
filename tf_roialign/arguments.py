"""Checks of Python arguments that the functional API and the layers share."""

import math
import numbers
import operator
from collections.abc import Sequence

import numpy as np

OutputSize = int | Sequence[int]

_END_OF_INT32 = 2**31


def check_output_size(output_size: OutputSize) -> tuple[int, int]:
    """Returns (pooled height, pooled width)."""
    sizes = output_size
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
            f"`output_size` must be two integers of at least 1, got {_shown(output_size)}"
        )
    if max(sizes) >= _END_OF_INT32:
        raise ValueError(f"`output_size` must be less than 2^31, got {_shown(output_size)}")
    return sizes[0], sizes[1]


def check_spatial_scale(spatial_scale: float) -> float:
    """Returns the scale as a Python float."""
    try:
        # Of a string, float() would read a number.
        scale = math.nan if isinstance(spatial_scale, str | bytes) else float(spatial_scale)
    except (TypeError, ValueError, OverflowError):
        scale = math.nan
    if not (math.isfinite(scale) and scale > 0):
        raise ValueError(
            f"`spatial_scale` must be finite and greater than 0, got {_shown(spatial_scale)}"
        )
    return scale


def check_sampling_ratio(sampling_ratio: int) -> int:
    """Returns the ratio as a Python int, -1 for every negative one."""
    try:
        ratio = _index(sampling_ratio)
    except TypeError:
        raise ValueError(
            f"`sampling_ratio` must be an integer, got {_shown(sampling_ratio)}"
        ) from None
    if ratio >= _END_OF_INT32:
        raise ValueError(f"`sampling_ratio` must be less than 2^31, got {ratio}")
    return max(ratio, -1)


def check_aligned(aligned: bool) -> bool:
    """Returns `aligned` as a Python bool; 0 and 1 pass for one."""
    try:
        if operator.index(np.asarray(aligned).item()) in (0, 1):
            return bool(aligned)
    except (TypeError, ValueError, OverflowError):
        pass
    raise ValueError(f"`aligned` must be True or False, got {_shown(aligned)}")


def check_choice(name: str, value: str, choices: Sequence[str]) -> str:
    """Returns `value` if it is one of `choices`."""
    if value not in choices:
        wanted = " or ".join(f'"{choice}"' for choice in choices)
        raise ValueError(f"`{name}` must be {wanted}, got {_shown(value)}")
    return value


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
