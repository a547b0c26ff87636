"""RoIAlign of quantized features."""

from __future__ import annotations

import tensorflow as tf

from tf_roialign import op_defs, raw_ops
from tf_roialign.constants import on_host
from tf_roialign.functional import one_map, prepare_attributes, prepare_boxes_of_map
from tf_roialign.library import check_xla
from tf_roialign.types import Boxes, DataFormat, OutputSize, SpatialScale, TensorLike

_DTYPES = op_defs.dtypes(op_defs.QUANTIZED_ROI_ALIGN, "T")


def quantized_roi_align(
    features: TensorLike,
    boxes: Boxes,
    output_size: OutputSize,
    spatial_scale: SpatialScale = 1.0,
    sampling_ratio: int = -1,
    aligned: bool = False,
    *,
    scale: TensorLike,
    zero_point: TensorLike,
    box_indices: TensorLike | None = None,
    data_format: DataFormat = "NHWC",
    name: str | None = None,
) -> tf.Tensor:
    """`roi_align` of quantized features.

    The features are codes of the real values `scale * (code - zero_point)`, with one
    scale and zero point for the whole tensor, as `tf.raw_ops.UniformQuantize` makes
    them and as `torchvision.ops.roi_align` takes them (any number of images, where
    torchvision takes one). The output holds codes of the same scale and zero point, by
    torchvision's rule: the real result divided by `scale` is rounded to the nearest
    integer, half to even; then `zero_point` is added; then the code is saturated. The half
    is one of result / scale: 8.5 becomes 8, which with a `zero_point` of 1 is the code 9.

    Codes of 8 bits are computed in float32, as torchvision does, which also multiplies by
    `scale` and by 1 / `scale`: with a scale that is no power of two this may take a half to
    either side, there and here alike. Codes of 32 bits, which float32 does not hold, are
    computed in float64, where the scale cancels out.

    A sample more than one pixel outside the map counts as the real value 0, whose code
    is `zero_point`. A box with a NaN or infinite coordinate gives `zero_point`, since
    codes have no NaN.

    For inference only. Not differentiable: asking for the gradient of the codes raises a
    LookupError; behind a cast to floats TensorFlow does not ask, and gives None. Under XLA on a
    GPU, `scale` and `zero_point` have to be known when it compiles.

    Args:
      features: Tensor `[N, H, W, C]`, or `[N, C, H, W]` for `data_format` "NCHW"; int8,
        uint8, int32, qint8, quint8 or qint32.
      boxes: As for `roi_align`.
      output_size: As for `roi_align`.
      spatial_scale: As for `roi_align`: feature pixels per input-image pixel, or `(y, x)`.
      sampling_ratio: As for `roi_align`.
      aligned: As for `roi_align`.
      scale: Scalar float32, finite and greater than 0.
      zero_point: Scalar int32, a code of the features' dtype.
      box_indices: As for `roi_align`.
      data_format: "NHWC" or "NCHW".
      name: A name for the operation.

    Returns:
      Codes of the features' dtype, in the shape that `roi_align` returns.

    Raises:
      ValueError: An argument is out of its range, or shapes known when a graph is built
        do not fit.
      TypeError: `features`, `boxes`, `box_indices`, `scale` or `zero_point` are no
        tensors, or have another dtype.
      RuntimeError: As for `roi_align`.
      LookupError: The gradient of the codes is asked for.
      tf.errors.InvalidArgumentError: When run: as for `roi_align`; `scale` is not finite
        or not greater than 0, `zero_point` is no code of the dtype.
    """
    check_xla()
    features = one_map(features)
    check_code_dtype("features", features)
    attributes = prepare_attributes(output_size, sampling_ratio, aligned, data_format)
    boxes, box_indices, scales = prepare_boxes_of_map(
        features, boxes, spatial_scale, box_indices, data_format
    )
    scale = scalar("scale", scale, tf.float32)
    zero_point = scalar("zero_point", zero_point, tf.int32)
    return raw_ops.quantized_roi_align(
        features, boxes, box_indices, scale, zero_point, name=name, **scales, **attributes
    )


def check_code_dtype(name, features):
    """Raises if features are no codes."""
    if features.dtype not in _DTYPES:
        *names, last = [dtype.name for dtype in _DTYPES]
        raise TypeError(f"`{name}` must be {', '.join(names)} or {last}, got {features.dtype.name}")


def scalar(name, value, dtype):
    """A scalar as a tensor in host memory, where ops read it; the error names the argument."""
    try:
        with on_host(value):
            return tf.convert_to_tensor(value, dtype)
    except (TypeError, ValueError):
        got = tf.as_dtype(value.dtype).name if hasattr(value, "dtype") else repr(value)
        raise TypeError(f"`{name}` must be a scalar {dtype.name}, got {got}") from None
