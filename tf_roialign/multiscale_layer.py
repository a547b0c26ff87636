"""The Keras layer on feature pyramids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

import keras
import numpy as np
import tensorflow as tf

from tf_roialign.arguments import (
    check_canonical_level,
    check_canonical_scale,
    check_spatial_scale,
)
from tf_roialign.boxes import to_tensor
from tf_roialign.layer_base import (
    DATA_FORMATS,
    PoolingLayer,
    symbolic,
    symbolic_boxes,
)
from tf_roialign.library import MAX_MAPS
from tf_roialign.multiscale import multiscale_roi_align
from tf_roialign.types import Boxes, KerasDataFormat, Mode, OutputSize, SpatialScales, TensorLike


@keras.saving.register_keras_serializable(package="tf_roialign")
class MultiScaleRoIAlign(PoolingLayer):
    """Pools each box from one map of a pyramid, as `tf_roialign.multiscale_roi_align`.

    With the names, order and meaning of `torchvision.ops.MultiScaleRoIAlign`, in one op for all
    levels. The maps are cast to the layer's compute dtype; the boxes keep theirs.

    XLA, `fit` and labels: as for `tf_roialign.RoIAlign`.

    Example::

        pool = tf_roialign.MultiScaleRoIAlign(["p2", "p3", "p4", "p5"], 7, 2, aligned=True)
        pooled = pool({"p2": p2, "p3": p3, "p4": p4, "p5": p5}, boxes, image_shapes=[(800, 1088)])

    Args:
      featmap_names: Names of the maps to pool from, 1 to 8, in the order of `spatial_scales`.
      output_size: Pooled height and width `(PH, PW)`, or one int for both, at least 1.
      sampling_ratio: Samples per bin and axis; adaptive if <= 0.
      canonical_scale: Side in input-image pixels of a square box of `canonical_level`.
      canonical_level: An int; of the rule that `multiscale_roi_align` states.
      aligned: Whether coordinates are shifted by half a feature pixel. torchvision fixes
        False, Detectron2's ROIPooler uses True.
      spatial_scales: For each name, feature pixels per input-image pixel, or `(y, x)`. None:
        inferred in each call, as torchvision does, from `image_shapes`: the power of two that
        is nearest to the height of the map over that of the largest image.
      data_format: "channels_last", "channels_first", or None for
        `keras.config.image_data_format()`.
      mode: "avg" or "max"; see `tf_roialign.roi_align`.
      **kwargs: Of `keras.layers.Layer`.

    Call arguments:
      features: Dict of maps by name, of which those that are not named are ignored; or a list:
        of one map for each name, or, if all names are numbers such as "0" and "1", of maps that
        are called by their place. `[N, H, W, C]` (channels_last) or `[N, C, H, W]`.
      boxes: In any form that `RoIAlign` takes, in input-image pixels.
      image_shapes: Heights and widths of the images: a list of pairs, one pair, or a tensor
        `[N, 2]` or `[2]`. Needed without `spatial_scales`; only the largest height is used.
      box_indices: `[K]`, int32 or int64, for boxes `[K, 4]`.

    Returns:
      What `multiscale_roi_align` returns.

    Raises:
      ValueError: An argument is out of its range; a map that is named is not there; there are
        neither `spatial_scales` nor `image_shapes`.
      RuntimeError: Keras runs on another backend than TensorFlow.

    Errors of a call are those of `tf_roialign.multiscale_roi_align`.
    """

    automatic_name = "multiscale_roi_align"

    def __init__(
        self,
        featmap_names: Sequence[str],
        output_size: OutputSize,
        sampling_ratio: int,
        *,
        canonical_scale: float = 224,
        canonical_level: int = 4,
        aligned: bool = False,
        spatial_scales: SpatialScales | None = None,
        data_format: KerasDataFormat | None = None,
        mode: Mode = "avg",
        **kwargs: Any,
    ) -> None:
        super().__init__(output_size, sampling_ratio, aligned, data_format, mode, **kwargs)
        self.featmap_names = _check_names(featmap_names)
        self.canonical_scale = check_canonical_scale(canonical_scale)
        self.canonical_level = check_canonical_level(canonical_level)
        self.spatial_scales = _check_scales(spatial_scales, len(self.featmap_names))

    if TYPE_CHECKING:  # Keras' own says nothing

        @overload
        def __call__(
            self,
            features: Mapping[str, TensorLike] | Sequence[TensorLike],
            boxes: Boxes,
            image_shapes: TensorLike | None = None,
            box_indices: TensorLike | None = None,
        ) -> tf.Tensor: ...
        @overload
        def __call__(
            self,
            features: Mapping[str, keras.KerasTensor] | Sequence[keras.KerasTensor],
            boxes: keras.KerasTensor | Sequence[keras.KerasTensor],
            image_shapes: keras.KerasTensor | TensorLike | None = None,
            box_indices: keras.KerasTensor | None = None,
        ) -> keras.KerasTensor: ...

    def build(
        self,
        features_shape=None,
        boxes_shape=None,
        image_shapes_shape=None,
        box_indices_shape=None,
    ):
        """Does nothing, since there are no weights; the shapes are those of `call`'s arguments."""

    def call(self, features, boxes, image_shapes=None, box_indices=None):
        """Pools the boxes; see the class."""
        self.note_call(boxes)
        maps = [
            self.in_compute_dtype(to_tensor(each, f"features[{name!r}]"))
            for name, each in zip(self.featmap_names, self._named(features), strict=True)
        ]
        return multiscale_roi_align(
            maps,
            boxes,
            self.output_size,
            self._scales_of(maps, image_shapes),
            self.sampling_ratio,
            self.aligned,
            box_indices=box_indices,
            canonical_scale=self.canonical_scale,
            canonical_level=self.canonical_level,
            data_format=DATA_FORMATS[self.data_format],
            mode=self.mode,
        )

    def _named(self, features):
        """The maps, in the order of their names."""
        names = self.featmap_names
        if isinstance(features, dict):
            missing = [name for name in names if name not in features]
            if missing:
                raise ValueError(
                    f"`features` must have the maps {names} of `featmap_names`, got "
                    f"{sorted(map(str, features))}"
                )
            return [features[name] for name in names]
        if not isinstance(features, list | tuple):
            raise TypeError(
                "`features` must be a dict or a list of maps, got a "
                f"{type(features).__name__}: for one map there is `tf_roialign.RoIAlign`"
            )
        if all(name.isdecimal() for name in names):
            places = [int(name) for name in names]
            if max(places) < len(features):
                return [features[place] for place in places]
        elif len(features) == len(names):
            return list(features)
        raise ValueError(f"`features` must have the maps {names}, got a list of {len(features)}")

    def _scales_of(self, maps, image_shapes):
        if self.spatial_scales is not None:
            return self.spatial_scales
        if image_shapes is None:
            raise ValueError(
                "`image_shapes` must be given, heights and widths of the images, unless the layer "
                "is made with `spatial_scales`"
            )
        height = _largest_height(image_shapes)
        axis = 1 if self.data_format == "channels_last" else 2
        return _infer_scales(maps, axis, height)

    def compute_output_shape(
        self, features_shape, boxes_shape, image_shapes_shape=None, box_indices_shape=None
    ):
        """Returns the output's shape, for dicts or lists of shapes of maps.

        Shapes do not tell ragged boxes from dense ones: `[N, None, 4]` is taken for dense boxes
        until the layer has been called with ragged ones.
        """
        if isinstance(features_shape, dict):
            features = {name: symbolic(shape) for name, shape in features_shape.items()}
        else:
            features = [symbolic(shape) for shape in features_shape]
        # The scales change no shape.
        image_shapes = [(1, 1)] if self.spatial_scales is None else None
        boxes_shape = (1, 5) if boxes_shape is None else boxes_shape
        return self.trace(
            boxes := symbolic_boxes(boxes_shape, self._is_ragged),
            features,
            boxes,
            image_shapes,
            symbolic(box_indices_shape, "int32"),
        ).shape

    def compute_output_spec(self, features, boxes, image_shapes=None, box_indices=None):
        """Returns the output's shape and dtype for symbolic inputs."""
        spec = self.trace(boxes, features, boxes, image_shapes, box_indices)
        self.note_boxes(boxes)
        return spec

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "featmap_names": list(self.featmap_names),
            "canonical_scale": self.canonical_scale,
            "canonical_level": self.canonical_level,
            "spatial_scales": self.spatial_scales,
        }


