"""Scenes of circles, rectangles and triangles, cut from real photographs; all from a seed."""

import dataclasses
import functools

import numpy as np
import skimage.data
import tensorflow as tf

from .settings import CLASSES

# Those that come with scikit-image: nothing is downloaded.
PHOTOGRAPHS = (
    "astronaut",
    "brick",
    "chelsea",
    "coffee",
    "grass",
    "gravel",
    "hubble_deep_field",
    "retina",
    "rocket",
)
MIN_VISIBLE = 0.6  # of each object, when all that hide it are there
SIZES = (9 / 64, 42 / 64)  # of objects, of the size of the image


@dataclasses.dataclass
class Scene:
    """An image and what is in it."""

    image: np.ndarray  # [S, S, 3], uint8
    boxes: np.ndarray  # [L, 4], float32: x1, y1, x2, y2 of the visible part
    labels: np.ndarray  # [L], indices of CLASSES
    owners: np.ndarray  # [S, S], uint8: whose pixel it is, 0 of the background, k + 1 of object k

    @property
    def masks(self):
        """`[L, S, S]`, whether a pixel belongs to an object."""
        return self.owners == np.arange(1, len(self.labels) + 1)[:, None, None]


def make_scene(seed, number, size=128, max_objects=5):
    """Returns scene `number` of the endless series `seed`."""
    random = np.random.default_rng([seed, number])
    image = _texture(random, size, size)
    owners = np.zeros([size, size], np.uint8)
    labels = []
    for _ in range(random.integers(1, max_objects + 1)):
        label = int(random.integers(len(CLASSES)))
        for _ in range(8):  # tries to find a place
            mask = _shape(random, CLASSES[label], size)
            if _leaves_others_visible(owners, mask):
                # Drawn over the others: it is the visible part that counts.
                x1, y1, x2, y2 = _box(mask)
                window = np.s_[y1:y2, x1:x2]
                texture = _texture(random, y2 - y1, x2 - x1)
                np.copyto(image[window], texture, where=mask[window][..., None])
                labels.append(label)
                owners[mask] = len(labels)
                break
    masks = owners == np.arange(1, len(labels) + 1)[:, None, None]
    boxes = np.array([_box(mask) for mask in masks], np.float32)
    return Scene(image.round().astype(np.uint8), boxes, np.array(labels, np.int32), owners)


def make_scenes(seed, count, **kwargs):
    """Returns the first scenes of a series."""
    return [make_scene(seed, number, **kwargs) for number in range(count)]


def batches(seed, batch_size, settings, first_batch=0):
    """An endless dataset of batches (images, targets), made while they are trained on.

    The images are `[N, S, S, 3]` in [0, 1]. The targets are padded to `max_objects`: `boxes`
    `[N, G, 4]`, `labels` `[N, G]`, which are -1 in the padding, and `masks` `[N, G, S, S]`.
    Batch `first_batch` comes first, so that a training that is resumed sees what it would have.
    """
    size, most = settings.image_size, settings.max_objects

    def generate():
        batch = first_batch
        while True:
            numbers = range(batch * batch_size, (batch + 1) * batch_size)
            yield pad([make_scene(seed, n, size, most) for n in numbers], most)
            batch += 1

    signature = (
        tf.TensorSpec([batch_size, size, size, 3], tf.uint8),
        tf.TensorSpec([batch_size, most, 4], tf.float32),
        tf.TensorSpec([batch_size, most], tf.int32),
        tf.TensorSpec([batch_size, size, size], tf.uint8),
    )
    dataset = tf.data.Dataset.from_generator(generate, output_signature=signature)
    return dataset.map(prepare).prefetch(4)


def pad(scenes, max_objects):
    """Returns (images, boxes, labels, owners) of a batch of scenes."""
    boxes = np.zeros([len(scenes), max_objects, 4], np.float32)
    labels = np.full([len(scenes), max_objects], -1, np.int32)
    for i, scene in enumerate(scenes):
        boxes[i, : len(scene.boxes)] = scene.boxes
        labels[i, : len(scene.labels)] = scene.labels
    images = np.stack([scene.image for scene in scenes])
    return images, boxes, labels, np.stack([scene.owners for scene in scenes])


def prepare(images, boxes, labels, owners):
    """Returns what the model is trained on: (images, targets)."""
    numbers = tf.cast(tf.range(1, boxes.shape[1] + 1), owners.dtype)
    masks = tf.equal(owners[:, None], numbers[None, :, None, None])
    targets = {"boxes": boxes, "labels": labels, "masks": tf.cast(masks, tf.float32)}
    return to_floats(images), targets


def to_floats(images):
    """uint8 images as the model takes them."""
    return tf.cast(images, tf.float32) / 255


@functools.cache
def _photographs():
    images = [getattr(skimage.data, name)() for name in PHOTOGRAPHS]
    images = [np.stack([x] * 3, axis=-1) if x.ndim == 2 else x for x in images]
    return [image.astype(np.float32) for image in images]


def _texture(random, height, width):
    """A window of a photograph, in other colours, so that what is next to it differs."""
    photographs = _photographs()
    photograph = photographs[random.integers(len(photographs))]
    step = random.integers(1, 3)  # every pixel, or every second one
    top = random.integers(photograph.shape[0] - step * height + 1)
    left = random.integers(photograph.shape[1] - step * width + 1)
    window = photograph[top : top + step * height : step, left : left + step * width : step]
    gain, shift = random.uniform(0.5, 1.2, 3), random.uniform(-50, 50, 3)
    return np.clip(window * gain.astype(np.float32) + shift.astype(np.float32), 0, 255)


def _shape(random, name, size):
    """The pixels of a shape at a random place, `[size, size]`, bool."""
    width, height = (
        size * np.exp(random.uniform(*np.log(SIZES), 1)) * random.uniform([0.75] * 2, 1.25)
    )
    if name == "circle":
        height = width
    centre_x = random.uniform(width / 2, size - width / 2)
    centre_y = random.uniform(height / 2, size - height / 2)
    pixels = np.arange(size) + 0.5
    x, y = pixels[None, :] - centre_x, pixels[:, None] - centre_y
    if name == "circle":
        return x**2 + y**2 < (width / 2) ** 2
    if name == "rectangle":
        return (abs(x) < width / 2) & (abs(y) < height / 2)
    # Its apex is above, below, left or right.
    turn = random.integers(4)
    if turn >= 2:
        x, y, width, height = y, x, height, width
    rise = (y if turn % 2 else -y) / height + 0.5  # from 0 at the base to 1 at the apex
    return (rise > 0) & (abs(x) < (1 - rise) * width / 2)


def _leaves_others_visible(owners, mask):
    if not mask.any():
        return False
    hidden = np.bincount(owners[mask], minlength=owners.max() + 1)[1:]
    visible = np.bincount(owners.ravel(), minlength=owners.max() + 1)[1:]
    return (hidden <= (1 - MIN_VISIBLE) * visible).all()


def _box(mask):
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    return columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
