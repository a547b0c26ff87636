"""The functional API on feature pyramids."""

from __future__ import annotations

import math
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from tf_roialign import op_defs, raw_ops
from tf_roialign.arguments import (
    check_canonical_level,
    check_canonical_scale,
    check_spatial_scale,
)
from tf_roialign.boxes import prepare_boxes, shape_text, to_tensor
from tf_roialign.constants import float64_on_host
from tf_roialign.functional import check_rank, prepare_attributes
from tf_roialign.levels import prepare_levels
from tf_roialign.library import MAX_MAPS, check_xla
from tf_roialign.quantized import check_code_dtype, scalar
from tf_roialign.types import Boxes, DataFormat, Mode, OutputSize, SpatialScales, TensorLike

_DTYPES = frozenset(op_defs.dtypes(op_defs.on_many_maps(op_defs.ROI_ALIGN), "T"))


def multiscale_roi_align(
    features: Sequence[TensorLike],
    boxes: Boxes,
    output_size: OutputSize,
    spatial_scales: SpatialScales,
    sampling_ratio: int = -1,
    aligned: bool = False,
    *,
    box_indices: TensorLike | None = None,
    levels: TensorLike | None = None,
    canonical_scale: float = 224,
    canonical_level: int = 4,
    data_format: DataFormat = "NHWC",
    mode: Mode = "avg",
    name: str | None = None,
) -> tf.Tensor:
    """Pools each box from one map of a feature pyramid, in one op for all levels.

    `tf_roialign.roi_align` of each box on the map of its level, as in Feature Pyramid
    Networks (https://arxiv.org/abs/1612.03144) and `torchvision.ops.MultiScaleRoIAlign`: the
    level of a box is::

        floor(canonical_level + log2(sqrt(area) / canonical_scale) + 1e-6)

    with the area in input-image pixels, computed in the boxes' dtype, and the level of a map is
    `-log2(spatial_scale)`, rounded (for a pair, of the geometric mean). A box reads the map with
    the highest level that is not above its own, or that of the lowest level if there is none:
    its level, clamped to those that there are. Of maps with equal levels the first is read. Maps
    may come in any order.

    A box with an area that is no number greater than 0 (empty, reversed along one axis, NaN)
    is of the lowest level; one of infinite area of the highest. What it is pooled to is what
    `roi_align` says: NaN for a coordinate that is not finite. torchvision has an answer only for
    empty boxes, which is the same, and leaves zeros for the others.

    Gradients are those of `roi_align`, to every map and to the boxes; the level is piecewise
    constant and has none. Maps that no box reads have zeros for a gradient.

    Args:
      features: List of 1 to 8 maps `[N, H_i, W_i, C]`, or `[N, C, H_i, W_i]` for `data_format`
        "NCHW", all of one dtype: float32, float64, float16 or bfloat16. N and C are those of all.
      boxes: In any form that `roi_align` takes: `(x1, y1, x2, y2)` in input-image pixels.
      output_size: Pooled height and width `(PH, PW)`, or one int for both.
      spatial_scales: Of each map, feature pixels per input-image pixel: a number, or `(y, x)`;
        for example `[1/4, 1/8, 1/16, 1/32]`. Or a tensor `[maps]` or `[maps, 2]` whose values
        only the run knows (under XLA on a GPU they have to be known when it compiles). Finite,
        greater than 0.
      sampling_ratio: Samples per bin and axis; adaptive if <= 0.
      aligned: Whether coordinates are shifted by half a feature pixel. torchvision's
        MultiScaleRoIAlign fixes False, Detectron2's ROIPooler uses True.
      box_indices: Tensor `[K]`, int32 or int64, for boxes `[K, 4]`: the image of each box.
      levels: Which of the features each box reads, in [0, maps), in the place of the rule
        above: int32 or int64, `[K]`, or in the form of the boxes (`[N, M]` for dense ones, a
        list, a ragged tensor).
      canonical_scale: Side in input-image pixels of a square box of `canonical_level`. Finite,
        greater than 0; held as a float32.
      canonical_level: An int.
      data_format: "NHWC" or "NCHW".
      mode: "avg" or "max", as for `roi_align`.
      name: A name for the operation.

    Returns:
      What `roi_align` returns for the boxes, in their order: `[K, PH, PW, C]`
      (`[K, C, PH, PW]` for "NCHW"); for dense boxes `[N, M, PH, PW, C]` (`[N, M, C, PH, PW]`).

    Raises:
      ValueError: An argument is out of its range, there are no maps or more than 8, or shapes
        known when a graph is built do not fit.
      TypeError: `features` is no list, or has several dtypes; as for `roi_align`.
      RuntimeError: As for `roi_align`.
      tf.errors.InvalidArgumentError: When run: as for `roi_align`, a level is not in
        [0, maps), or a scale is not finite or not greater than 0. On a GPU, where levels cannot
        be looked at without waiting, a box with such a level gives NaN instead.
    """
    check_xla()
    features = _maps(features, data_format)
    if features[0].dtype not in _DTYPES:
        raise TypeError(
            "`features[0]` must be float32, float64, float16 or bfloat16, "
            f"got {features[0].dtype.name}"
        )
    inputs = _prepare_inputs(features, boxes, spatial_scales, box_indices, levels)
    return raw_ops.multi_scale_roi_align(
        features,
        *inputs,
        name=name,
        **prepare_attributes(output_size, sampling_ratio, aligned, data_format, mode),
        **_level_attributes(canonical_scale, canonical_level),
    )


