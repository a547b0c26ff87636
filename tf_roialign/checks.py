"""Says what boxes look like when they are not what `roi_align` takes them for."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from tf_roialign import raw_ops
from tf_roialign.arguments import check_choice, check_spatial_scale
from tf_roialign.boxes import prepare_boxes, to_tensor
from tf_roialign.types import Boxes, DataFormat, KerasDataFormat, SpatialScale, TensorLike

# The distance of neighbouring numbers, relative.
_EPSILONS = {tf.float16: 2.0**-10, tf.bfloat16: 2.0**-7}
_DATA_FORMATS = {
    "NHWC": "NHWC",
    "NCHW": "NCHW",
    "channels_last": "NHWC",
    "channels_first": "NCHW",
}


# What counts as evidence. Where it does not suffice, nothing is said: right boxes must not
# be doubted. "Distinct" boxes are counted, since the same box twice says nothing new.

# Boxes of detectors end a little outside the image. By more than this part of it, they do
# not belong there.
_MARGIN = 0.1
# That many boxes have to obey a guess for it to be made.
_NEARLY_ALL = 0.98
# That many have to break the rule, for it not to be a few bad ones ...
_SOME = 0.05
# ... or as many distinct ones, of which chance explains fewer.
_FEW = 3
# No image has all its boxes in its first pixel and a half; a normalised box may end a little
# beyond 1. Maps of images smaller than this are toys, where that is no evidence.
_NORMALISED_END = 1.5
_SMALLEST_IMAGE = 16
# Boxes that all lie in the part of the image that the feature map would be, were it laid on
# it, are in feature pixels. A box lies there by chance with the probability of its area, the
# product of the scales ...
_CHANCE = 1e-9
# ... if images fill their tensor: padded ones may end at half of it, so a scale of 1/2 is no
# evidence. Boxes that nothing confines to that part do not reach its far half either.
_LARGEST_FEATURE_SCALE = 0.25
_REACH_OF_FEATURE_PIXELS = 0.5
# Boxes that reach that far on both axes are of another scale: y before x makes them reach
# far on one axis alone.
_REACH_OF_WRONG_SCALE = 1.5
# Boxes of many images come near the far edges. So do they for the right layout, ...
_REACH_OF_RIGHT_LAYOUT = 0.6
# ... and two explanations that are as near to them are not told apart.
_REACH_TIE = 0.15
# Where no box sticks out, only much of the map that none comes near, and nearly none if it
# is laid out the other way, speaks for the other layout.
_REACH_OF_WRONG_LAYOUT = 0.3
_REACH_OF_OTHER_LAYOUT = 0.75
_MANY = 10
# A map may lack pixels at its border, by convolutions without padding, or have some more.
_MAP_SLACK = 0.1
_MAP_SLACK_PIXELS = 2
# Corners that are rounded by less than half a pixel are no worse than what people annotate.
_COARSE_SPACING = 1.0


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that `check_boxes` found.

    Attributes:
      code: What it is, in a word that stays the same; `check_boxes` lists them.
      message: A sentence on what was seen and what to write.
      count: How many boxes are concerned.
    """

    code: str
    message: str
    count: int

    def __str__(self) -> str:
        boxes = "1 box" if self.count == 1 else f"{self.count} boxes"
        return f"{self.code} ({boxes}): {self.message}"


class Findings(list[Finding]):
    """A list of findings that reads well when it is printed."""

    def __str__(self) -> str:
        return "\n".join(map(str, self)) or "Nothing found."

    # What a notebook shows.
    __repr__ = __str__


