"""Every graph op of the library with inputs of its own, for tests of where the ops run.

The ops, their inputs and dtypes are those of the op definitions: an op that is added is here.
"""

import re

import numpy as np
import tensorflow as tf
from tensorflow.python.framework import kernels

from tf_roialign import op_defs, raw_ops

# Op names without the name space.
NAMES = tuple(
    sorted(
        {
            kernel.op.removeprefix("TfRoialign>")
            for kernel in kernels.get_all_registered_kernels().kernel
            if kernel.op.startswith("TfRoialign>")
        }
    )
)
# On one map, and on two.
IMAGES, BOXES, CHANNELS = 2, 12, 8
SIZES = ((9, 13), (5, 6))
OUTPUT_SIZE = (3, 2)
# Of which the host reads the value: XLA has to know it on a GPU.
_READ_BY_HOST = ("features_shape", "spatial_scales", "scale", "zero_point")


def dtypes_of(name):
    """The dtypes of features that an op takes."""
    return tuple(dtype.name for dtype in op_defs.dtypes("TfRoialign>" + name, "T"))


class Call:
    """An op with random inputs: `run(*inputs)` of the inputs that are on its device."""

    def __init__(self, name, dtype="float32", data_format="NHWC", mode="avg"):
        self.name = name
        self.function = getattr(raw_ops, re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower())
        rng = np.random.default_rng(len(name))
        is_on_many = op_defs.reads_many_maps(name)
        self.sizes = SIZES if is_on_many else SIZES[:1]
        self.attributes = {"output_size": OUTPUT_SIZE, "data_format": data_format}
        self.attributes |= {"sampling_ratio": 2, "aligned": True}
        self.attributes["mode"] = "max" if "MaxGrad" in name else mode
        if is_on_many:
            self.attributes |= {"canonical_scale": 4, "canonical_level": 1}
        else:
            self.attributes["spatial_scale"] = 0.7

        def shape(images, height, width):
            channels_first = data_format == "NCHW"
            return (
                [images, CHANNELS, height, width]
                if channels_first
                else [
                    images,
                    height,
                    width,
                    CHANNELS,
                ]
            )

        corners = rng.uniform(-3, 14, [BOXES, 2])
        boxes = np.concatenate([corners, corners + rng.uniform(0, 12, [BOXES, 2])], axis=1)
        shapes = [shape(IMAGES, *size) for size in self.sizes]
        values = {
            "features": lambda: [random(rng, each, dtype) for each in shapes],
            "grad_output": lambda: random(rng, shape(BOXES, *OUTPUT_SIZE), dtype),
            "boxes": lambda: tf.constant(boxes, tf.float32),
            "box_indices": lambda: tf.constant(rng.integers(0, IMAGES, BOXES), tf.int32),
            "levels": lambda: tf.zeros([0], tf.int32),
            "spatial_scales": lambda: np.array([[0.7, 0.7], [0.3, 0.4]]),
            "features_shape": lambda: [np.array(each, np.int32) for each in shapes],
            "direction": lambda: tf.constant(rng.standard_normal([BOXES, 4]), tf.float32),
            "scale": lambda: np.float32(0.3),
            "zero_point": lambda: np.int32(7),
        }
        self.values = {}
        for argument in op_defs.input_names("TfRoialign>" + name):
            value = values[argument]()
            is_list = isinstance(value, list)
            self.values[argument] = value[0] if is_list and not is_on_many else value
        self.moving = [each for each in self.values if each not in _READ_BY_HOST]
        self.inputs = [self.values[each] for each in self.moving]

    def run(self, *inputs):
        """The outputs, as a list."""
        values = self.values | dict(zip(self.moving, inputs, strict=True))
        return tf.nest.flatten(self.function(*values.values(), **self.attributes))


def random(rng, shape, dtype):
    """Numbers of about 1, or any codes."""
    dtype = tf.as_dtype(dtype)
    if dtype.is_floating:
        return tf.cast(tf.constant(rng.standard_normal(shape)), dtype)
    plain = dtype.name.removeprefix("q")
    limits = np.iinfo(plain)
    codes = tf.constant(rng.integers(limits.min, limits.max, shape, plain, True))
    return codes if dtype.name == plain else tf.bitcast(codes, dtype)


def parameters():
    """(op, dtype, layout, mode): each op with all it may be asked for."""
    return [
        (name, dtype, data_format, mode)
        for name in NAMES
        for dtype in dtypes_of(name)
        for data_format in ("NHWC", "NCHW")
        for mode in ("avg", "max")
        if mode == "avg" or re.fullmatch(r"(MultiScale)?RoiAlign(BoxesGrad)?", name)
    ]
