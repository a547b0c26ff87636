"""Random feature pyramids, and what one call of `roi_align` for each level makes of them."""

import math

import cases
import numpy as np
import tensorflow as tf

import tf_roialign

SCALES = [1 / 4, (1 / 8, 15 / 128), 1 / 16]  # that float32 holds
RULE = {"canonical_scale": 40, "canonical_level": 3}


def level_of(box):
    """The rule, written again: a box (x1, y1, x2, y2) of a float dtype."""
    dtype = box.dtype.type
    area = (box[2] - box[0]) * (box[3] - box[1])
    if not area > 0:
        return 0
    if np.isinf(area):
        return len(SCALES) - 1
    size = dtype(np.sqrt(area)) / dtype(RULE["canonical_scale"])
    level = math.floor(dtype(RULE["canonical_level"]) + np.log2(size) + dtype(1e-6))
    return min(max(level - 2, 0), len(SCALES) - 1)


class Pyramid:
    """Three maps, boxes of all their levels, and an upstream gradient."""

    def __init__(
        self,
        rng,
        *,
        form="box_indices",
        feature_dtype="float32",
        box_dtype="float32",
        data_format="NHWC",
        ratio=2,
        aligned=False,
        mode="avg",
        channels=5,
        images=2,
        count=12,
        output_size=(3, 2),
    ):
        self.form, self.data_format, self.images, self.count = form, data_format, images, count
        sizes = [(24, 31), (12, 16), (5, 8)]
        self.features = [
            cases.rounded(
                cases.from_nhwc(rng.standard_normal((images, h, w, channels)), data_format),
                feature_dtype,
            )[0]
            for h, w in sizes
        ]
        side = 2 ** rng.uniform(3, 7.5, (count, 2))
        side[2:5] = [[20, 25], [60, 50], [90, 130]]  # one of each level
        first = rng.uniform(-10, 90, (count, 2))
        self.boxes = np.concatenate([first, first + side], 1).astype(box_dtype)
        self.boxes[0] = [50, 50, 20, 70]  # reversed
        self.boxes[1, 2:] = self.boxes[1, :2]  # empty
        self.indices = cases.random_indices(rng, form, count, images)
        self.levels = np.array([level_of(box) for box in self.boxes])
        self.attributes = {
            "sampling_ratio": ratio,
            "aligned": aligned,
            "data_format": data_format,
            "mode": mode,
        }
        self.output_size = output_size
        shape = (count, *output_size, channels)
        self.upstream = cases.rounded(
            cases.from_nhwc(rng.standard_normal(shape), data_format), feature_dtype
        )[0]

    def arguments(self):
        return cases.in_form(self.form, self.boxes, self.indices, self.images, "int32")

    def run(self, features=None, scales=SCALES, **arguments):
        """The fused op; rows in the order of the boxes."""
        output = tf_roialign.multiscale_roi_align(
            self.features if features is None else features,
            output_size=self.output_size,
            spatial_scales=scales,
            **{**self.arguments(), **self.attributes, **RULE, **arguments},
        )
        return tf.reshape(output, [self.count, *self.upstream.shape[1:]])

    def run_each(self, features=None, boxes=None):
        """A call for each level, with the boxes that are of it, put in order."""
        features = self.features if features is None else features
        boxes = tf.constant(self.boxes) if boxes is None else boxes
        parts, order = [], []
        for level, each in enumerate(features):
            (rows,) = np.nonzero(self.levels == level)
            order.append(rows)
            parts.append(
                tf_roialign.roi_align(
                    each,
                    tf.gather(boxes, rows),
                    self.output_size,
                    SCALES[level],
                    box_indices=tf.constant(self.indices[rows], tf.int32),
                    **self.attributes,
                )
            )
        return tf.gather(tf.concat(parts, 0), np.argsort(np.concatenate(order)))