def check_boxes(
    features: TensorLike,
    boxes: Boxes,
    *,
    spatial_scale: SpatialScale = 1.0,
    box_indices: TensorLike | None = None,
    image_size: Sequence[int] | None = None,
    data_format: DataFormat | KerasDataFormat = "NHWC",
    raise_if_found: bool = False,
) -> Findings:
    """Looks for mistakes that `roi_align` cannot see, such as boxes in another format.

    Call it on a batch, with what you give to `roi_align`, when the outputs are odd:
    boxes in another unit or order are numbers like any others, and the output is then
    mostly zeros, or of other places. `docs/troubleshooting.md` shows what each mistake
    looks like. On a data set alone, without a model, give the images as `features`.

    What is only likely is said as such. Little is said of a few boxes, and nothing
    where both readings fit, as for (y1, x1, y2, x2) in square images.

    The codes of the findings, in the order in which they are looked for:

    * "low_precision": float16 or bfloat16 boxes, rounded to whole pixels or worse;
    * "box_index": image indices that are no integers in [0, N);
    * "not_finite": NaN or infinite coordinates;
    * "padding": rows of one number, such as -1 or 0, which are pooled like others;
    * "columns": boxes [K, 5] with something else in column 0, and what is in column 4;
    * "image_size": the map is not one of such an image (if `image_size` is given);
    * "normalised": coordinates in [0, 1];
    * "feature_pixels": coordinates that were multiplied by `spatial_scale` already;
    * "data_format": features of the other layout;
    * "spatial_scale": boxes that reach far beyond the map: the scale is forgotten, or
      boxes are those of a larger image;
    * "yxyx", "xywh", "cxcywh": another order than (x1, y1, x2, y2);
    * "reversed": x2 < x1 or y2 < y1, and none of the above explains it;
    * "outside": no part in the image, and none of the above explains it.

    Args:
      features: As for `roi_align`; only the shape is read, and any dtype will do.
      boxes: As for `roi_align`, in any of its forms.
      spatial_scale: As for `roi_align`.
      box_indices: As for `roi_align`.
      image_size: `(height, width)` of the tensor of images that the features were
        computed from, padding included, in pixels. If given, the map is compared
        with it.
      data_format: "NHWC" or "NCHW"; a layer's "channels_last" or "channels_first".
      raise_if_found: Whether to raise an error of what was found.

    Returns:
      A list of findings with the attributes `code`, `message` and `count` (of the boxes
      concerned), empty if nothing was found. Print it.

    Raises:
      RuntimeError: It is called in a graph or with symbolic tensors: there are no
        values to look at.
      ValueError: `raise_if_found`, and something was found. Or shapes or arguments
        do not fit, or the map is empty and there are boxes.
      TypeError: `boxes` or `box_indices` are no tensors, or have another dtype.
    """
    _refuse_symbolic(features=features, boxes=boxes, box_indices=box_indices)
    scale = check_spatial_scale(spatial_scale)
    layout = _DATA_FORMATS[check_choice("data_format", data_format, tuple(_DATA_FORMATS))]
    image_size = None if image_size is None else _check_image_size(image_size)
    features = to_tensor(features, "features")

    rows, indices = _flat(features, boxes, box_indices, layout)
    coordinates = rows[:, -4:]
    is_finite = np.isfinite(coordinates).all(axis=1)
    is_padding = is_finite & (coordinates == coordinates[:, :1]).all(axis=1)

    findings = Findings()
    findings += _of_precision(boxes, coordinates)
    findings += _of_indices(indices, features.shape[0])
    findings += _of_rows(is_finite, is_padding)
    hint = list(_of_columns(rows, indices, features.shape[0]))
    if hint:  # The coordinates are in other columns than we read.
        findings += hint
    else:
        feature_map = _Map(features.shape, layout, scale)
        findings += _of_places(coordinates[is_finite & ~is_padding], feature_map, image_size)
    if findings and raise_if_found:
        raise ValueError(f"`check_boxes` found:\n{findings}")
    return findings


# ---- What is given ---------------------------------------------------------------------------


