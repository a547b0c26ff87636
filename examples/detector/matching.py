"""Which anchors and boxes are on which object, and which of them are trained on."""

import tensorflow as tf

from . import boxes as box_math


def match(boxes, objects, is_object):
    """Boxes `[N, A, 4]`, objects `[N, G, 4]` -> (overlap with the best object, its index)."""
    overlaps = box_math.iou(boxes, objects) * tf.cast(is_object, tf.float32)[:, None, :]
    return tf.reduce_max(overlaps, axis=2), tf.argmax(overlaps, axis=2, output_type=tf.int32)


def match_anchors(anchors, objects, is_object, low=0.3, high=0.6):
    """Returns (whether an anchor is on an object, on none, the object), each `[N, A]`.

    Anchors in between count as neither; the best ones of an object are on it anyway.
    """
    overlaps = box_math.iou(anchors[None], objects) * tf.cast(is_object, tf.float32)[:, None, :]
    best = tf.reduce_max(overlaps, axis=2)
    best_of_object = tf.reduce_max(overlaps, axis=1, keepdims=True)
    is_best = tf.reduce_any((overlaps >= best_of_object - 1e-4) & (overlaps > 0.05), axis=2)
    is_positive = (best >= high) | is_best
    return is_positive, (best < low) & ~is_positive, tf.argmax(overlaps, 2, output_type=tf.int32)


def sample(mask, count, random):
    """Keeps `count` of the True of each row of `[N, A]` at most, those of the largest `random`.

    `count` is a number or one for each row, `[N, 1]`.
    """
    keys = tf.where(mask, random, -1.0)
    rank = tf.argsort(tf.argsort(keys, axis=1, direction="DESCENDING"), axis=1)
    return mask & (rank < count)


def sample_anchors(is_positive, is_negative, count, random):
    """Half of them on objects, at most; the others on none."""
    positives = sample(is_positive, count // 2, random)
    rest = count - tf.reduce_sum(tf.cast(positives, tf.int32), axis=1, keepdims=True)
    return positives, sample(is_negative, rest, random)


def sample_boxes(overlaps, is_box, settings, random, high=0.5):
    """Chooses the boxes that the heads are trained on.

    Returns indices `[N, sampled_boxes]`, of which the first `sampled_objects` may be on objects
    and the others are not; whether they are; and whether there is a box at all.
    """
    is_positive = is_box & (overlaps >= high)
    is_negative = is_box & (overlaps < high)
    positive = tf.math.top_k(tf.where(is_positive, random, -1.0), settings.sampled_objects)
    others = settings.sampled_boxes - settings.sampled_objects
    negative = tf.math.top_k(tf.where(is_negative, random, -1.0), others)
    indices = tf.concat([positive.indices, negative.indices], axis=1)
    values = tf.concat([positive.values, negative.values], axis=1)
    on_object = tf.concat(
        [tf.ones_like(positive.indices, tf.bool), tf.zeros_like(negative.indices, tf.bool)], axis=1
    )
    return indices, on_object & (values >= 0), values >= 0
