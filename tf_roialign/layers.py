"""Keras layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

import keras
import tensorflow as tf

from tf_roialign import keras2
from tf_roialign.arguments import check_spatial_scale
from tf_roialign.functional import one_map, roi_align
from tf_roialign.layer_base import (
    DATA_FORMATS,
    PoolingLayer,
    is_shape,
    symbolic,
    symbolic_boxes,
)
from tf_roialign.types import Boxes, KerasDataFormat, Mode, OutputSize, SpatialScale, TensorLike


@keras.saving.register_keras_serializable(package="tf_roialign")
class RoIAlign(PoolingLayer):
    """Pools each box of a feature map to a fixed size, as `tf_roialign.roi_align`.

    Call it as `layer(features, boxes)` or `layer(features, boxes, box_indices)`; a list of
    these, `layer([features, boxes])`, or a dict of them by name does too (if boxes are tensors
    or arrays: Keras mixes no tensors and nested numbers in one structure).
    The features are cast to the layer's compute dtype; the boxes keep theirs
    under every dtype policy, since 16 bits cannot hold coordinates.

    XLA compiles again for every new number of boxes. So Keras' `jit_compile="auto"` takes XLA for
    a model with this layer only where the number of boxes of an image cannot change: in a
    functional model whose boxes are dense `[N, M, 4]` with a known M, or indexed with a known
    K. `compile(jit_compile=True)` takes it for all of them.

    The output has one row per box, while `fit` wants arrays with one row per image:
    train with a `tf.data.Dataset` of batches `((images, boxes), labels)` whose labels
    have one row per box.

    Example::

        image = keras.Input([None, None, 3])
        boxes = keras.Input([None, 4], ragged=True)
        features = keras.layers.Conv2D(64, 4, strides=4)(image)
        pooled = tf_roialign.RoIAlign(7, spatial_scale=1 / 4, aligned=True)(features, boxes)
        model = keras.Model([image, boxes], pooled)

    Args:
      output_size: Pooled height and width `(PH, PW)`, or one int for both, at
        least 1.
      spatial_scale: Feature pixels per input-image pixel, or `(y, x)` where the axes
        differ. Finite, greater than 0.
      sampling_ratio: Samples per bin and axis; adaptive if <= 0.
      aligned: Whether coordinates are shifted by half a feature pixel; see
        `tf_roialign.roi_align`.
      data_format: "channels_last", "channels_first", or None for
        `keras.config.image_data_format()`.
      mode: "avg" or "max"; see `tf_roialign.roi_align`.
      **kwargs: Of `keras.layers.Layer`.

    Call arguments:
      features: `[N, H, W, C]` (channels_last) or `[N, C, H, W]`.
      boxes: `(x1, y1, x2, y2)` in input-image pixels: `[K, 5]` with the image
        index in column 0, `[K, 4]` with `box_indices`, a list of N tensors
        `[L_i, 4]`, a ragged `[N, (L), 4]` or a dense `[N, M, 4]`.
      box_indices: `[K]`, int32 or int64, for boxes `[K, 4]`.

    Returns:
      `[K, PH, PW, C]` (channels_first: `[K, C, PH, PW]`); for dense boxes
      `[N, M, PH, PW, C]` (`[N, M, C, PH, PW]`).

    Raises:
      ValueError: An argument is out of its range.
      RuntimeError: Keras runs on another backend than TensorFlow.

    Errors of a call are those of `tf_roialign.roi_align`.
    """

    automatic_name = "roi_align"

    def __init__(
        self,
        output_size: OutputSize,
        spatial_scale: SpatialScale = 1.0,
        sampling_ratio: int = -1,
        aligned: bool = False,
        data_format: KerasDataFormat | None = None,
        mode: Mode = "avg",
        **kwargs: Any,
    ) -> None:
        super().__init__(output_size, sampling_ratio, aligned, data_format, mode, **kwargs)
        self.spatial_scale = check_spatial_scale(spatial_scale)

    if TYPE_CHECKING:  # Keras' own says nothing

        @overload
        def __call__(
            self, features: TensorLike, boxes: Boxes, box_indices: TensorLike | None = None
        ) -> tf.Tensor: ...
        @overload
        def __call__(self, features: Sequence[Boxes] | Mapping[str, Boxes]) -> tf.Tensor: ...
        @overload
        def __call__(
            self,
            features: keras.KerasTensor | Sequence[Any] | Mapping[str, Any],
            boxes: keras.KerasTensor | Sequence[keras.KerasTensor] | None = None,
            box_indices: keras.KerasTensor | None = None,
        ) -> keras.KerasTensor: ...

    def build(self, features_shape=None, boxes_shape=None, box_indices_shape=None):
        """Does nothing, since there are no weights; the shapes are those of `call`'s arguments."""

    def call(self, features, boxes=None, box_indices=None):
        """Pools the boxes; see the class."""
        features, boxes, box_indices = _arguments(features, boxes, box_indices)
        if keras2.is_symbol(features) or keras2.is_symbol(boxes):
            raise TypeError(
                "`RoIAlign` is a Keras 3 layer, got the symbolic input of a Keras 2 (tf_keras) "
                "model: there, call `tf_roialign.roi_align` in the `call` of a layer of your own"
            )
        self.note_call(boxes)
        return roi_align(
            self.in_compute_dtype(one_map(features)),
            boxes,
            self.output_size,
            self.spatial_scale,
            self.sampling_ratio,
            self.aligned,
            box_indices=box_indices,
            data_format=DATA_FORMATS[self.data_format],
            mode=self.mode,
        )

    def compute_output_shape(self, features_shape, boxes_shape=None, box_indices_shape=None):
        """Returns the output's shape; a list of shapes stands for a list of boxes.

        Shapes do not tell ragged boxes from dense ones: `[N, None, 4]` is taken for dense boxes
        until the layer has been called with ragged ones.
        """
        if not is_shape(features_shape):
            features_shape, boxes_shape, box_indices_shape = _arguments(
                features_shape, boxes_shape, box_indices_shape, "{}_shape"
            )
        if boxes_shape is None:
            # Nested Python numbers, of which Keras keeps no shape.
            one = self.compute_output_shape(features_shape, (1, 5))
            return (None, *one[1:])

        return self._spec_of(
            symbolic(features_shape),
            symbolic_boxes(boxes_shape, self._is_ragged),
            symbolic(box_indices_shape, "int32"),
        ).shape

    def compute_output_spec(self, features, boxes=None, box_indices=None):
        """Returns the output's shape and dtype for symbolic inputs."""
        features, boxes, box_indices = _arguments(features, boxes, box_indices)
        spec = self._spec_of(features, boxes, box_indices)
        self.note_boxes(boxes)
        return spec

    def _spec_of(self, features, boxes, box_indices):
        return self.trace(boxes, features, boxes, box_indices)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "spatial_scale": self.spatial_scale,
        }


def _arguments(features, boxes, box_indices, names="{}"):
    """The arguments of a call, of which the first may be a list or a dict of all of them."""
    if boxes is None and isinstance(features, dict):
        unknown = set(features) - {"features", "boxes", "box_indices"}
        if unknown or not {"features", "boxes"} <= set(features):
            raise ValueError(
                "a dict of inputs must have the keys `features`, `boxes` and, for boxes [K, 4], "
                f"`box_indices`, got {sorted(map(str, features))}"
            )
        return features["features"], features["boxes"], features.get("box_indices", box_indices)
    if boxes is None and isinstance(features, list | tuple) and len(features) in (2, 3):
        if len(features) == 3:
            return tuple(features)
        return *features, box_indices
    if boxes is None:
        raise TypeError(
            f"`{names.format('boxes')}` must be given: call the layer as `layer(features, boxes)` "
            "or `layer([features, boxes])`"
        )
    return features, boxes, box_indices
