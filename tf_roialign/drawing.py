"""Pictures of a call: what RoIAlign reads of an image for a box, and what comes out."""

from __future__ import annotations

import dataclasses
import math
import operator
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tf_roialign import geometry
from tf_roialign.arguments import check_spatial_scale
from tf_roialign.boxes import shape_text, to_tensor
from tf_roialign.functional import prepare_attributes, prepare_boxes_of_map, roi_align
from tf_roialign.types import Figure, Mode, OutputSize, SpatialScale, TensorLike

# A map beyond this, by a large `spatial_scale`, would fill the memory and show nothing.
_LARGEST_MAP = 2**26


def draw(
    image: TensorLike,
    box: TensorLike,
    output_size: OutputSize,
    spatial_scale: SpatialScale = 1.0,
    sampling_ratio: int = -1,
    aligned: bool = False,
    *,
    features: TensorLike | None = None,
    bin: Sequence[int] | None = None,
    mode: Mode = "avg",
) -> Figure:
    """Draws what `roi_align` reads of an image for one box, and what comes out.

    Three panels: the image with the box, its bins and samples; one bin close up, with the weight
    of each feature pixel in it; and the pooled box. Unless features are given, they are the image
    itself, averaged down to the map that `spatial_scale` asks for. Bins, samples and weights are
    those of the native library, not computed anew.

    A feature pixel is drawn as the square of image pixels that it stands for: pixel i from
    `i / spatial_scale` to `(i + 1) / spatial_scale`. With
    `aligned=False` a coordinate means the corner of such a square where the op reads its centre:
    bins lie half a feature pixel right of and below the box, which is the difference between the
    two.

    Samples come in three kinds: those that are read where they lie; those that are clamped to the
    map, with a line to where they read; and those that are outside, count as zero and are not
    read at all.

    The figure shows itself in a notebook; `figure.savefig(path)` writes it. The same on the command
    line: `python -m tf_roialign draw --help`.

    Args:
      image: `[H, W]`, `[H, W, 1]`, `[H, W, 3]` or `[H, W, 4]` (whose last channel is left out);
        uint8, uint16, or floating point in [0, 1].
      box: `[4]`, `(x1, y1, x2, y2)` in pixels of the image. float32 or float64, as for
        `roi_align`, which computes coordinates in this dtype.
      output_size: As for `roi_align`.
      spatial_scale: As for `roi_align`: the size of the map over that of the image.
      sampling_ratio: As for `roi_align`.
      aligned: As for `roi_align`.
      features: `[h, w, C]`, the map of the image that is pooled, of any dtype that `roi_align`
        takes; of its channels and of what comes out the mean is shown.
      bin: `(row, column)` of the bin that is shown close up; by default the one in the middle.
      mode: As for `roi_align`. With "max", weights are the mean over the channels of those of
        the largest sample.

    Returns:
      A `matplotlib.figure.Figure`, which pyplot knows nothing of.

    Raises:
      ImportError: matplotlib is not installed; it comes with `tf_roialign[draw]`.
      ValueError: An argument is out of its range.
      TypeError: `image`, `box` or `features` is no tensor, or has another dtype.
      RuntimeError: Called while a graph is built.
    """
    picture = import_picture()
    return picture.draw(
        read(
            image,
            box,
            output_size,
            spatial_scale,
            sampling_ratio,
            aligned,
            features=features,
            bin=bin,
            mode=mode,
        )
    )


def import_picture():
    """The module that draws, which wants matplotlib."""
    try:
        from tf_roialign import picture
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("matplotlib"):
            raise
        raise ImportError(
            "tf_roialign.draw needs matplotlib: install `tf_roialign[draw]`."
        ) from error
    return picture