def _check_names(featmap_names):
    is_list = isinstance(featmap_names, list | tuple)
    names = list(featmap_names) if is_list else []
    are_names = names and all(isinstance(name, str) for name in names)
    if not are_names or len(names) > MAX_MAPS or len(set(names)) != len(names):
        raise ValueError(
            f"`featmap_names` must be a list of 1 to {MAX_MAPS} different names, got "
            f"{featmap_names!r}"
        )
    return names


def _check_scales(spatial_scales, maps):
    if spatial_scales is None:
        return None
    values = spatial_scales.tolist() if isinstance(spatial_scales, np.ndarray) else spatial_scales
    if not isinstance(values, list | tuple) or len(values) != maps:
        raise ValueError(
            f"`spatial_scales` must be {maps} numbers or pairs (y, x), one for each of "
            f"`featmap_names`, got {spatial_scales}"
        )
    return [check_spatial_scale(each, f"spatial_scales[{i}]") for i, each in enumerate(values)]


def _largest_height(image_shapes):
    """A number, or a float64 tensor where only the run knows it."""
    rule = "`image_shapes` must be heights and widths of images, [N, 2]"
    static = image_shapes
    if tf.is_tensor(image_shapes):
        static = tf.get_static_value(image_shapes)
    elif isinstance(image_shapes, list | tuple) and any(
        tf.is_tensor(leaf) for leaf in tf.nest.flatten(image_shapes)
    ):
        return _largest_height(tf.convert_to_tensor(image_shapes))
    if static is None:
        shape = image_shapes.shape
        if not (shape.is_compatible_with([None, 2]) or shape.is_compatible_with([2])):
            raise ValueError(f"{rule}, got the shape {shape}")
        return tf.reduce_max(tf.cast(image_shapes, tf.float64)[..., 0])
    try:
        sizes = np.asarray(static, np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{rule}, got {image_shapes}") from None
    if sizes.shape[-1:] != (2,) or sizes.ndim not in (1, 2) or not sizes.size:
        raise ValueError(f"{rule}, got {image_shapes}")
    height = sizes[..., 0].max()
    if not (np.isfinite(height) and height > 0):
        raise ValueError(f"{rule}, greater than 0, got {image_shapes}")
    return float(height)


def _infer_scales(maps, axis, image_height):
    """The nearest powers of two of the maps' heights over the images'."""
    heights = [each.shape[axis] if each.shape.rank is not None else None for each in maps]
    if not tf.is_tensor(image_height) and None not in heights:
        # An empty map has no scale, and the op says what is wrong with it.
        ratios = np.maximum(heights, 1) / image_height
        return [float(scale) for scale in 2.0 ** np.round(np.log2(ratios))]
    heights = tf.stack([tf.shape(each, out_type=tf.int64)[axis] for each in maps])
    ratios = tf.cast(tf.maximum(heights, 1), tf.float64) / image_height
    log2 = tf.math.log(ratios) / tf.math.log(tf.constant(2.0, tf.float64))
    return tf.pow(tf.constant(2.0, tf.float64), tf.round(log2))
