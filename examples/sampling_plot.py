"""Draws what RoIAlign and crop_and_resize read of a photograph, and what comes out."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

ALIGN_STYLE = {"marker": "o", "color": "#00d5ff", "markeredgecolor": "black", "linestyle": ""}
CROP_STYLE = {"marker": "X", "color": "#ffd500", "markeredgecolor": "black", "linestyle": ""}
CLOSE_UP_BINS = 4
TITLES = [
    "samples, close up",
    "photo, bin means",
    "roi_align",
    "crop_and_resize",
    "|difference|",
]
# A dark rim makes white lines visible on white.
RIM = [withStroke(linewidth=2.5, foreground="#404040")]


def draw(path, photograph, objects, expected, aligned, cropped, stride, sampling_ratio):
    """Writes the picture: the photograph with the boxes, and a row of panels per box.

    Args:
      path: Of the PNG.
      photograph: `[H, W, 3]`, values in [0, 1].
      objects: Boxes (x1, y1, x2, y2) in pixels by name.
      expected: `[K, P, P, 3]`, the mean colour of the photograph in each bin.
      aligned: Likewise, what `roi_align(aligned=True)` made of the colours.
      cropped: Likewise, what `crop_and_resize` made of them.
      stride: Pixels of the photograph per feature pixel.
      sampling_ratio: Samples per bin and axis of `roi_align`.
    """
    bins = aligned.shape[1]
    align_points = [align_samples(box, bins, sampling_ratio) for box in objects.values()]
    crop_points = [
        crop_samples(box, bins, photograph.shape[:2], stride) for box in objects.values()
    ]
    differences = np.abs(aligned - cropped).mean(axis=-1)

    figure = Figure(figsize=(16, 6.45), dpi=100, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.03, h_pad=0.03, wspace=0.02, hspace=0.0)
    left, right = figure.subfigures(1, 2, width_ratios=[1, 1.8])
    _draw_overview(left.subplots(), photograph, objects, align_points, bins)

    panels = right.subplots(len(objects), len(TITLES))
    for axes, title in zip(panels[0], TITLES, strict=True):
        axes.set_title(title, fontsize=12)
    for k, box in enumerate(objects.values()):
        close_up, *crops, difference = panels[k]
        _draw_close_up(close_up, photograph, box, align_points[k], crop_points[k], bins)
        for axes, crop in zip(crops, (expected[k], aligned[k], cropped[k]), strict=True):
            axes.imshow(crop.clip(0, 1))
        heat = difference.imshow(differences[k], cmap="magma", vmin=0, vmax=differences.max())
    for axes in panels.flat:
        axes.set(xticks=[], yticks=[])
        axes.set_box_aspect(1)
    right.colorbar(heat, ax=panels[:, -1], aspect=50, pad=0.04)
    left.legend(
        *panels[0, 0].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=2,
        fontsize=12,
        frameon=False,
        handletextpad=0.1,
    )
    figure.savefig(path, pil_kwargs={"optimize": True})


def align_samples(box, bins, sampling_ratio):
    """Where `roi_align(aligned=True)` samples: (x, y) of each, in pixels of the photograph."""
    x1, y1, x2, y2 = box
    steps = (np.arange(bins * sampling_ratio) + 0.5) / (bins * sampling_ratio)
    return _grid(x1 + steps * (x2 - x1), y1 + steps * (y2 - y1))


def crop_samples(box, bins, shape, stride):
    """Where `crop_and_resize` samples for boxes divided by the photograph's size."""
    steps = np.arange(bins) / (bins - 1)
    axes = []
    for c1, c2, size in [(box[0], box[2], shape[1]), (box[1], box[3], shape[0])]:
        feature = (c1 + steps * (c2 - c1)) / size * (size / stride - 1)
        # Feature i is the mean of the pixels from i*stride to (i+1)*stride.
        axes.append((feature + 0.5) * stride)
    return _grid(*axes)


def _grid(x, y):
    return [points.ravel() for points in np.meshgrid(x, y)]


def _show_photograph(axes, photograph, **kwargs):
    height, width, _ = photograph.shape
    axes.imshow(photograph, extent=(0, width, height, 0), **kwargs)


def _draw_overview(axes, photograph, objects, align_points, bins):
    _show_photograph(axes, photograph)
    for (name, box), points in zip(objects.items(), align_points, strict=True):
        _draw_bins(axes, box, bins, linewidth=0.3)
        # Points of a small box are close to each other.
        axes.plot(*points, **ALIGN_STYLE, markersize=(box[2] - box[0]) / 85, markeredgewidth=0)
        axes.add_patch(
            Rectangle(*_close_up_corner(box, bins), fill=False, edgecolor="#ffd500", linewidth=2)
        )
        axes.text(
            box[0],
            box[1] - 2 if box[1] > 15 else 2,
            name,
            fontsize=12,
            verticalalignment="bottom" if box[1] > 15 else "top",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 2},
        )
    axes.set_title(f"boxes of any size, each cut into {bins} × {bins} bins", fontsize=12)
    axes.set_axis_off()


def _close_up_corner(box, bins):
    """The last bins of a box: its ((x, y), width, height)."""
    x1, y1, x2, y2 = box
    width, height = CLOSE_UP_BINS * (x2 - x1) / bins, CLOSE_UP_BINS * (y2 - y1) / bins
    return (x2 - width, y2 - height), width, height


def _draw_close_up(axes, photograph, box, align_points, crop_points, bins):
    _show_photograph(axes, photograph, interpolation="bilinear")
    _draw_bins(axes, box, bins, linewidth=1.2, path_effects=RIM)
    axes.plot(*align_points, **ALIGN_STYLE, markersize=5, label="samples of roi_align")
    axes.plot(*crop_points, **CROP_STYLE, markersize=8, label="samples of crop_and_resize")
    (x, y), width, height = _close_up_corner(box, bins)
    axes.set_xlim(x, x + 1.08 * width)
    axes.set_ylim(y + 1.08 * height, y)
    axes.set_aspect("auto")


def _draw_bins(axes, box, bins, **line_style):
    x1, y1, x2, y2 = box
    axes.vlines(np.linspace(x1, x2, bins + 1), y1, y2, color="white", **line_style)
    axes.hlines(np.linspace(y1, y2, bins + 1), x1, x2, color="white", **line_style)
    line_style["linewidth"] = 2
    axes.add_patch(
        Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor="white", **line_style)
    )