@dataclasses.dataclass(frozen=True)
class Reading:
    """What one call reads of an image for one box."""

    image: np.ndarray
    """`[H, W, C]` in [0, 1]."""
    features: np.ndarray
    """`[h, w, C]`."""
    are_colours: bool
    """Whether features are the image averaged down, in [0, 1]."""
    box: tuple
    """(x1, y1, x2, y2) in pixels of the image."""
    scale: tuple
    """(y, x), feature pixels per image pixel."""
    axes: tuple
    """(y, x), each a `geometry.BoxAxis`."""
    pooled: np.ndarray
    """`[PH, PW, C]`."""
    bin: tuple
    """(row, column)."""
    weights: np.ndarray
    """`[h, w]`, of each feature pixel in the bin."""
    attributes: dict
    """Of the call."""

    @property
    def map_size(self):
        """(h, w) of the features."""
        return self.features.shape[:2]

    @property
    def samples_per_bin(self):
        """How many there are."""
        return self.axes[0].grid * self.axes[1].grid

    def in_image(self, axis, coordinate):
        """Where a coordinate of the map lies in the image, on the axis 0 (y) or 1 (x).

        Feature pixel i, at the coordinate i, is the square from i / scale to (i + 1) / scale.
        """
        return (coordinate + 0.5) / self.scale[axis]

    def edges(self, axis):
        """Where bins begin and the last one ends, in the image."""
        return self.in_image(axis, self.axes[axis].edges)

    def samples(self, bin=None):
        """The samples of a bin, or of all of them: x, y, x_read, y_read, each `[count]`.

        In the image; where a sample reads is not where it lies if it is clamped to the map, and
        NaN if it is outside.
        """
        bins = map(range, self.pooled.shape[:2]) if bin is None else ([place] for place in bin)
        y, x = (
            np.concatenate([box_axis.samples(p, length) for p in places], axis=1)
            for box_axis, length, places in zip(self.axes, self.map_size, bins, strict=True)
        )
        x, y = self.in_image(1, x), self.in_image(0, y)
        (x, y), (x_read, y_read) = (np.meshgrid(*pair) for pair in zip(x, y, strict=True))
        is_outside = np.isnan(x_read) | np.isnan(y_read)
        x_read[is_outside] = y_read[is_outside] = np.nan
        return tuple(each.ravel() for each in (x, y, x_read, y_read))


def read(
    image,
    box,
    output_size,
    spatial_scale=1.0,
    sampling_ratio=-1,
    aligned=False,
    *,
    features=None,
    bin=None,
    mode="avg",
) -> Reading:
    """Checks the arguments of `draw` and makes the call."""
    if not tf.executing_eagerly():
        raise RuntimeError("`tf_roialign.draw` must be called eagerly, not while a graph is built")
    image = _to_image(image)
    attributes = prepare_attributes(output_size, sampling_ratio, aligned, "NHWC", mode)
    output_size = attributes["output_size"]
    bin = _check_bin(bin, output_size)
    box = _to_box(box)

    spatial_scale = check_spatial_scale(spatial_scale)
    scale = spatial_scale if isinstance(spatial_scale, tuple) else (spatial_scale,) * 2
    are_colours = features is None
    features = _features_of(image, scale) if are_colours else _to_features(features)
    tensor = tf.constant(features[np.newaxis])
    boxes, _, scales = prepare_boxes_of_map(
        tensor, box[tf.newaxis], spatial_scale, box_indices=[0], data_format="NHWC"
    )
    axes = geometry.box_axes(
        boxes[0].numpy(),
        scales.get("spatial_scales", (scales["spatial_scale"],) * 2),
        output_size,
        attributes["sampling_ratio"],
        attributes["aligned"],
    )
    if not all(np.isfinite(axis.edges).all() for axis in axes):
        raise ValueError(f"`box` must be finite, in feature pixels too, got {box.numpy().tolist()}")

    with tf.GradientTape() as tape:
        tape.watch(tensor)
        pooled = roi_align(
            tensor, box[tf.newaxis], spatial_scale=spatial_scale, box_indices=[0], **attributes
        )
        value = tf.reduce_mean(pooled[0, bin[0], bin[1]])
    weights = tf.reduce_sum(tape.gradient(value, tensor)[0], axis=-1)
    return Reading(
        image=image,
        features=features,
        are_colours=are_colours,
        box=tuple(box.numpy().tolist()),
        scale=scale,
        axes=axes,
        pooled=pooled[0].numpy(),
        bin=bin,
        weights=weights.numpy(),
        attributes={
            "output_size": output_size,
            "spatial_scale": spatial_scale,
            **{name: attributes[name] for name in ("sampling_ratio", "aligned", "mode")},
        },
    )