def quantized_multiscale_roi_align(
    features: Sequence[TensorLike],
    boxes: Boxes,
    output_size: OutputSize,
    spatial_scales: SpatialScales,
    sampling_ratio: int = -1,
    aligned: bool = False,
    *,
    scale: TensorLike,
    zero_point: TensorLike,
    box_indices: TensorLike | None = None,
    levels: TensorLike | None = None,
    canonical_scale: float = 224,
    canonical_level: int = 4,
    data_format: DataFormat = "NHWC",
    name: str | None = None,
) -> tf.Tensor:
    """`multiscale_roi_align` of quantized features.

    Codes, `scale` and `zero_point` mean what they do for `tf_roialign.quantized_roi_align`;
    one scale and one zero point are those of all maps and of the output. For inference only.

    Args:
      features: List of 1 to 8 maps, as for `multiscale_roi_align`; int8, uint8, int32, qint8,
        quint8 or qint32.
      boxes: As for `multiscale_roi_align`, and so are the arguments that are not named here.
      output_size: Pooled height and width `(PH, PW)`, or one int for both.
      spatial_scales: Of each map.
      sampling_ratio: Samples per bin and axis; adaptive if <= 0.
      aligned: Whether coordinates are shifted by half a feature pixel.
      scale: Scalar float32, finite and greater than 0.
      zero_point: Scalar int32, a code of the features' dtype.
      box_indices: For boxes `[K, 4]`.
      levels: Which of the features each box reads.
      canonical_scale: Side in input-image pixels of a square box of `canonical_level`.
      canonical_level: An int.
      data_format: "NHWC" or "NCHW".
      name: A name for the operation.

    Returns:
      Codes of the features' dtype, in the shape that `multiscale_roi_align` returns.

    Raises:
      ValueError: As for `multiscale_roi_align`.
      TypeError: As for `multiscale_roi_align` and `quantized_roi_align`.
      RuntimeError: As for `multiscale_roi_align`.
      LookupError: The gradient of the codes is asked for.
      tf.errors.InvalidArgumentError: As for both.
    """
    check_xla()
    features = _maps(features, data_format)
    check_code_dtype("features[0]", features[0])
    inputs = _prepare_inputs(features, boxes, spatial_scales, box_indices, levels)
    scale = scalar("scale", scale, tf.float32)
    zero_point = scalar("zero_point", zero_point, tf.int32)
    return raw_ops.quantized_multi_scale_roi_align(
        features,
        *inputs,
        scale,
        zero_point,
        name=name,
        **prepare_attributes(output_size, sampling_ratio, aligned, data_format),
        **_level_attributes(canonical_scale, canonical_level),
    )