def _refuse_symbolic(**arguments):
    message = (
        "`check_boxes` looks at values, so call it on a batch, outside of `tf.function` and of "
        "the building of a Keras model"
    )
    if not tf.executing_eagerly():
        raise RuntimeError(message)
    for name, value in arguments.items():
        for part in tf.nest.flatten(value, expand_composites=True):
            if isinstance(part, keras.KerasTensor) or tf.is_symbolic_tensor(part):
                raise RuntimeError(f"{message}: `{name}` is symbolic")


def _check_image_size(image_size):
    try:
        height, width = (operator.index(size) for size in image_size)
    except (TypeError, ValueError):
        height = width = 0
    if min(height, width) < 1:
        raise ValueError(
            f"`image_size` must be (height, width), two integers of at least 1, got {image_size}"
        )
    return height, width


def _flat(features, boxes, box_indices, layout):
    """(rows [K, 4 or 5], image indices [K]), all in float64."""
    boxes, box_indices = prepare_boxes(features, boxes, box_indices)
    # The op's rules of shapes, without running it.
    specs = [(tf.float32, features.shape), (boxes.dtype, boxes.shape)]
    specs.append((tf.as_dtype(box_indices.dtype), box_indices.shape))
    try:
        with tf.Graph().as_default():
            inputs = [tf.compat.v1.placeholder(*spec) for spec in specs]
            raw_ops.roi_align(*inputs, output_size=[1, 1], data_format=layout)
    except ValueError as error:
        raise ValueError(str(error).partition(" for '{{node")[0]) from None
    rows = boxes.numpy().astype(np.float64)
    if rows.ndim == 3:
        return rows.reshape(-1, 4), np.repeat(np.arange(float(rows.shape[0])), rows.shape[1])
    return rows, rows[:, 0] if rows.shape[1] == 5 else np.asarray(box_indices, np.float64)


class _Map:
    """A feature map, and what of it is in pixels of the image. Sizes are (width, height)."""

    def __init__(self, shape, layout, scale):
        sizes = {"NHWC": (shape[2], shape[1]), "NCHW": (shape[3], shape[2])}
        self.shape, self.layout = shape, layout
        y, x = scale if isinstance(scale, tuple) else (scale, scale)
        self.scale = np.array([x, y])
        self.size = np.array(sizes[layout], np.float64)
        self.other_layout = "NCHW" if layout == "NHWC" else "NHWC"
        self.other_size = np.array(sizes[self.other_layout], np.float64)
        self.image = self.size / self.scale

    def __str__(self):
        return (
            f"a map of {_size_text(self.size)} at spatial_scale={_scale_text(self.scale)}, "
            f"so an image of {_size_text(self.image)}"
        )

    def fits(self, size, image):
        slack = np.maximum(_MAP_SLACK_PIXELS, _MAP_SLACK * size)
        return (np.abs(size - image * self.scale) <= slack).all()


def _size_text(size):
    return f"{size[1]:.0f} x {size[0]:.0f} (height x width)"


def _scale_text(scale):
    """A scale as people write it; of two, (x, y), as the argument takes them."""
    if np.ndim(scale):
        x, y = scale
        return _scale_text(x) if x == y else f"({_scale_text(y)}, {_scale_text(x)})"
    if scale < 1 and abs(1 / scale - round(1 / scale)) < 1e-6 / scale:
        return f"1/{round(1 / scale)}"
    return f"{scale:.3g}"


# ---- Single rows -----------------------------------------------------------------------------


def _of_precision(boxes, coordinates):
    parts = [part for part in tf.nest.flatten(boxes) if hasattr(part, "dtype")]
    for dtype in dict.fromkeys(tf.as_dtype(part.dtype) for part in parts):
        if dtype not in _EPSILONS:
            continue
        coarse = np.abs(coordinates).max(axis=1) >= _COARSE_SPACING / _EPSILONS[dtype]
        if isinstance(boxes, list | tuple):  # of each image its own
            is_own = [tf.as_dtype(part.dtype) == dtype for part in parts for _ in range(len(part))]
            coarse &= np.array(is_own) if len(is_own) == len(coarse) else True
        if coarse.any():
            yield Finding(
                "low_precision",
                f"{dtype.name} has no numbers between whole pixels from "
                f"{_COARSE_SPACING / _EPSILONS[dtype]:.0f} on. Keep boxes in float32: where a "
                "layer or model of yours casts them, give its `super().__init__` autocast=False.",
                int(coarse.sum()),
            )


