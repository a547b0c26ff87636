"""Boxes as (x1, y1, x2, y2): overlaps, deltas, and NMS; all batched, of fixed shapes."""

import math

import tensorflow as tf

# Deltas are divided by these, to be of the size of one (as in Fast R-CNN).
_DEVIATIONS = (0.1, 0.1, 0.2, 0.2)
_MAX_LOG_SCALE = math.log(16.0)


def iou(first, second):
    """`[..., A, 4]` and `[..., B, 4]` -> their overlaps, `[..., A, B]`; 0 for boxes of no area."""
    first, second = first[..., :, None, :], second[..., None, :, :]
    top_left = tf.maximum(first[..., :2], second[..., :2])
    bottom_right = tf.minimum(first[..., 2:], second[..., 2:])
    overlap = tf.reduce_prod(tf.maximum(bottom_right - top_left, 0.0), axis=-1)
    union = _area(first) + _area(second) - overlap
    return overlap / tf.maximum(union, 1e-6)


def encode(boxes, anchors):
    """The deltas that take anchors to boxes."""
    centre, size = _centre_and_size(boxes)
    anchor_centre, anchor_size = _centre_and_size(anchors)
    shift = (centre - anchor_centre) / anchor_size
    scale = tf.math.log(size / anchor_size)
    return tf.concat([shift, scale], axis=-1) / tf.constant(_DEVIATIONS)


def decode(deltas, anchors):
    """The boxes that deltas take anchors to."""
    deltas = deltas * tf.constant(_DEVIATIONS)
    anchor_centre, anchor_size = _centre_and_size(anchors)
    centre = anchor_centre + deltas[..., :2] * anchor_size
    size = anchor_size * tf.exp(tf.clip_by_value(deltas[..., 2:], -_MAX_LOG_SCALE, _MAX_LOG_SCALE))
    return tf.concat([centre - size / 2, centre + size / 2], axis=-1)


def clip(boxes, image_size):
    """Boxes inside of the image."""
    return tf.clip_by_value(boxes, 0.0, float(image_size))


def non_max_suppression(boxes, scores, count, threshold, rounds=12):
    """Greedy NMS of each image: `[N, A, 4]`, `[N, A]` -> (indices `[N, count]`, valid, the same).

    The shapes are fixed and there are no loops, so that it runs in XLA and in ONNX too. A round
    settles the boxes whose fate hangs on boxes that are settled; chains of more than a few are
    rare. Boxes with a score of 0 or less are not taken.
    """
    scores, order = tf.math.top_k(scores, tf.shape(scores)[1])
    boxes = tf.gather(boxes, order, batch_dims=1)
    overlaps = tf.cast(iou(boxes, boxes) > threshold, tf.float32)
    # [N, A, A]: whether the second index is a better box that overlaps with the first.
    ranks = tf.range(tf.shape(scores)[1])
    beaten_by = overlaps * tf.cast(ranks[None, :] < ranks[:, None], tf.float32)
    keep = tf.cast(scores > 0, tf.float32)
    candidates = keep
    for _ in range(rounds):
        keep = candidates * tf.cast(tf.linalg.matvec(beaten_by, keep) < 0.5, tf.float32)
    kept, places = tf.math.top_k(keep * scores, count)
    return tf.gather(order, places, batch_dims=1), kept > 0


def _area(boxes):
    return tf.reduce_prod(tf.maximum(boxes[..., 2:] - boxes[..., :2], 0.0), axis=-1)


def _centre_and_size(boxes):
    size = tf.maximum(boxes[..., 2:] - boxes[..., :2], 1e-3)
    return (boxes[..., :2] + boxes[..., 2:]) / 2, size
