"""The functional API."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from tf_roialign import op_defs, raw_ops
from tf_roialign.arguments import (
    check_aligned,
    check_choice,
    check_output_size,
    check_sampling_ratio,
    check_spatial_scale,
)
from tf_roialign.boxes import prepare_boxes, scale_exactly, shape_text, to_tensor
from tf_roialign.library import check_xla
from tf_roialign.types import Boxes, DataFormat, Mode, OutputSize, SpatialScale, TensorLike

_DTYPES = frozenset(op_defs.dtypes(op_defs.ROI_ALIGN, "T"))


def roi_align(
    features: TensorLike,
    boxes: Boxes,
    output_size: OutputSize,
    spatial_scale: SpatialScale = 1.0,
    sampling_ratio: int = -1,
    aligned: bool = False,
    *,
    box_indices: TensorLike | None = None,
    data_format: DataFormat = "NHWC",
    mode: Mode = "avg",
    name: str | None = None,
) -> tf.Tensor:
    """Pools each box of a feature map to a fixed size by bilinear sampling.

    RoIAlign of Mask R-CNN (https://arxiv.org/abs/1703.06870) with the meaning,
    argument names, order and defaults of `torchvision.ops.roi_align`; only the first
    argument has another name, `features` for `input`. Each box is cut into PH x PW
    bins; a bin's value is the mean of the bilinear samples in it. A sample more than one
    pixel outside the map counts as zero.

    The boxes are `(x1, y1, x2, y2)` in input-image pixels and come in one of
    these forms (N images, K boxes in all):

    * indexed, `[K, 5]`: column 0 is the image of the box;
    * `[K, 4]`, with `box_indices` of shape `[K]`;
    * a list or tuple of N tensors `[L_i, 4]`;
    * a `tf.RaggedTensor` of shape `[N, (L), 4]`;
    * dense, `[N, M, 4]`: M boxes for each image.

    A box with a NaN or infinite coordinate gives NaN, adds nothing to the
    gradient of the features and has a NaN gradient itself.

    Gradients: differentiable in `features` and in `boxes`, forward and backward,
    and again (the gradient to the features in the upstream gradient and in the
    boxes; the gradient to the boxes in the upstream gradient and in the features,
    but not in the boxes). The number of samples and the clamping to the map are piecewise
    constant and have no gradient. The gradient to the features is bit-identical
    from run to run and for every number of threads. Where boxes need no
    gradient, `tf.stop_gradient(boxes)` saves its computation inside a
    `tf.function` that is differentiated as a whole.

    Args:
      features: Tensor `[N, H, W, C]`, or `[N, C, H, W]` for `data_format`
        "NCHW"; float32, float64, float16 or bfloat16. The 16-bit types are
        accumulated in float32.
      boxes: See above; float32 or float64 (others are converted to float32, float16 and
        bfloat16 with a warning, once). Sample coordinates are computed in this dtype. An
        image without boxes is an empty entry of a list or an empty row: `[]`, `[0]`, `[0, 4]`.
      output_size: Pooled height and width `(PH, PW)`, or one int for both, at
        least 1; a `tf.TensorShape` will do. This, `spatial_scale`, `sampling_ratio`,
        `aligned` and `data_format` have to be known when a graph is built.
      spatial_scale: Feature pixels per input-image pixel, e.g. `1 / 16` for a
        map of stride 16; `(y, x)` where the axes differ, as after a resize that does
        not keep the aspect. Finite, greater than 0.
      sampling_ratio: Samples per bin and axis, less than 2^31. Adaptive if
        <= 0: the bin's extent in feature pixels, rounded up.
      aligned: If True, coordinates are shifted by half a feature pixel, which
        is right for pixels that are squares with their centres at .5. If False
        (torchvision's default), they are not, and boxes are at least one
        feature pixel wide and high.
      box_indices: Tensor `[K]`, int32 or int64, for boxes `[K, 4]`: the image
        of each box, in [0, N).
      data_format: "NHWC" or "NCHW".
      mode: "avg": a bin is the average of its samples. "max": it is the largest of them, each
        interpolated first; a sample outside the map counts as 0, and a bin without samples is
        0. The gradient goes to the pixels of the largest sample, the first of equal ones (row
        by row), and "max" can be differentiated once.
      name: A name for the operation.

    Returns:
      A tensor of the features' dtype: `[K, PH, PW, C]`, boxes in the order
      given (`[K, C, PH, PW]` for "NCHW"); for dense boxes `[N, M, PH, PW, C]`
      (`[N, M, C, PH, PW]`).

    Raises:
      ValueError: An argument is out of its range, or shapes known when a graph
        is built do not fit.
      TypeError: `features`, `boxes` or `box_indices` are no tensors, or have
        another dtype.
      RuntimeError: XLA is to compile this (`jit_compile=True`), and the package's
        library for XLA could not be loaded.
      tf.errors.InvalidArgumentError: When run: shapes do not fit, an image index
        is not in [0, N), or there are boxes and the map is empty. On a GPU, where
        indices cannot be looked at without waiting, such a box gives NaN instead.
    """
    check_xla()
    features = one_map(features)
    if features.dtype not in _DTYPES:
        raise TypeError(
            f"`features` must be float32, float64, float16 or bfloat16, got {features.dtype.name}"
        )
    attributes = prepare_attributes(output_size, sampling_ratio, aligned, data_format, mode)
    boxes, box_indices, scales = prepare_boxes_of_map(
        features, boxes, spatial_scale, box_indices, data_format
    )
    return raw_ops.roi_align(features, boxes, box_indices, name=name, **scales, **attributes)


def one_map(features):
    """`features` as a tensor, and in clear words what to do with several maps."""
    if isinstance(features, tf.Tensor):
        return features
    if isinstance(features, dict) or (isinstance(features, list | tuple) and _are_maps(features)):
        raise TypeError(
            f"`features` must be one map, got a {type(features).__name__} of {len(features)}: use "
            "`tf_roialign.multiscale_roi_align` or the layer `tf_roialign.MultiScaleRoIAlign`"
        )
    return to_tensor(features, "features")


def _are_maps(values):
    """Tells a list of maps from nested numbers."""
    kinds = tf.Tensor | tf.Variable | keras.KerasTensor | np.ndarray
    return any(isinstance(v, kinds) and tf.TensorShape(v.shape).rank == 4 for v in values)


def prepare_attributes(output_size, sampling_ratio, aligned, data_format, mode="avg"):
    """Checks what all ops have in common: attributes of a raw op."""
    return {
        "output_size": check_output_size(output_size),
        "sampling_ratio": check_sampling_ratio(sampling_ratio),
        "aligned": check_aligned(aligned),
        "data_format": check_choice("data_format", data_format, ("NHWC", "NCHW")),
        "mode": check_choice("mode", mode, ("avg", "max")),
    }


def prepare_boxes_of_map(features, boxes, spatial_scale, box_indices, data_format):
    """Checks arguments: the inputs `boxes` and `box_indices`, and the attributes of the scale."""
    spatial_scale = check_spatial_scale(spatial_scale)
    check_rank("features", features, data_format)
    boxes, box_indices = prepare_boxes(features, boxes, box_indices)
    boxes, spatial_scale = scale_exactly(boxes, spatial_scale)
    # All that have no default in the generated Python: without spatial_scale, eager calls take
    # TensorFlow's slow path.
    if isinstance(spatial_scale, tuple):
        return boxes, box_indices, {"spatial_scale": 1.0, "spatial_scales": spatial_scale}
    return boxes, box_indices, {"spatial_scale": spatial_scale}


def check_rank(name, features, data_format):
    """Raises if a map is known not to have four dimensions."""
    if features.shape.rank not in (4, None):
        wanted = "[N, H, W, C]" if data_format == "NHWC" else "[N, C, H, W]"
        raise ValueError(f"`{name}` must have shape {wanted}, got {shape_text(features)}")
