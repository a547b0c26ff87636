"""Losses with one row per anchor or box, and their mean."""

import tensorflow as tf


def object_loss(is_object, logits):
    """Whether an anchor is on an object."""
    labels = tf.cast(is_object, tf.float32)
    return tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=logits)


def class_loss(labels, logits):
    """Labels `[K]`, logits `[K, classes + 1]` -> `[K]`."""
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)


def box_loss(targets, deltas):
    """Deltas `[..., 4]` -> `[...]`: the absolute error, squared where it is small."""
    error = tf.abs(targets - deltas)
    return tf.reduce_sum(tf.where(error < 1, error**2 / 2, error - 0.5), axis=-1)


def mask_loss(masks, labels, logits):
    """Masks `[K, 28, 28]`, labels `[K]`, logits `[K, 28, 28, classes]` -> `[K]`.

    The class is the box head's to know: only the logits of the right one count.
    """
    classes = tf.one_hot(labels, logits.shape[-1])
    logits = tf.einsum("khwc,kc->khw", logits, classes)
    losses = tf.nn.sigmoid_cross_entropy_with_logits(labels=masks, logits=logits)
    return tf.reduce_mean(losses, axis=[1, 2])


def mean_of(rows, weights, count=None):
    """The sum of the rows that count, over their number or another one."""
    weights = tf.cast(weights, rows.dtype)
    count = tf.reduce_sum(weights) if count is None else tf.cast(count, rows.dtype)
    return tf.reduce_sum(rows * weights) / tf.maximum(count, 1.0)