def _maps(features, data_format):
    """The features as a list of tensors, of one dtype."""
    if not isinstance(features, list | tuple):
        kind = type(features).__name__
        what = "a dict" if isinstance(features, dict) else f"a {kind}"
        instead = (
            "give its maps in the order of `spatial_scales`, or use the layer "
            "`tf_roialign.MultiScaleRoIAlign`"
            if isinstance(features, dict)
            else "for one map there is `tf_roialign.roi_align`"
        )
        raise TypeError(f"`features` must be a list of maps, got {what}: {instead}")
    if not 1 <= len(features) <= MAX_MAPS:
        raise ValueError(f"`features` must be a list of 1 to {MAX_MAPS} maps, got {len(features)}")
    features = [
        each if isinstance(each, tf.Tensor) else to_tensor(each, f"features[{i}]")
        for i, each in enumerate(features)
    ]
    dtype = features[0].dtype
    for i, each in enumerate(features):
        if each.dtype is not dtype and each.dtype != dtype:
            raise TypeError(
                f"`features` must have one dtype, got {dtype.name} and, in "
                f"`features[{i}]`, {each.dtype.name}"
            )
        if each.shape.rank != 4:
            check_rank(f"features[{i}]", each, data_format)
    return features


def _prepare_inputs(features, boxes, spatial_scales, box_indices, levels):
    """The inputs of a raw op after its features."""
    spatial_scales = _prepare_scales(spatial_scales, len(features))
    levels = prepare_levels(levels)
    boxes, box_indices = prepare_boxes(features[0], boxes, box_indices)
    return boxes, box_indices, levels, spatial_scales


def _level_attributes(canonical_scale, canonical_level):
    return {
        "canonical_scale": check_canonical_scale(canonical_scale),
        "canonical_level": check_canonical_level(canonical_level),
    }


def _prepare_scales(spatial_scales, maps):
    """`spatial_scales` as the ops take them: `[maps, 2]`, float64, in host memory."""
    is_list = isinstance(spatial_scales, list | tuple) and len(spatial_scales) == maps
    if is_list and all(map(_is_plain_scale, spatial_scales)):
        # As nearly all calls have them. To look for tensors among them takes long.
        return float64_on_host(tuple((scale, scale) for scale in spatial_scales))
    rule = f"`spatial_scales` must be {maps} numbers or pairs (y, x), one for each map"
    if isinstance(spatial_scales, tf.Variable):
        spatial_scales = tf.convert_to_tensor(spatial_scales)
    static = tf.get_static_value(spatial_scales) if tf.is_tensor(spatial_scales) else spatial_scales
    if static is None:
        return _scales_of_the_run(spatial_scales, maps, rule)
    if isinstance(static, keras.KerasTensor):
        raise TypeError(
            "`spatial_scales` must be numbers or a tensor, got a KerasTensor: use the layer "
            "`tf_roialign.MultiScaleRoIAlign` to build a Keras model"
        )
    is_array = isinstance(static, np.ndarray) and static.ndim > 0
    is_sequence = is_array or isinstance(static, list | tuple)
    if not is_sequence or len(static) != maps:
        got = len(static) if is_sequence else static
        raise ValueError(f"{rule}, got {got}")
    if any(tf.is_tensor(entry) and tf.get_static_value(entry) is None for entry in static):
        pairs = [tf.cast(entry, tf.float64) * tf.ones([2], tf.float64) for entry in static]
        return tf.stack(pairs)
    scales = [check_spatial_scale(entry, f"spatial_scales[{i}]") for i, entry in enumerate(static)]
    pairs = (scale if isinstance(scale, tuple) else (scale, scale) for scale in scales)
    return float64_on_host(tuple(pairs))


def _is_plain_scale(value):
    return type(value) is float and 0 < value < math.inf


def _scales_of_the_run(spatial_scales, maps, rule):
    """What only the run knows, of shape `[maps]` or `[maps, 2]`."""
    if not spatial_scales.dtype.is_floating:
        raise TypeError(
            f"`spatial_scales` must be floating-point numbers, got {spatial_scales.dtype.name}"
        )
    shape = spatial_scales.shape
    is_possible = shape.is_compatible_with([maps]) or shape.is_compatible_with([maps, 2])
    if not is_possible:
        raise ValueError(f"{rule}, got the shape {shape_text(spatial_scales)}")
    scales = tf.cast(spatial_scales, tf.float64)
    if shape.rank == 1:
        scales = tf.stack([scales, scales], axis=1)
    return scales
