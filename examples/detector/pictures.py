"""Pictures of detections: contours of the masks, boxes, classes and scores."""

import matplotlib

matplotlib.use("Agg")

import numpy as np
from matplotlib import pyplot

from .evaluate import paste
from .settings import CLASSES

_COLOURS = ("#ff4d4d", "#4dff6a", "#4dc3ff")


def draw(scenes, found, columns=4, min_score=0.5):
    """Returns the picture as `[H, W, 3]`, uint8."""
    rows = -(-len(scenes) // columns)
    figure, axes = pyplot.subplots(
        rows, columns, figsize=(3 * columns, 3 * rows), dpi=90, squeeze=False
    )
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, scene, detections in zip(axes.flat, scenes, found, strict=False):
        axis.imshow(scene.image, extent=(0, scene.image.shape[1], scene.image.shape[0], 0))
        for box, score, label, mask in zip(
            *(detections[name] for name in ("boxes", "scores", "classes", "masks")), strict=True
        ):
            if score >= min_score:
                _draw_detection(axis, scene, box, score, int(label), mask)
    figure.tight_layout(pad=0.2)
    figure.canvas.draw()
    picture = np.asarray(figure.canvas.buffer_rgba())[..., :3].copy()
    pyplot.close(figure)
    return picture


def save(path, picture):
    """Writes a PNG."""
    pyplot.imsave(path, picture)


def _draw_detection(axis, scene, box, score, label, mask):
    x1, y1, x2, y2 = box
    colour = _COLOURS[label]
    axis.add_patch(
        pyplot.Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, color=colour, linewidth=1)
    )
    pasted = paste(mask, box, scene.owners.shape)
    pixels = np.arange(len(pasted)) + 0.5
    if pasted.max() > 0.5 > pasted.min():
        axis.contour(pixels, pixels, pasted, [0.5], colors=[colour], linewidths=1.5)
    axis.text(
        x1,
        y1 - 2,
        f"{CLASSES[label]} {score:.2f}",
        fontsize=7,
        color="black",
        bbox={"facecolor": colour, "edgecolor": "none", "pad": 0.8},
    )
