"""Data sets as of detectors, right and with one mistake each; prints what check_boxes says.

.venv/bin/python tests/box_mistakes.py [NUMBER OF DATA SETS]
"""

import collections
import dataclasses
import functools
import sys

import cases
import numpy as np
import tensorflow as tf

import tf_roialign

IMAGE_SIZES = ((480, 640), (800, 1088), (1333, 800), (375, 500), (512, 512), (1024, 1024))
STRIDES = (4, 8, 16, 32)
CHANNELS = (16, 64, 256)


@dataclasses.dataclass
class DataSet:
    """A batch: what `roi_align` takes, and the size of the images."""

    height: int
    width: int
    stride: int
    channels: int
    images: int
    boxes: np.ndarray  # [K, 4]
    indices: np.ndarray  # [K]
    data_format: str

    @property
    def image_size(self):
        return self.height, self.width

    @functools.cached_property
    def features(self):
        """Values do not matter."""
        size = [-(-self.height // self.stride), -(-self.width // self.stride)]
        shape = {
            "NHWC": [self.images, *size, self.channels],
            "NCHW": [self.images, self.channels, *size],
        }
        return tf.zeros(shape[self.data_format], tf.int8)

    def findings(self, form="box_indices", **changes):
        boxes = changes.pop("boxes", self.boxes)
        arguments = cases.in_form(form, boxes, self.indices, self.images)
        settings = {"spatial_scale": 1 / self.stride, "data_format": self.data_format, **changes}
        return tf_roialign.check_boxes(self.features, **arguments, **settings)


def random_data_set(rng, *, most=300, form="box_indices", dtype="float32"):
    """Boxes as people and detectors draw them, all of them in their images or nearly so."""
    height, width = IMAGE_SIZES[rng.integers(len(IMAGE_SIZES))]
    images = int(rng.integers(1, 5))
    sizes = np.full([images, 2], [width, height], np.float64)
    if rng.random() < 0.3:  # smaller images, padded
        sizes *= rng.uniform(0.5, 1, [images, 2])
    count = int(np.exp(rng.uniform(0, np.log(most + 1))))
    boxes = [
        random_image(rng, rng.choice(list(PLACES)), count if form == "dense" else n, size)
        for n, size in zip(rng.multinomial(count, np.ones(images) / images), sizes, strict=True)
    ]
    lengths = [len(b) for b in boxes]
    return DataSet(
        height=height,
        width=width,
        stride=int(rng.choice(STRIDES)),
        channels=int(rng.choice(CHANNELS)),
        images=images,
        boxes=np.concatenate(boxes).astype(dtype),
        indices=np.repeat(np.arange(images), lengths),
        data_format=str(rng.choice(cases.LAYOUTS)),
    )


# Centres in parts of the image.
PLACES = {
    "anywhere": lambda rng, count: rng.uniform(0, 1, [count, 2]),
    "middle": lambda rng, count: rng.normal(0.5, 0.15, [count, 2]).clip(0.02, 0.98),
    "crowd": lambda rng, count: (rng.uniform(0, 1, 2) + rng.normal(0, 0.1, [count, 2])).clip(
        0.02, 0.98
    ),
    "border": lambda rng, count: np.where(
        rng.random([count, 2]) < 0.5, rng.uniform(0, 1, [count, 2]), rng.integers(0, 2, [count, 2])
    ),
}


def random_image(rng, place, count, size):
    """[count, 4] boxes in an image of (width, height)."""
    centres = PLACES[place](rng, count)
    # From an eighth of a percent to all of the image.
    sides = np.exp(rng.uniform(np.log(0.03), 0, [count, 1]) + rng.normal(0, 0.4, [count, 2]))
    low, high = centres - sides / 2, centres + sides / 2
    if rng.random() < 0.6:
        low, high = low.clip(0, 1), high.clip(0, 1)
    else:  # clipped to a little outside
        low, high = low.clip(-0.04, 1), high.clip(0, 1.04)
    boxes = np.concatenate([low, high], axis=1) * np.tile(size, 2)
    if rng.random() < 0.3:
        boxes = np.round(boxes)
    is_box = (boxes[:, 2:] - boxes[:, :2] >= 1).all(axis=1)
    return np.where(is_box[:, None], boxes, np.array([0.2, 0.3, 0.7, 0.8]) * np.tile(size, 2))


def as_xywh(boxes):
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)


def as_cxcywh(boxes):
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    return np.concatenate([middle, boxes[:, 2:] - boxes[:, :2]], axis=1)


def as_normalised(data):
    return data.boxes / np.array([data.width, data.height] * 2, np.float32)


# What is given instead of the right arguments, by the code that should be found.
MISTAKES = {
    "yxyx": lambda data: {"boxes": data.boxes[:, [1, 0, 3, 2]]},
    "xywh": lambda data: {"boxes": as_xywh(data.boxes)},
    "cxcywh": lambda data: {"boxes": as_cxcywh(data.boxes)},
    "normalised": lambda data: {"boxes": as_normalised(data)},
    "feature_pixels": lambda data: {"boxes": data.boxes / data.stride},
    "spatial_scale": lambda data: {"spatial_scale": 1.0},
    "data_format": lambda data: {
        "data_format": "NCHW" if data.data_format == "NHWC" else "NHWC",
    },
}
# The same with `image_size`, where that makes a difference.
MISTAKES_WITH_IMAGE_SIZE = {
    "spatial_scale": lambda data: {"spatial_scale": 1.0, "image_size": data.image_size},
    "data_format": lambda data: {
        **MISTAKES["data_format"](data),
        "image_size": data.image_size,
    },
    "image_size": lambda data: {"image_size": data.image_size[::-1]},
}
COUNTS = ((1, 1), (2, 4), (5, 19), (20, 1200))


def any_data_set(rng):
    """As random_data_set, for maps of any shape: more ways to raise a false alarm."""
    data = random_data_set(rng)
    height, width = np.exp(rng.uniform(np.log(64), np.log(2048), 2)).astype(int)
    scale = np.array([width / data.width, height / data.height] * 2, np.float32)
    channels = int(rng.choice([1, 3, 8, 32, 64, 128, 256, 512]))
    return dataclasses.replace(
        data, height=height, width=width, channels=channels, boxes=data.boxes * scale
    )


def count_alarms(rng, make, number):
    """What is found in right data, of every form: all of it false alarms."""
    alarms = []
    for i in range(number):
        form = cases.FORMS[i % 5]
        data = make(rng, form=form) if make is random_data_set else make(rng)
        form = "ragged" if form == "dense" and make is any_data_set else form
        size = {"image_size": data.image_size} if i % 2 else {}
        for finding in data.findings(form, **size):
            alarms.append((data, str(finding)))
    return alarms


def print_rates(rng, number):
    """For each mistake, how often it is named, and how often another one is, by box counts."""
    seen, named, other = collections.Counter(), collections.Counter(), collections.Counter()
    tables = {"": MISTAKES, ", with image_size": MISTAKES_WITH_IMAGE_SIZE}
    for _ in range(number):
        data = random_data_set(rng)
        bucket = next((b for b in COUNTS if b[0] <= len(data.boxes) <= b[1]), None)
        if bucket is None:
            continue
        for name, mistakes in tables.items():
            for code, mistake in mistakes.items():
                findings = data.findings(**mistake(data))
                # Where both fit, it says "(x, y, width, height) or (center x, ...".
                is_named = any(f.code == code for f in findings) or (
                    code == "cxcywh" and any("center" in f.message for f in findings)
                )
                key = code + name, data.height == data.width, bucket
                seen[key] += 1
                named[key] += is_named
                guesses = {f.code for f in findings} - {"outside", "reversed"}
                other[key] += not is_named and bool(guesses)
    for name, is_square in dict.fromkeys(key[:2] for key in seen):
        row = [f"{name}{', square images' if is_square else ''}"]
        for bucket in COUNTS:
            key = name, is_square, bucket
            row.append(f"{named[key] / seen[key]:.0%} ({other[key] / seen[key]:.0%})")
        print("| " + " | ".join(row) + " |")


def share_of_zeros(data, sampling_ratio, changes):
    """Of what is pooled of features that have none."""
    settings = {"spatial_scale": 1 / data.stride, "data_format": data.data_format, **changes}
    pooled = tf_roialign.roi_align(
        tf.ones_like(data.features, tf.float32),
        settings.pop("boxes", data.boxes),
        output_size=7,
        sampling_ratio=sampling_ratio,
        aligned=True,
        box_indices=data.indices % tf.shape(data.features)[0],
        **settings,
    )
    return np.mean(pooled == 0)


def print_zeros(rng, number):
    """For right boxes and each mistake, how much of the output is zero, in percent."""
    shares = collections.defaultdict(list)
    mistakes = {"right": lambda data: {}, **MISTAKES}
    seen = 0
    while seen < number:
        data = random_data_set(rng)
        if data.stride < 8 or len(data.boxes) < 20:
            continue
        seen += 1
        for code, mistake in mistakes.items():
            # But for the layout, one channel is like another.
            each = data if code == "data_format" else dataclasses.replace(data, channels=1)
            for ratio in (2, -1):
                shares[code, ratio].append(share_of_zeros(each, ratio, mistake(each)))
    for code in mistakes:
        print(f"| {code} | {np.mean(shares[code, 2]):.0%} | {np.mean(shares[code, -1]):.0%} |")


def main(number):
    rng = np.random.default_rng(0)
    for make in (random_data_set, any_data_set):
        alarms = count_alarms(rng, make, number)
        print(f"{make.__name__}: {len(alarms)} false alarms in {number} data sets")
        for data, text in alarms:
            print(f"    {len(data.boxes)} boxes, {data.features.shape}: {text}")
    print("named (another one named) for 1, 2 to 4, 5 to 19, 20 to 300 boxes:")
    print_rates(rng, number)
    print("zeros with two samples a bin and axis, and with as many as fit:")
    print_zeros(np.random.default_rng(0), min(number, 300))


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 1000)
