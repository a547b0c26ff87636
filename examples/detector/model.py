"""The detector: a `keras.Model` with a training step of its own."""

import keras
import tensorflow as tf

import tf_roialign

from . import boxes as box_math
from . import losses, matching
from .anchors import make_anchors
from .backbone import make_pyramid
from .heads import make_box_head, make_mask_head, make_proposal_head
from .poolers import make_pooler
from .settings import CLASSES, Settings

_LOSSES = ("loss", "object_loss", "proposal_loss", "class_loss", "box_loss", "mask_loss")


class Detector(keras.Model):
    """Faster R-CNN with a feature pyramid and a mask head.

    Called on images `[N, S, S, 3]` in [0, 1] it returns detections, padded to D for each image:
    `boxes` `[N, D, 4]`, `scores` `[N, D]`, which are 0 in the padding, `classes` `[N, D]` and
    `masks` `[N, D, 28, 28]`, probabilities in the box.

    Args:
      settings: `Settings`.
      pooler: A name of `poolers.POOLERS`.
      ragged: Whether boxes are pooled as ragged tensors in training, the real ones alone, or
        padded, and the padding weighs nothing: that has fixed shapes, as XLA wants them.
      seed: Of the choice of boxes that are trained on.
    """

    def __init__(self, settings=None, pooler="fused", ragged=False, seed=0, **kwargs):
        # Keras would cast boxes to 16 bits under mixed precision; the layers cast features.
        super().__init__(**kwargs, autocast=False)
        self.settings = settings or Settings()
        self.ragged = ragged
        self.seed = seed
        self.anchors = make_anchors(self.settings)
        self.pyramid = make_pyramid(self.settings)
        self.proposal_head = make_proposal_head(self.settings)
        self.box_head = make_box_head(self.settings)
        self.mask_head = make_mask_head(self.settings)
        self.box_pooler = make_pooler(pooler, self.settings.box_bins, self.settings)
        self.mask_pooler = make_pooler(pooler, self.settings.mask_bins, self.settings)
        self.means = [keras.metrics.Mean(name) for name in _LOSSES]
        self.built = True  # all weights are there

    @property
    def metrics(self):
        return self.means

    def call(self, images, training=False):
        maps = self.pyramid(images, training=training)
        proposals, is_proposal = self._propose(*self._score_anchors(maps))
        return self._detect(maps, proposals, is_proposal)

    def masks_of(self, images, boxes, labels):
        """Mask probabilities in given boxes: `[N, M, 4]`, `[N, M]` -> `[N, M, 28, 28]`."""
        return self._masks(self.pyramid(images, training=False), boxes, labels)

    def train_step(self, data):
        images, targets, _ = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            values = self.all_losses(images, targets, training=True)
            loss = self.optimizer.scale_loss(values[0])
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply(gradients, self.trainable_variables)
        return self._log(values)

    def test_step(self, data):
        images, targets, _ = keras.utils.unpack_x_y_sample_weight(data)
        return self._log(self.all_losses(images, targets, training=False))

    def _log(self, values):
        for mean, value in zip(self.means, values, strict=True):
            mean.update_state(value)
        return {mean.name: mean.result() for mean in self.means}

    def all_losses(self, images, targets, training):
        """The sum of the losses, and each of them."""
        objects, labels = targets["boxes"], targets["labels"]
        maps = self.pyramid(images, training=training)
        logits, deltas = self._score_anchors(maps)
        proposal_losses = self._proposal_losses(logits, deltas, objects, labels >= 0)

        # Boxes are data from here: no gradient goes back through where they are.
        proposals, is_proposal = self._propose(tf.stop_gradient(logits), tf.stop_gradient(deltas))
        boxes, on_object, is_box, matched = self._choose(proposals, is_proposal, objects, labels)
        head_losses = self._head_losses(maps, boxes, on_object, is_box, matched, targets)
        parts = [*proposal_losses, *head_losses]
        return [tf.add_n(parts), *parts]

    def _score_anchors(self, maps):
        """Logits `[N, A]` and deltas `[N, A, 4]` of the anchors of all levels."""
        logits, deltas = zip(*map(self.proposal_head, maps), strict=True)
        return tf.concat(logits, axis=1), tf.concat(deltas, axis=1)

    def _proposal_losses(self, logits, deltas, objects, is_object):
        on_object, on_none, matched = matching.match_anchors(self.anchors, objects, is_object)
        on_object, on_none = matching.sample_anchors(
            on_object, on_none, self.settings.sampled_anchors, self._random(0, tf.shape(logits))
        )
        counts = tf.reduce_sum(tf.cast(on_object | on_none, tf.float32))
        rows = losses.object_loss(on_object, logits)
        wanted = box_math.encode(tf.gather(objects, matched, batch_dims=1), self.anchors[None])
        box_rows = losses.box_loss(wanted, deltas)
        return [
            losses.mean_of(rows, on_object | on_none, counts),
            losses.mean_of(box_rows, on_object, counts),
        ]

    def _propose(self, logits, deltas):
        """The best boxes of an image, padded: `[N, P, 4]` and whether there is one, `[N, P]`."""
        settings = self.settings
        logits, best = tf.math.top_k(logits, settings.candidates)
        deltas = tf.gather(deltas, best, batch_dims=1)
        anchors = tf.gather(tf.constant(self.anchors), best)
        boxes = box_math.clip(box_math.decode(deltas, anchors), settings.image_size)
        # Of no area after clipping: not a box.
        size = boxes[..., 2:] - boxes[..., :2]
        scores = tf.where(tf.reduce_min(size, axis=-1) > 1, tf.sigmoid(logits), 0.0)
        indices, is_valid = box_math.non_max_suppression(
            boxes, scores, settings.proposals, settings.proposal_iou
        )
        boxes = tf.gather(boxes, indices, batch_dims=1)
        return tf.where(is_valid[..., None], boxes, 0.0), is_valid

    def _choose(self, proposals, is_proposal, objects, labels):
        """The boxes that the heads are trained on; the objects themselves are among them."""
        is_object = labels >= 0
        proposals = tf.concat([proposals, objects], axis=1)
        is_proposal = tf.concat([is_proposal, is_object], axis=1)
        overlaps, matched = matching.match(proposals, objects, is_object)
        indices, on_object, is_box = matching.sample_boxes(
            overlaps, is_proposal, self.settings, self._random(1, tf.shape(overlaps))
        )
        boxes = tf.gather(proposals, indices, batch_dims=1)
        return boxes, on_object, is_box, tf.gather(matched, indices, batch_dims=1)

    def _head_losses(self, maps, boxes, on_object, is_box, matched, targets):
        """Losses with one row per box. All arguments `[N, M, ...]`."""
        objects = tf.gather(targets["boxes"], matched, batch_dims=1)
        labels = tf.gather(targets["labels"], matched, batch_dims=1)
        wanted = tf.where(on_object, labels, len(CLASSES))
        pooled, rows = self._pool(self.box_pooler, maps, boxes, is_box)
        logits, deltas = self.box_head(pooled)
        weights = rows(is_box)
        count = tf.reduce_sum(tf.cast(weights, tf.float32))
        class_rows = losses.class_loss(rows(wanted), logits)
        box_rows = losses.box_loss(rows(box_math.encode(objects, boxes)), deltas)

        # Only the first ones may be on objects, and only these have a mask.
        first = slice(0, self.settings.sampled_objects)
        boxes, on_object = boxes[:, first], on_object[:, first]
        pooled, rows_on = self._pool(self.mask_pooler, maps, boxes, on_object)
        mask_logits = self.mask_head(pooled)
        masks = self._mask_targets(targets["masks"], boxes, matched[:, first], mask_logits.shape[1])
        mask_rows = losses.mask_loss(
            rows_on(masks), rows_on(tf.maximum(labels[:, first], 0)), mask_logits
        )
        return [
            losses.mean_of(class_rows, weights),
            losses.mean_of(box_rows, rows(wanted < len(CLASSES)), count),
            losses.mean_of(mask_rows, rows_on(on_object)),
        ]

    def _pool(self, pooler, maps, boxes, is_box):
        """Returns what is pooled, one row per box, and what makes such rows of `[N, M, ...]`."""
        if self.ragged:
            real = tf.ragged.boolean_mask(boxes, is_box)
            return pooler(maps, real), lambda values: tf.boolean_mask(values, is_box)
        return pooler(maps, boxes), lambda values: tf.reshape(values, [-1, *values.shape[2:]])

    def _mask_targets(self, masks, boxes, matched, bins):
        """What is in each box of the mask of its object: `[N, M, bins, bins]`."""
        count, most, height, width = masks.shape
        numbers = tf.range(tf.shape(masks)[0])[:, None] * most + matched
        pooled = tf_roialign.roi_align(
            tf.reshape(masks, [-1, height, width, 1]),
            tf.reshape(boxes, [-1, 4]),
            bins,
            sampling_ratio=self.settings.sampling_ratio,
            aligned=True,
            box_indices=tf.reshape(numbers, [-1]),
        )
        return tf.reshape(tf.round(pooled), [-1, boxes.shape[1], bins, bins])

    def _detect(self, maps, proposals, is_proposal):
        settings = self.settings
        logits, deltas = self.box_head(self.box_pooler(maps, proposals))
        boxes = box_math.decode(tf.reshape(deltas, [-1, settings.proposals, 4]), proposals)
        boxes = box_math.clip(boxes, settings.image_size)
        scores = tf.nn.softmax(tf.reshape(logits, [-1, settings.proposals, len(CLASSES) + 1]))
        scores = scores[..., :-1] * tf.cast(is_proposal, tf.float32)[..., None]
        # Each class of each proposal: [N, P * classes].
        scores = tf.reshape(scores, [-1, settings.proposals * len(CLASSES)])
        scores = tf.where(scores > settings.min_score, scores, 0.0)
        scores, order = tf.math.top_k(scores, settings.proposals)
        classes = order % len(CLASSES)
        boxes = tf.gather(boxes, order // len(CLASSES), batch_dims=1)
        # Classes side by side: boxes of different ones do not overlap.
        apart = tf.cast(classes, tf.float32)[..., None] * (2.0 * settings.image_size)
        indices, is_valid = box_math.non_max_suppression(
            boxes + apart, scores, settings.detections, settings.detection_iou
        )
        boxes = tf.where(is_valid[..., None], tf.gather(boxes, indices, batch_dims=1), 0.0)
        classes = tf.gather(classes, indices, batch_dims=1)
        return {
            "boxes": boxes,
            "scores": tf.where(is_valid, tf.gather(scores, indices, batch_dims=1), 0.0),
            "classes": classes,
            "masks": self._masks(maps, boxes, classes),
        }

    def _masks(self, maps, boxes, classes):
        logits = self.mask_head(self.mask_pooler(maps, boxes))
        size = logits.shape[1]
        chosen = tf.one_hot(tf.reshape(classes, [-1]), len(CLASSES))
        probabilities = tf.sigmoid(tf.reduce_sum(logits * chosen[:, None, None, :], axis=-1))
        return tf.reshape(probabilities, [-1, boxes.shape[1], size, size])

    def _random(self, number, shape):
        """Numbers that depend on the step alone, so that one that is resumed has the same."""
        step = tf.cast(self.optimizer.iterations, tf.int32)
        return tf.random.stateless_uniform(shape, [self.seed * 2 + number, step])
