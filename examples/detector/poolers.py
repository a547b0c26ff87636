"""Four ways to pool boxes out of a pyramid, of one interface.

    pool = make_pooler("fused", bins=7, settings=settings)
    rows = pool(pyramid, boxes)  # [K, 7, 7, C]

The pyramid is a list of maps `[N, H, W, C]`; boxes are float32 pixels of the images, padded
`[N, M, 4]` or ragged `[N, (L), 4]`. Rows are in the order of the boxes, image by image. "fused" is
what to copy; the others are what it is compared with.
"""

import keras
import tensorflow as tf

import tf_roialign


def make_pooler(name, bins, settings):
    """Returns the layer called `name`."""
    return POOLERS[name](bins, settings, name=f"{name}_{bins}")


class Fused(keras.layers.Layer):
    """`tf_roialign.MultiScaleRoIAlign`: one op for all levels."""

    def __init__(self, bins, settings, **kwargs):
        # Without autocast, boxes stay float32 under mixed precision.
        super().__init__(**kwargs, autocast=False)
        self.names = [f"p{level}" for level in settings.levels]
        self.roi_align = tf_roialign.MultiScaleRoIAlign(
            self.names,
            bins,
            settings.sampling_ratio,
            canonical_scale=settings.canonical_scale,
            canonical_level=settings.canonical_level,
            aligned=True,
            spatial_scales=[1 / stride for stride in settings.strides],
        )

    def call(self, pyramid, boxes):
        rows = self.roi_align(dict(zip(self.names, pyramid, strict=True)), boxes)
        # Padded boxes give [N, M, 7, 7, C].
        return tf.reshape(rows, [-1, *rows.shape[-3:]])


class PerLevel(keras.layers.Layer):
    """A loop over the levels: pools the boxes of each out of its map, and puts all in order."""

    def __init__(self, bins, settings, **kwargs):
        super().__init__(**kwargs, autocast=False)
        self.bins = bins
        self.settings = settings

    def call(self, pyramid, boxes):
        boxes, images = flat_boxes(boxes)
        levels = level_of_each_box(boxes, self.settings)
        places, rows = [], []
        for level, features in zip(self.settings.levels, pyramid, strict=True):
            (chosen,) = tf.unstack(tf.where(levels == level), axis=1, num=1)
            places.append(chosen)
            rows.append(
                self.pool(
                    features,
                    tf.gather(boxes, chosen),
                    tf.gather(images, chosen),
                    self.settings.strides[level - self.settings.levels[0]],
                )
            )
        rows, places = tf.concat(rows, axis=0), tf.concat(places, axis=0)
        shape = [tf.shape(boxes)[0], self.bins, self.bins, rows.shape[-1]]
        return tf.scatter_nd(places[:, None], rows, tf.cast(shape, places.dtype))

    def pool(self, features, boxes, images, stride):
        """Boxes `[K, 4]` out of one map."""
        return tf_roialign.roi_align(
            features,
            boxes,
            self.bins,
            1 / stride,
            self.settings.sampling_ratio,
            aligned=True,
            box_indices=images,
        )


class CropAndResize(PerLevel):
    """`tf.image.crop_and_resize`, of boxes divided by the size of the image.

    That is how it is used most, and not quite where the boxes are: it takes 0 and 1 for the
    centres of the first and of the last pixel of the map, and its first and last samples on the
    edges of the box. As many samples as RoIAlign takes are averaged.
    """

    def pool(self, features, boxes, images, stride):
        ratio = self.settings.sampling_ratio
        samples = self.bins * ratio
        size = tf.cast(tf.shape(features)[1:3], boxes.dtype)
        normalised = self.normalise(boxes / stride, size, samples)
        crops = tf.image.crop_and_resize(
            features,
            tf.gather(normalised, [1, 0, 3, 2], axis=1),  # y before x
            tf.cast(images, tf.int32),
            [samples, samples],
        )
        # Not avg_pool2d, which oneDNN does not do for no boxes.
        shape = [-1, self.bins, ratio, self.bins, ratio, features.shape[-1]]
        rows = tf.reduce_mean(tf.reshape(crops, shape), axis=[2, 4])
        return tf.cast(rows, features.dtype)

    def normalise(self, boxes, size, samples):
        """Boxes in pixels of the map as `crop_and_resize` takes them."""
        return boxes / tf.tile(size[::-1], [2])


class CropAndResizeCorrected(CropAndResize):
    """`tf.image.crop_and_resize` of other boxes, so that it samples where RoIAlign does.

    What is left is that samples outside of the outermost centres are zero here.
    """

    def normalise(self, boxes, size, samples):
        first, last = boxes[:, :2] - 0.5, boxes[:, 2:] - 0.5
        half_step = (last - first) / samples / 2
        return tf.concat([first + half_step, last - half_step], 1) / tf.tile(size[::-1] - 1, [2])


POOLERS = {
    "fused": Fused,
    "loop": PerLevel,
    "crop_and_resize": CropAndResize,
    "crop_and_resize_corrected": CropAndResizeCorrected,
}


def flat_boxes(boxes):
    """Padded or ragged boxes as (`[K, 4]`, the image of each)."""
    if isinstance(boxes, tf.RaggedTensor):
        return boxes.values, boxes.value_rowids()
    count, most = tf.unstack(tf.shape(boxes)[:2])
    return tf.reshape(boxes, [-1, 4]), tf.repeat(tf.range(count), most)


def level_of_each_box(boxes, settings):
    """The level of each of the boxes `[K, 4]`: its size against the canonical one."""
    size = tf.sqrt(tf.reduce_prod(tf.maximum(boxes[:, 2:] - boxes[:, :2], 0.0), axis=1))
    # For no size the logarithm is -infinity, which must be clamped before it is an integer.
    level = settings.canonical_level + tf.math.log(size / settings.canonical_scale) / tf.math.log(
        2.0
    )
    level = tf.clip_by_value(
        tf.floor(level + 1e-6), float(settings.levels[0]), float(settings.levels[-1])
    )
    return tf.cast(level, tf.int32)
