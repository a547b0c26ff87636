"""What the tests share: random boxes, the five box forms, layouts, and comparisons."""

import numpy as np
import reference
import tensorflow as tf

import tf_roialign
from tf_roialign import op_defs

LAYOUTS = ("NHWC", "NCHW")
FORMS = ("indexed", "box_indices", "list", "ragged", "dense")
FEATURE_DTYPES = tuple(dtype.name for dtype in op_defs.dtypes(op_defs.ROI_ALIGN, "T"))
SAMPLING_RATIOS = (-1, 0, 1, 2, 3)

# Half the distance between neighbouring numbers, relative: what one rounding may cost.
HALF_ULP = {"float16": 2.0**-11, "bfloat16": 2.0**-8}

BOX_KINDS = (
    "inside",
    "partly_outside",
    "outside",
    "border",
    "integer",
    "half_integer",
    "tiny",
    "degenerate",
    "reversed",
    "large",
)


def seed_of(*parts):
    """A seed that depends on the parameters of a test, and on nothing else."""
    return sum((i + 1) * ord(c) for i, c in enumerate("/".join(map(str, parts))))


def random_box(rng, kind, height, width):
    """One box (x1, y1, x2, y2) in pixels of a map of height x width."""
    size = np.array([width, height, width, height], np.float64)
    low, high = np.sort(rng.uniform(0, 1, (2, 2)), axis=0)
    box = np.concatenate([low, high]) * size
    if kind == "partly_outside":
        box = box * 2 - size / 2
    elif kind == "outside":
        box = box + rng.choice([-2.0, 2.0], size=4)[[0, 1, 0, 1]] * (size + 2)
    elif kind == "border":
        box = rng.choice([-1.0, 0.0, 1.0], size=4) + size * [0, 0, 1, 1]
    elif kind == "integer":
        box = np.round(box)
    elif kind == "half_integer":
        box = np.round(box * 2) / 2
    elif kind == "tiny":
        box[2:] = box[:2] + rng.uniform(0, 0.3, 2)
    elif kind == "degenerate":
        box[2] = box[0]
    elif kind == "reversed":
        box = box[[2, 3, 0, 1]]
    elif kind == "large":
        box = (box - size / 2) * 20
    return box


def random_kinds(rng, count):
    """`count` of BOX_KINDS: all of them if `count` allows, else some, each as likely."""
    # Not the other way round: cut first, the last kinds would never be among a few boxes.
    return np.resize(rng.permutation(BOX_KINDS), count)


def by_coordinate(scale):
    """The scale of each of (x1, y1, x2, y2)."""
    y, x = reference.scales(scale)
    return np.array([x, y, x, y])


def random_boxes(rng, count, height, width, scale=1.0, dtype="float32"):
    """[count, 4] boxes of random kinds, in image coordinates (pixels of the map / scale)."""
    kinds = random_kinds(rng, count)
    boxes = np.array([random_box(rng, kind, height, width) for kind in kinds]).reshape(-1, 4)
    return (boxes / by_coordinate(scale)).astype(dtype)


def smooth_boxes(rng, count, height, width, *, margin=2e-3, **kwargs):
    """[count, 4] float64 boxes with no kink of RoIAlign within `margin` pixels."""
    scale = kwargs.get("scale", 1.0)
    boxes = []
    while len(boxes) < count:
        kind = rng.choice(["inside", "partly_outside", "tiny", "reversed"])
        box = random_box(rng, kind, height, width) / by_coordinate(scale)
        if reference.kink_distance(box, (height, width), **kwargs) > margin:
            boxes.append(box)
    return np.array(boxes)


def from_nhwc(array, data_format):
    """[..., H, W, C] as it stands in `data_format`."""
    return np.moveaxis(array, -1, -3) if data_format == "NCHW" else array


def to_nhwc(array, data_format):
    """The inverse of `from_nhwc`."""
    return np.moveaxis(array, -3, -1) if data_format == "NCHW" else array


def as_numpy(tensor):
    """A tensor's values as float64 (bfloat16 has no NumPy dtype of its own)."""
    if isinstance(tensor, tf.IndexedSlices):
        tensor = tf.convert_to_tensor(tensor)
    return tf.cast(tensor, tf.float64).numpy()


def as_bytes(tensor):
    """The bits of a tensor, for equality that tells -0 from 0 and NaN from NaN."""
    return tensor.dtype.name, tuple(tensor.shape), tensor.numpy().tobytes()


def rounded(array, dtype):
    """(tensor of `dtype`, the values it holds as float64)."""
    tensor = tf.cast(tf.constant(array), dtype)
    return tensor, as_numpy(tensor)