def _of_indices(indices, images):
    wrong = ~_is_index(indices, images)
    if wrong.any():
        yield Finding(
            "box_index",
            f"an image index must be an integer in [0, {images}), got {indices[wrong][0]:g}.",
            int(wrong.sum()),
        )


def _is_index(values, images):
    return (values >= 0) & (values < images) & (values == np.floor(values))


def _of_rows(is_finite, is_padding):
    if not is_finite.all():
        yield Finding(
            "not_finite",
            "a coordinate is NaN or infinite, which makes the output of its box NaN.",
            int((~is_finite).sum()),
        )
    if is_padding.any():
        yield Finding(
            "padding",
            "all four coordinates are the same number, as in padding. Such a row is pooled like "
            "any other: leave it out, or mask what comes out.",
            int(is_padding.sum()),
        )


def _of_columns(rows, indices, images):
    """Whether column 4 of boxes [K, 5] is what column 0 should be, or a score."""
    if rows.shape[1] < 5 or not len(rows) or _is_index(indices, images).mean() > 0.5:
        return
    last = rows[:, 4]
    if _is_index(last, images).all():
        yield Finding(
            "columns",
            "column 4 looks like the image index, which should be column 0: "
            "`tf.roll(boxes, 1, axis=1)`.",
            len(rows),
        )
    elif ((last >= 0) & (last <= 1)).all():
        yield Finding(
            "columns",
            "column 4 looks like a score: give `boxes[:, :4]` and `box_indices`.",
            len(rows),
        )


# ---- All boxes together ----------------------------------------------------------------------


def _of_places(boxes, feature_map, image_size):
    """Findings on finite boxes [K, 4] that are no padding."""
    count = len(boxes)
    image, found = feature_map.image, []
    if image_size is not None:
        image, found = _of_image_size(feature_map, np.array(image_size[::-1], np.float64))
    if count:
        of_formats = _of_formats(boxes, image, feature_map, image_size is not None)
        found += [item for item in of_formats if item[0] not in dict(found)]
    for code, message in found:
        yield Finding(code, message, count)
    if count:
        yield from _of_symptoms(boxes, image, feature_map, {code for code, _ in found})


def _of_image_size(feature_map, image):
    """(size of the image, what is wrong with the map), sizes as (width, height)."""
    size = feature_map.size
    if feature_map.fits(size, image):
        return image, []
    found = []
    if feature_map.fits(size, image[::-1]):
        message = f"{feature_map}: `image_size` is (height, width), not (width, height)."
        found.append(("image_size", message))
    if feature_map.fits(feature_map.other_size, image):
        found.insert(0, _data_format(feature_map))
    if found:
        return image[::-1] if found[0][0] == "image_size" else image, found
    ratio = size / image
    if min(ratio) > 0 and max(ratio) / min(ratio) <= 1 + _MAP_SLACK:
        # Strides are powers of two, mostly.
        power = 2 ** np.round(np.log2(ratio.mean()))
        is_power = abs(ratio.mean() / power - 1) <= _MAP_SLACK
        scale = _scale_text(power if is_power else ratio.mean())
        message = (
            f"a map of {_size_text(size)} of an image of {_size_text(image)} has a "
            f"`spatial_scale` of about {scale}, not {_scale_text(feature_map.scale)}."
        )
        return image, [("spatial_scale", message)]
    return image, [("image_size", f"{feature_map}, not of {_size_text(image)}.")]


