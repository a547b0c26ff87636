"""P7 and P14: boxes on a pyramid, P2 to P5 of two images of 800x1088 pixels.

P7 is a box head's, 1000 boxes of 16 to 600 pixels to 7x7; P14 a mask head's, 200 boxes to 14x14.
"""

import dataclasses

import numpy as np

IMAGE_SIZE = (800, 1088)
STRIDES = (4, 8, 16, 32)
IMAGES, CHANNELS = 2, 256
CANONICAL_SCALE, CANONICAL_LEVEL = 224, 4


@dataclasses.dataclass(frozen=True)
class Pyramid:
    boxes: np.ndarray  # [K, 4] float32, as many of each octave of sizes
    images: np.ndarray  # [K] int32
    output_size: int
    sampling_ratio: int = 2
    aligned: bool = True

    @property
    def scales(self):
        return [1 / stride for stride in STRIDES]

    @property
    def levels(self):
        sides = (self.boxes[:, 2:] - self.boxes[:, :2]).astype(np.float32)
        size = np.sqrt(sides[:, 0] * sides[:, 1]) / np.float32(CANONICAL_SCALE)
        level = np.floor(CANONICAL_LEVEL + np.log2(size) + np.float32(1e-6))
        return np.clip(level - 2, 0, len(STRIDES) - 1).astype(np.int32)

    def features(self):
        """The maps, `[N, H, W, C]`."""
        rng = np.random.default_rng(4001)
        sizes = [[-(-side // stride) for side in IMAGE_SIZE] for stride in STRIDES]
        return [
            rng.standard_normal((IMAGES, height, width, CHANNELS), np.float32)
            for height, width in sizes
        ]

    def upstream(self):
        shape = (len(self.boxes), self.output_size, self.output_size, CHANNELS)
        return np.random.default_rng(4002).standard_normal(shape, np.float32)


def by_name(name):
    count, output_size = {"P7": (1000, 7), "P14": (200, 14)}[name]
    rng = np.random.default_rng(4000 + output_size)
    height, width = IMAGE_SIZE
    sides = 2 ** rng.uniform(np.log2(16), np.log2(600), (count, 2))
    corners = rng.uniform(0, 1, (count, 2)) * ([width, height] - sides)
    boxes = np.concatenate([corners, corners + sides], 1).astype(np.float32)
    return Pyramid(boxes, np.sort(np.arange(count) % IMAGES).astype(np.int32), output_size)
