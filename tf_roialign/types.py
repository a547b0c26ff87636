"""The types of arguments, by the names that signatures show.

For annotations of your own: `from tf_roialign.types import Boxes, TensorLike`.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, Union

import tensorflow as tf

DataFormat: TypeAlias = Literal["NHWC", "NCHW"]
"""The layout of features, for functions."""

KerasDataFormat: TypeAlias = Literal["channels_last", "channels_first"]
"""The layout of features, for layers."""

Mode: TypeAlias = Literal["avg", "max"]
"""What a bin is of its samples."""

SpatialScale: TypeAlias = float | Sequence[float]
"""Feature pixels per input-image pixel: a number, or (y, x)."""

if TYPE_CHECKING:
    import numpy.typing as npt
    from matplotlib.figure import Figure as Figure

    # TensorFlow's own has parts that no type checker resolves. An Operation is what `tf.constant`
    # is annotated to return.
    TensorLike: TypeAlias = tf.Tensor | tf.Variable | tf.Operation | npt.ArrayLike

    # To mypy all of TensorFlow is Any, and a union with Any takes everything.
    class _TensorShape(Protocol):
        def as_list(self) -> Any: ...

    OutputSize: TypeAlias = int | Sequence[int] | _TensorShape
else:
    Figure = Any  # matplotlib is an extra
    TensorLike = tf.types.experimental.TensorLike
    """A tensor, or what becomes one."""
    OutputSize = int | Sequence[int] | tf.TensorShape
"""Pooled height and width, or one int for both."""

# Unions as `|` would want what `TensorLike` names, which is not all there yet.
Boxes: TypeAlias = Union[TensorLike, tf.RaggedTensor, Sequence[TensorLike]]  # noqa: UP007
"""Boxes in any form that `tf_roialign.roi_align` takes."""

SpatialScales: TypeAlias = Union[Sequence[SpatialScale], TensorLike]  # noqa: UP007
"""Of each map of a pyramid."""