def _of_formats(boxes, image, feature_map, image_is_known):
    """[(code, message)] on the unit, the layout and the order of boxes."""
    distinct = len(np.unique(boxes, axis=0))
    if _are_normalised(boxes, image):
        message = (
            f"no coordinate is greater than {boxes.max():g}, as in normalised boxes. "
            "Multiply x by the width and y by the height of the image."
        )
        return [("normalised", message), *_order(boxes * np.tile(image, 2), distinct, image)]

    map_size = image * feature_map.scale
    if _are_in_feature_pixels(boxes, distinct, map_size, feature_map.scale):
        message = (
            f"all boxes are in the first {_size_text(map_size)} pixels of an image of "
            f"{_size_text(image)}, as if they were in feature pixels: `roi_align` multiplies "
            "them by `spatial_scale`, so give them in pixels of the image."
        )
        return [
            ("feature_pixels", message),
            *_order(boxes / np.tile(feature_map.scale, 2), distinct, image),
        ]

    found = [] if image_is_known else _layout(boxes, distinct, feature_map)
    if found:
        other_image = feature_map.other_size / feature_map.scale
        return found + [(c, m) for c, m in _order(boxes, distinct, other_image) if c != "yxyx"]

    stride = _missing_stride(boxes, image)
    if stride > 1:
        reach = (_reach(boxes) / image).min()
        message = f"boxes reach {reach:.1f} times as far as the image of {_size_text(image)}. "
        given, fitting = (_scale_text(feature_map.scale / times) for times in (1, stride))
        message += (
            "They may be those of a larger image, before it was resized."
            if image_is_known
            else f"spatial_scale={given} may be too large for this map ({fitting} would do), or "
            "the boxes are those of a larger image."
        )
        return [("spatial_scale", message), *_order(boxes, distinct, image * stride)]
    return _order(boxes, distinct, image)


def _of_symptoms(boxes, image, feature_map, found):
    """What is seen of boxes, where no guess explains it."""
    is_reversed = (boxes[:, 2:] < boxes[:, :2]).any(axis=1)
    if is_reversed.any() and not found & {"xywh", "cxcywh"}:
        yield Finding(
            "reversed",
            "x2 < x1 or y2 < y1. After a flip the two change places; or they may be widths and "
            "heights.",
            int(is_reversed.sum()),
        )
    # A sample up to one feature pixel outside has a value.
    slack = 1 / feature_map.scale
    low = np.minimum(boxes[:, :2], boxes[:, 2:])
    high = np.maximum(boxes[:, :2], boxes[:, 2:])
    is_outside = (low > image + slack).any(axis=1) | (high < -slack).any(axis=1)
    if is_outside.any() and not found:
        yield Finding(
            "outside",
            f"no part of the box is in the image of {_size_text(image)}, so its output is zeros.",
            int(is_outside.sum()),
        )


# ---- Guesses. Sizes are (width, height), boxes any four numbers ------------------------------


def _reach(boxes):
    """The largest x and the largest y."""
    return np.maximum(boxes[:, :2], boxes[:, 2:]).max(axis=0)


def _within(boxes, image, margin=_MARGIN):
    """Which boxes have all corners in the image, or nearly so."""
    x, y = boxes[:, 0::2] / image[0], boxes[:, 1::2] / image[1]
    places = np.concatenate([x, y], axis=1)
    return ((places >= -margin) & (places <= 1 + margin)).all(axis=1)


def _are_normalised(boxes, image):
    return image.min() >= _SMALLEST_IMAGE and np.abs(boxes).max() <= _NORMALISED_END


def _are_in_feature_pixels(boxes, distinct, map_size, scale):
    return (
        scale.max() <= _LARGEST_FEATURE_SCALE
        and scale.prod() ** distinct <= _CHANCE
        and _within(boxes, map_size).all()
        and (_reach(boxes) >= _REACH_OF_FEATURE_PIXELS * map_size).all()
    )


