"""The anchors of all levels."""

import numpy as np


def make_anchors(settings):
    """Returns `[A, 4]`, level by level, then by row, column and ratio: as the head's outputs."""
    levels = []
    for stride in settings.strides:
        cells = (np.arange(settings.image_size // stride) + 0.5) * stride
        y, x = np.meshgrid(cells, cells, indexing="ij")
        # ratio = height / width, at the same area.
        ratios = np.sqrt(settings.anchor_ratios)
        half_width = settings.anchor_size * stride / ratios / 2
        half_height = settings.anchor_size * stride * ratios / 2
        x, y = x[:, :, None], y[:, :, None]
        corners = [x - half_width, y - half_height, x + half_width, y + half_height]
        levels.append(np.stack(corners, axis=-1).reshape(-1, 4))
    return np.concatenate(levels).astype(np.float32)
