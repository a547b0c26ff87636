"""What is computed: a feature map, boxes and the attributes of one RoIAlign.

W1..W4 are stored beside this file; `serving` makes the small ones. The values of the maps
are drawn from seeds, so that a file holds boxes and little else.
"""

import dataclasses
import functools
import pathlib

import numpy as np

_HERE = pathlib.Path(__file__).parent
STORED = ("W1", "W2", "W3", "W4")
SERVING = ("S1", "S20")


@dataclasses.dataclass(frozen=True)
class Workload:
    """One RoIAlign.

    `rois` is `[K, 5]` float32, (image, x1, y1, x2, y2) in image pixels, ordered by image.
    `input_shape` is (N, C, H, W), whatever the layout that it is run in. With `maps` above 1
    there are so many maps like it, which the boxes read in turn.
    """

    rois: np.ndarray
    input_shape: tuple
    spatial_scale: float
    output_size: tuple
    sampling_ratio: int
    aligned: bool
    feature_seed: int
    grad_seed: int
    maps: int = 1

    @property
    def images(self):
        return self.rois[:, 0].astype(np.int32)

    @property
    def boxes_per_image(self):
        return np.bincount(self.images, minlength=self.input_shape[0])

    @property
    def output_shape(self):
        return (len(self.rois), self.input_shape[1], *self.output_size)

    def features(self, layout):
        return _in_layout(_draw(self.feature_seed, self.input_shape), layout)

    def upstream(self, layout):
        """The gradient that comes to the output."""
        return _in_layout(_draw(self.grad_seed, self.output_shape), layout)

    def save(self, path):
        np.savez(path, **dataclasses.asdict(self))


@functools.lru_cache(maxsize=1)  # a map is asked for in several layouts in a row
def _draw(seed, shape):
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def _in_layout(array, layout):
    return np.ascontiguousarray(array.transpose(0, 2, 3, 1)) if layout == "NHWC" else array


def load(path):
    with np.load(path) as stored:
        return Workload(
            rois=stored["rois"],
            input_shape=tuple(int(n) for n in stored["input_shape"]),
            spatial_scale=float(stored["spatial_scale"]),
            output_size=tuple(int(n) for n in stored["output_size"]),
            sampling_ratio=int(stored["sampling_ratio"]),
            aligned=bool(stored["aligned"]),
            feature_seed=int(stored["feature_seed"]),
            grad_seed=int(stored["grad_seed"]),
            maps=int(stored["maps"]) if "maps" in stored else 1,
        )


def random_boxes(rng, count, low, high, image_size, images=1):
    """Boxes `[count, 5]` with sides from `low` to `high`, inside the image."""
    height, width = image_size
    side = rng.uniform(low, high, (count, 2)).clip(max=[width, height])
    corner = rng.uniform(0, 1, (count, 2)) * ([width, height] - side)
    image = np.sort(np.arange(count) % images)
    return np.column_stack([image, corner, corner + side]).astype(np.float32)


def serving(boxes):
    """Batch 1, `boxes` boxes: W1's map and attributes as a server meets them."""
    rng = np.random.default_rng(3000 + boxes)
    return Workload(
        rois=random_boxes(rng, boxes, 16, 128, (800, 1088)),
        input_shape=(1, 256, 200, 272),
        spatial_scale=0.25,
        output_size=(7, 7),
        sampling_ratio=2,
        aligned=True,
        feature_seed=3101,
        grad_seed=3201,
    )


def by_name(name):
    if name in SERVING:
        return serving(int(name[1:]))
    return load(_HERE / f"{name}.npz")