def _missing_stride(boxes, image):
    """By how much images of these boxes seem to be larger, as a power of two."""
    reach = _reach(boxes) / image
    if reach.min() < _REACH_OF_WRONG_SCALE or _within(boxes, image).mean() > 1 - _SOME:
        return 1
    stride = 2 ** np.ceil(np.log2(reach.max() / (1 + _MARGIN)))
    # Proposals that were not clipped stick out on the other sides, too.
    return stride if _within(boxes, image * stride).mean() >= _NEARLY_ALL else 1


def _layout(boxes, distinct, feature_map):
    """The finding that the features are of the other layout, or an empty list."""
    image, other_image = feature_map.image, feature_map.other_size / feature_map.scale
    if not other_image.all() or _within(boxes, other_image).mean() < _NEARLY_ALL:
        return []
    given = (_reach(boxes) / image).min()
    other = (_reach(boxes) / other_image).min()
    sticking_out = (~_within(boxes, image)).sum()
    if sticking_out >= max(_FEW, _SOME * len(boxes)) and distinct >= _FEW:
        # y before x makes boxes stick out as well.
        turned = boxes[:, [1, 0, 3, 2]]
        is_order = _within(turned, image).mean() >= _NEARLY_ALL
        order = (_reach(turned) / image).min() if is_order else 0
        if other < _REACH_OF_RIGHT_LAYOUT or order > other + _REACH_TIE:
            return []
        return [_data_format(feature_map), *([_yxyx()] if order > other - _REACH_TIE else [])]
    if (
        not sticking_out
        and distinct >= _MANY
        and given <= _REACH_OF_WRONG_LAYOUT
        and other >= _REACH_OF_OTHER_LAYOUT
    ):
        return [_data_format(feature_map)]
    return []


def _order(boxes, distinct, image):
    """The finding that boxes are no (x1, y1, x2, y2), or an empty list."""
    if distinct < _FEW:
        return []
    first, second = boxes[:, :2], boxes[:, 2:]
    if (second < first).any(axis=1).mean() > _SOME:
        readings = {
            "xywh": np.concatenate([first, first + second], axis=1),
            "cxcywh": np.concatenate([first - second / 2, first + second / 2], axis=1),
        }
        is_size = (second >= 0).all(axis=1)
        for columns in ([0, 1, 2, 3], [1, 0, 3, 2]):
            outside = {}
            for code, reading in readings.items():
                reading = reading[:, columns]
                if (_within(reading, image) & is_size).mean() >= _NEARLY_ALL:
                    outside[code] = (~_within(reading, image, _MARGIN / 2)).sum()
            if outside:
                least = [code for code in outside if outside[code] == min(outside.values())]
                return [_sizes(least, y_first=columns[0] == 1)]
        return []
    sticking_out = (~_within(boxes, image)).sum()
    turned = boxes[:, [1, 0, 3, 2]]
    if (
        sticking_out >= max(_FEW, _SOME * len(boxes))
        and _within(turned, image).mean() >= _NEARLY_ALL
    ):
        return [_yxyx()]
    return []


def _data_format(feature_map):
    return (
        "data_format",
        f"{feature_map}; as {feature_map.other_layout} the boxes or `image_size` would fit: "
        f'features of shape {list(feature_map.shape)} may not be "{feature_map.layout}".',
    )


def _yxyx():
    return (
        "yxyx",
        "boxes stick out where (y1, x1, y2, x2) would not: reorder them, "
        "`tf.gather(boxes, [1, 0, 3, 2], axis=-1)`. If they were normalised, width and height "
        "may have been mistaken for each other.",
    )


def _sizes(codes, y_first):
    names = {
        "xywh": "(y, x, height, width)" if y_first else "(x, y, width, height)",
        "cxcywh": "(center y, center x, height, width)"
        if y_first
        else "(center x, center y, width, height)",
    }
    looks = " or ".join(names[code] for code in codes)
    return codes[0], f"boxes look like {looks}; `roi_align` wants (x1, y1, x2, y2)."
