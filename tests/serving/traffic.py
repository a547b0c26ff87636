"""What clients send: good requests with their answers, and bad and huge ones with their errors."""

import dataclasses

import numpy as np
import tensorflow as tf

import tf_roialign

from .server import BOX_CLASSIFIER, ROI_ALIGN


def random_request(rng):
    """1 to 3 images of one of two sizes, each with 0 to 6 boxes."""
    count, boxes = rng.integers(1, 4), rng.integers(0, 7)
    height, width = [(64, 80), (72, 56)][rng.integers(2)]
    corners = rng.uniform(-5, 60, (count, boxes, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(1, 40, corners.shape)], axis=2)
    images = rng.uniform(size=(count, height, width, 3))
    return {"images": images.astype("float32"), "boxes": boxes.astype("float32")}


# What is wrong with a request to the box classifier, and what its sender is told.
IMAGE = np.zeros((1, 64, 64, 3), "float32")
BOX = np.array([[[0.0, 0, 9, 9]]], "float32")
MALFORMED = {
    "dtype": ({"images": IMAGE, "boxes": BOX.astype("int32")}, "'boxes' data-type is 'INT32'"),
    "columns": (
        {"images": IMAGE, "boxes": np.zeros((1, 2, 5), "float32")},
        r"'boxes' .* Expected \[-1,-1,4\], got \[1,2,5\]",
    ),
    "rank": (
        {"images": IMAGE, "boxes": BOX[0]},
        r"'boxes' .* Expected \[-1,-1,4\], got \[1,4\]",
    ),
    "missing": ({"images": IMAGE}, r"missing required input\(s\) \['boxes'\]"),
    "unknown": ({"images": IMAGE, "boxes": BOX, "masks": BOX}, "expected 2 inputs but got 3"),
    "images_and_boxes": (
        {"images": IMAGE, "boxes": np.repeat(BOX, 2, 0)},
        "'images' batch size does not match",
    ),
    "too_many": (
        {"images": np.repeat(IMAGE, 17, 0), "boxes": np.repeat(BOX, 17, 0)},
        "batch-size must be <= 16",
    ),
    # Found by the op, behind the batcher.
    "empty_map": (
        {"images": IMAGE[:, :2, :2], "boxes": BOX},
        "`features` must have a height and width of at least 1",
    ),
    # Found by model.py: the limits of config.pbtxt.
    "many_pixels": (
        {"images": np.zeros((1, 2049, 2048, 3), "float32"), "boxes": BOX},
        "has 4196352 pixels in its images, and this server takes 4194304",
    ),
    "many_boxes": (
        {"images": IMAGE, "boxes": np.repeat(BOX, 200_000, 1)},
        "has 200000 boxes, and this server takes 10000",
    ),
}
HUGE = ("too_many", "many_pixels", "many_boxes")

# What a model has no good answer to, and those that are run with it must not notice.
ODD = {
    "nan_boxes": {"images": IMAGE, "boxes": np.full((1, 3, 4), np.nan, "float32")},
    "infinite_boxes": {"images": IMAGE, "boxes": np.full((1, 3, 4), np.inf, "float32")},
    "gigantic_boxes": {"images": IMAGE, "boxes": BOX * np.float32(3e37)},
    "nan_images": {"images": np.full_like(IMAGE, np.nan), "boxes": BOX},
    "infinite_images": {"images": np.full_like(IMAGE, -np.inf), "boxes": BOX},
}

FEATURES = np.ones((2, 5, 6, 3), "float32")


def _of_the_op(box_indices, dtype="int32"):
    box_indices = np.array(box_indices, dtype)
    boxes = np.repeat(BOX[0], 3, 0)
    return {"features": FEATURES, "boxes": boxes, "box_indices": box_indices}


# The same for the op itself.
MALFORMED_FOR_THE_OP = {
    "index_too_large": (
        _of_the_op([0, 2, 1]),
        r"`box_indices\[1\]`, an image index, must be in \[0, 2\), got 2",
    ),
    "index_negative": (
        _of_the_op([0, 1, -1]),
        r"`box_indices\[2\]`, an image index, must be in \[0, 2\), got -1",
    ),
    "index_gigantic": (
        _of_the_op([2**31 - 1, 0, 0]),
        r"`box_indices\[0\]`, an image index, must be in \[0, 2\), got 2147483647",
    ),
    "indices_and_boxes": (_of_the_op([0, 1]), r"`box_indices` must have shape \[3\]"),
    "indices_dtype": (_of_the_op([0, 1, 1], "float32"), "'box_indices' data-type is 'FP32'"),
}


@dataclasses.dataclass(frozen=True)
class Good:
    """A request, and the answer that it must get."""

    model: str
    arrays: dict
    expected: np.ndarray
    tolerance: dict

    def is_answered_by(self, answer):
        return answer.shape == self.expected.shape and np.allclose(
            answer, self.expected, equal_nan=True, **self.tolerance
        )


def good_requests(saved_model, seed, count):
    """`count` requests to the classifier and as many to the op, no two with equal answers.

    Or else an answer to another's request could pass for the right one.
    """
    rng = np.random.default_rng(seed)
    classifier = tf.saved_model.load(str(saved_model))
    requests = []
    while len(requests) < count:
        _add(requests, _good_classification(rng, classifier))
    while len(requests) < 2 * count:
        _add(requests, _good_call_of_the_op(rng))
    return requests


def _add(requests, new):
    same = [old for old in requests if old.model == new.model]
    # Of no boxes all answers are alike.
    if not new.expected.size or not any(new.is_answered_by(old.expected) for old in same):
        requests.append(new)


def _good_classification(rng, classifier):
    arrays = random_request(rng)
    # Convolutions of a batch round otherwise than those of one image.
    tolerance = {"rtol": 1e-4, "atol": 1e-6}
    return Good(BOX_CLASSIFIER, arrays, classify_alone(classifier, **arrays), tolerance)


def classify_alone(classifier, images, boxes):
    """The answer without a server: each image alone."""
    serve = classifier.signatures["serving_default"]
    rows = [
        serve(
            images=tf.constant(image[None]),
            boxes=tf.constant(entry),
            boxes_row_lengths=tf.constant([len(entry)], tf.int64),
        )["output_0"].numpy()
        for image, entry in zip(images, boxes, strict=True)
    ]
    return np.stack(rows)


def _good_call_of_the_op(rng):
    """Boxes of all kinds: outside, gigantic, not finite; the latter give NaN."""
    count = rng.integers(1, 20)
    boxes = rng.uniform(-20, 60, (count, 4)).astype("float32")
    odd = rng.random(boxes.shape) < 0.05
    boxes[odd] = rng.choice([np.nan, np.inf, -np.inf, 3e38, 1e9], odd.sum())
    features = rng.uniform(size=(rng.integers(1, 4), 24, 32, 5)).astype("float32")
    box_indices = rng.integers(0, len(features), count, "int32")
    arrays = {"features": features, "boxes": boxes, "box_indices": box_indices}
    expected = tf_roialign.roi_align(**arrays, output_size=3).numpy()
    return Good(ROI_ALIGN, arrays, expected, {"rtol": 0, "atol": 0})