def random_indices(rng, form, count, images):
    """Image indices [count] that the box form can express, for boxes in flat order."""
    if form == "dense":
        assert count % images == 0
        return np.repeat(np.arange(images), count // images)
    indices = rng.integers(0, images, count)
    return np.sort(indices) if form in ("list", "ragged") else indices


def in_form(form, boxes, indices, images, index_dtype="int32"):
    """The arguments that give the boxes [K, 4] of the images [K] in one of the five forms."""
    boxes = tf.convert_to_tensor(boxes)
    if form == "indexed":
        column = tf.cast(tf.constant(indices)[:, None], boxes.dtype)
        return {"boxes": tf.concat([column, boxes], axis=1)}
    if form == "box_indices":
        return {"boxes": boxes, "box_indices": tf.constant(indices, index_dtype)}
    lengths = np.bincount(indices, minlength=images)
    if form == "list":
        return {"boxes": tf.split(boxes, lengths)}
    if form == "ragged":
        return {"boxes": tf.RaggedTensor.from_row_lengths(boxes, lengths)}
    assert form == "dense"
    return {"boxes": tf.reshape(boxes, [images, -1, 4])}


def flat(output, form):
    """The output of the dense form as that of the others: [N, M, ...] -> [N*M, ...]."""
    return output.reshape(-1, *output.shape[2:]) if form == "dense" else output


def assert_close(got, expected, *, rtol, atol=0.0, what="values"):
    """Equal shapes, NaN in the same places, |got - expected| <= rtol*|expected| + atol."""
    got, expected = np.asarray(got, np.float64), np.asarray(expected, np.float64)
    assert got.shape == expected.shape, f"{what}: shape {got.shape}, not {expected.shape}"
    np.testing.assert_allclose(got, expected, rtol=rtol, atol=atol, err_msg=what)


def tolerance(feature_dtype, box_dtype, magnitude, *, terms=1):
    """(rtol, atol) of one result against the float64 reference.

    `magnitude` is that of the largest partial result; what is accumulated and the weights
    round relative to it. The reference takes the branches of the boxes' dtype, so nothing
    else can differ. A half result is rounded once more, at the end.
    """
    exact = feature_dtype == "float64" and box_dtype == "float64"
    atol = (1e-13 if exact else 2e-6) * magnitude * terms
    return HALF_ULP.get(feature_dtype, 0.0) * 1.001, atol


class Problem:
    """Random features, boxes, and upstream gradient with what the reference makes of them."""

    def __init__(
        self,
        rng,
        *,
        form="box_indices",
        feature_dtype="float32",
        box_dtype="float32",
        data_format="NHWC",
        images=3,
        count=12,
        height=9,
        width=13,
        channels=5,
        output_size=(3, 2),
        scale=1.0,
        ratio=-1,
        aligned=False,
        smooth=False,
    ):
        self.form, self.data_format, self.images = form, data_format, images
        self.feature_dtype, self.box_dtype = feature_dtype, box_dtype
        values = rng.standard_normal((images, height, width, channels))
        self.features, held = rounded(from_nhwc(values, data_format), feature_dtype)
        self.feature_values = to_nhwc(held, data_format)
        if smooth:
            self.box_values = smooth_boxes(
                rng,
                count,
                height,
                width,
                output_size=output_size,
                scale=scale,
                ratio=ratio,
                aligned=aligned,
            ).astype(box_dtype)
        else:
            self.box_values = random_boxes(rng, count, height, width, scale, box_dtype)
        self.indices = random_indices(rng, form, count, images)
        upstream = rng.standard_normal((count, *output_size, channels))
        self.upstream, held = rounded(from_nhwc(upstream, data_format), feature_dtype)
        self.upstream_values = to_nhwc(held, data_format)
        if form == "dense":
            self.upstream = tf.reshape(
                self.upstream, [images, count // images, *self.upstream.shape[1:]]
            )
        self.attributes = {
            "output_size": output_size,
            "spatial_scale": scale,
            "sampling_ratio": ratio,
            "aligned": aligned,
            "data_format": data_format,
        }
        self.geometry = {
            "output_size": output_size,
            "scale": scale,
            "ratio": ratio,
            "aligned": aligned,
            "geometry": np.dtype(box_dtype).type,
        }

    def arguments(self, index_dtype="int32"):
        return in_form(self.form, self.box_values, self.indices, self.images, index_dtype)

    def run(self, features=None, **arguments):
        arguments = arguments or self.arguments()
        features = self.features if features is None else features
        return tf_roialign.roi_align(features, **arguments, **self.attributes)

    def values(self, output):
        """An output or upstream gradient of this problem as [K, PH, PW, C] in float64."""
        return to_nhwc(flat(as_numpy(output), self.form), self.data_format)

    def expected(self):
        return reference.forward(
            self.feature_values, self.box_values, self.indices, **self.geometry
        )

    def expected_feature_gradient(self):
        return reference.feature_gradient(
            self.upstream_values,
            self.box_values,
            self.indices,
            self.feature_values.shape,
            **self.geometry,
        )

    def expected_box_gradient(self):
        return reference.box_gradient(
            self.upstream_values,
            self.feature_values,
            self.box_values,
            self.indices,
            **self.geometry,
        )