def _to_image(image):
    """The image as `[H, W, C]` of float32 in [0, 1]."""
    try:
        values = np.asarray(image)
    except (TypeError, ValueError) as error:  # of rows of different lengths, ...
        raise TypeError(f"`image` cannot be converted to an array: {error}") from None
    if values.ndim not in (2, 3) or values.shape[2:] not in ((), (1,), (3,), (4,)):
        raise ValueError(
            "`image` must have shape [H, W], [H, W, 1], [H, W, 3] or [H, W, 4], got "
            f"{list(values.shape)}"
        )
    if 0 in values.shape:
        raise ValueError(f"`image` must have pixels, got shape {list(values.shape)}")
    if values.dtype.kind == "u" and values.dtype.itemsize <= 2:
        values = values / np.float32(np.iinfo(values.dtype).max)
    elif values.dtype.kind != "f":
        raise TypeError(f"`image` must be uint8, uint16 or floating point, got {values.dtype}")
    if not (values.min() >= 0 and values.max() <= 1):
        raise ValueError(
            "`image` of floating point must have values in [0, 1], got some from "
            f"{values.min():g} to {values.max():g}"
        )
    return np.atleast_3d(values)[..., :3].astype(np.float32)


def _to_features(features):
    """The features as float32, which is enough for a picture."""
    features = to_tensor(features, "features")
    if not features.dtype.is_floating:
        raise TypeError(
            f"`features` must be float32, float64, float16 or bfloat16, got {features.dtype.name}"
        )
    if features.shape.rank != 3 or 0 in features.shape:
        raise ValueError(
            f"`features` must have shape [h, w, C] and values, got {shape_text(features)}"
        )
    return tf.cast(features, tf.float32).numpy()


def _to_box(box):
    box = to_tensor(box, "box")
    if box.shape != [4]:
        raise ValueError(
            f"`box` must be four numbers, (x1, y1, x2, y2), got shape {shape_text(box)}"
        )
    if not (box.dtype.is_floating or box.dtype.is_integer):
        raise TypeError(f"`box` must be float32 or float64, got {box.dtype.name}")
    return box


def _check_bin(bin, output_size):
    """Returns (row, column) of a bin that there is."""
    if bin is None:
        return tuple(size // 2 for size in output_size)
    try:
        places = [operator.index(place) for place in bin]
    except TypeError:
        places = []
    if len(places) != 2 or not all(0 <= p < n for p, n in zip(places, output_size, strict=True)):
        height, width = output_size
        raise ValueError(
            f"`bin` must be (row, column) of one of the {height} x {width} bins, got {bin!r}"
        )
    return tuple(places)


def _features_of(image, scale):
    """The image averaged down to a map: feature pixel i is the mean from i / scale on."""
    size = [_map_length(*each) for each in zip(image.shape, scale, strict=False)]
    if math.prod(size) > _LARGEST_MAP:
        raise ValueError(
            f"`spatial_scale` must give a map of at most {_LARGEST_MAP} pixels, got "
            f"{size[0]} x {size[1]} for this image"
        )
    for axis in (0, 1):
        if scale[axis] != 1:
            part = _covered(image.shape[axis], size[axis], scale[axis]).astype(np.float32)
            image = np.moveaxis(np.tensordot(part, image, axes=(1, axis)), 0, axis)
    return image


def _map_length(length, scale):
    # What is left over is a pixel too, but for what rounding leaves.
    return max(math.ceil(length * scale * (1 - 1e-6)), 1)


def _covered(length, map_length, scale):
    """`[map_length, length]`: which part of a feature pixel an image pixel is."""
    first, pixels = np.arange(map_length)[:, np.newaxis], np.arange(length)
    begin, end = np.maximum(first / scale, pixels), np.minimum((first + 1) / scale, pixels + 1)
    covered = np.maximum(end - begin, 0)
    return covered / covered.sum(axis=1, keepdims=True)
