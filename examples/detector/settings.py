"""What the parts of the detector have to agree on."""

import dataclasses

CLASSES = ("circle", "rectangle", "triangle")


@dataclasses.dataclass(frozen=True)
class Settings:
    """Sizes and thresholds; the defaults are for scenes of 128 pixels."""

    image_size: int = 128
    max_objects: int = 5

    # The pyramid: P2 to P5, as in the paper. Boxes are small here, and so is the size of the box
    # that is pooled out of P4 (224 in the paper).
    strides: tuple[int, ...] = (4, 8, 16, 32)
    channels: int = 64
    canonical_scale: float = 64.0
    canonical_level: int = 4

    # Anchors: squares of 4 strides, stretched. Proposals, before and after NMS.
    anchor_size: float = 4.0
    anchor_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    candidates: int = 192
    proposals: int = 48
    proposal_iou: float = 0.7

    # Training: of each image so many anchors and boxes count, and of the boxes so many at most
    # are on objects. Only these have a mask.
    sampled_anchors: int = 64
    sampled_boxes: int = 32
    sampled_objects: int = 8

    # Heads.
    box_bins: int = 7
    mask_bins: int = 14
    sampling_ratio: int = 2

    # Detections.
    detections: int = 16
    min_score: float = 0.05
    detection_iou: float = 0.5

    @property
    def levels(self):
        """The numbers of the pyramid's levels, as in P2."""
        return tuple(range(2, 2 + len(self.strides)))

    @property
    def num_anchors(self):
        """Anchors of an image, on all levels."""
        cells = sum((self.image_size // stride) ** 2 for stride in self.strides)
        return cells * len(self.anchor_ratios)
