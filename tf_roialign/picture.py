"""The figure that `tf_roialign.draw` returns. Importing this wants matplotlib."""

import io
import math

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

# Beyond these, dots and numbers would cover everything and tell nothing.
_MANY_SAMPLES = 20_000
_MANY_NUMBERS = 49
_MANY_PIXELS = 64  # along an axis

# In inches. As wide as the title needs; what is beside the panels, above and below is about this.
_WIDTH = 12
_BESIDE, _ABOVE_AND_BELOW = 1.8, 1.4
_HEIGHTS = 2.0, 4.5  # of the panels

# A dark rim makes light lines visible on light pixels.
_RIM = [withStroke(linewidth=2.5, foreground="#303030")]
_BOX = {"edgecolor": "#ffd500", "linewidth": 2, "linestyle": "--", "fill": False, "zorder": 3}
_BIN = {"edgecolor": "#ff5a36", "linewidth": 2, "fill": False, "zorder": 4}
_SAMPLE = {"linestyle": "", "markeredgecolor": "black", "zorder": 5}
_BACKGROUND = "#c8c8c8"  # where there is no image
_WEIGHTS = "YlGn"


class Picture(Figure):
    """A figure that a notebook shows whether or not pyplot has been imported."""

    def _repr_png_(self):
        buffer = io.BytesIO()
        self.savefig(buffer, format="png")
        return buffer.getvalue()


def draw(reading) -> Picture:
    """Draws a `drawing.Reading`.

    What is drawn has labels, by which it can be found: "box", "bins", "bin", "sample", "sample,
    clamped", "sample, outside", "weights" and "pooled".
    """
    figure = Picture(figsize=(_WIDTH, 4.5), dpi=100, layout="constrained")
    overview, close_up, pooled = figure.subplots(1, 3)
    figure.suptitle(_call_text(reading), family="monospace", fontsize=10)
    _draw_overview(overview, reading)
    _draw_close_up(close_up, reading)
    _draw_pooled(pooled, reading)
    _fit(figure, (overview, close_up, pooled))
    _draw_samples(overview, _samples(reading), _size_in_overview(reading, overview))
    handles = {}
    for axes in (overview, close_up):
        found, labels = axes.get_legend_handles_labels()
        handles.update(zip(labels, found, strict=True))
    figure.legend(
        handles.values(),
        handles,
        loc="outside lower center",
        ncols=len(handles),
        facecolor=_BACKGROUND,
    )
    return figure


def _fit(figure, panels):
    """Makes panels as wide as what they show, and the figure as high as they are."""
    spans = [[abs(np.subtract(*limits)) for limits in (p.get_xlim(), p.get_ylim())] for p in panels]
    # What is much longer than it is wide, or the other way, would leave the others no place.
    ratios = [np.clip(width / height, 0.5, 2) for width, height in spans]
    panels[0].get_gridspec().set_width_ratios(ratios)
    height = np.clip((_WIDTH - _BESIDE) / sum(ratios), *_HEIGHTS)
    figure.set_figheight(height + _ABOVE_AND_BELOW)


def _call_text(reading):
    """The call as one would write it."""
    box = ", ".join(f"{coordinate:g}" for coordinate in reading.box)
    arguments = {**reading.attributes}
    if arguments["mode"] == "avg":
        del arguments["mode"]
    text = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
    return f"roi_align(features, [[{box}]], {text})"


def _draw_overview(axes, reading):
    """The whole image, with the box and all bins."""
    axes.set_facecolor(_BACKGROUND)
    extent = (0, reading.image.shape[1], reading.image.shape[0], 0)
    _show_colours(axes, reading.image, extent=extent)
    _draw_weights(axes, reading)
    _draw_bins(axes, reading, linewidth=0.7)
    height, width = reading.pooled.shape[:2]
    grid = f"{reading.axes[0].grid} × {reading.axes[1].grid}"
    axes.set_title(f"{height} × {width} bins of {grid} samples", fontsize=11)

    # All of it, but for what is further away than the image is large.
    limits = []
    for axis, first, last in ((1, *reading.box[0::2]), (0, *reading.box[1::2])):
        end, edges = reading.image.shape[axis], reading.edges(axis)
        places = [0, end, *np.clip([first, last, edges[0], edges[-1]], -end, 2 * end)]
        limits.append((min(places) - 0.02 * end, max(places) + 0.02 * end))
    axes.set(xlim=limits[0], ylim=limits[1][::-1])


def _draw_close_up(axes, reading):
    """One bin: the feature pixels that it reads, their weights, and its samples."""
    axes.set_facecolor(_BACKGROUND)
    height, width = reading.map_size
    left, top, right, bottom = _window(reading)
    shown = reading.features[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
    if shown.size:
        extent = _extent(reading, max(left, 0), max(top, 0), min(right, width), min(bottom, height))
        _show_features(axes, reading, shown, extent=extent)
    _draw_weights(axes, reading, with_numbers=True)
    _draw_pixels(axes, reading, (left, top, right, bottom))
    _draw_bins(axes, reading, linewidth=1.5)
    if reading.samples_per_bin <= _MANY_SAMPLES:
        size = np.clip(30 / np.sqrt(1 + reading.samples_per_bin), 2, 7)
        _draw_samples(axes, reading.samples(reading.bin), size)
    x1, x2, y2, y1 = _extent(reading, left, top, right, bottom)
    axes.set(xlim=(x1, x2), ylim=(y2, y1), aspect="equal")
    row, column = reading.bin
    axes.set_title(
        f"bin ({row}, {column}): weights of feature pixels, sum {reading.weights.sum():.3g}",
        fontsize=11,
    )


def _draw_pooled(axes, reading):
    """What comes out."""
    _show_features(axes, reading, reading.pooled, label="pooled")
    row, column = reading.bin
    axes.add_patch(
        Rectangle((column - 0.5, row - 0.5), 1, 1, label="bin", path_effects=_RIM, **_BIN)
    )
    axes.set_title("pooled", fontsize=11)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.yaxis.get_major_locator().set_params(integer=True)


def _show_colours(axes, pixels, **how):
    """An image of one channel or three, in [0, 1]."""
    if pixels.shape[2] == 1:
        pixels, how = pixels[..., 0], {"cmap": "gray", "vmin": 0, "vmax": 1, **how}
    axes.imshow(pixels.clip(0, 1), **how)


def _show_features(axes, reading, pixels, **how):
    """Features, or what is pooled of them: colours, or else the mean of the channels."""
    how["interpolation"] = "nearest"
    if reading.are_colours:
        _show_colours(axes, pixels, **how)
        return
    # The same colours in all panels.
    norm = Normalize()
    norm.autoscale(np.ma.masked_invalid(reading.features.mean(axis=-1)))
    axes.imshow(pixels.mean(axis=-1), cmap="gray", norm=norm, **how)


def _draw_weights(axes, reading, with_numbers=False):
    """The weights of the bin over the feature pixels that have one."""
    rows, columns = np.nonzero(reading.weights)
    if not len(rows):
        return
    top, left, bottom, right = rows.min(), columns.min(), rows.max() + 1, columns.max() + 1
    weights = reading.weights[top:bottom, left:right]
    axes.imshow(
        np.ma.masked_equal(weights, 0),
        cmap=_WEIGHTS,
        vmin=0,
        vmax=weights.max(),
        alpha=0.75,
        extent=_extent(reading, left, top, right, bottom),
        interpolation="nearest",
        label="weights",
    )
    if with_numbers and len(rows) <= _MANY_NUMBERS:
        for row, column in zip(rows, columns, strict=True):
            axes.text(
                reading.in_image(1, column),
                reading.in_image(0, row - 0.3),
                f"{reading.weights[row, column]:.2g}",
                fontsize=8,
                horizontalalignment="center",
                verticalalignment="center",
                clip_on=True,
                zorder=6,
                path_effects=[withStroke(linewidth=2, foreground="white")],
            )


def _draw_pixels(axes, reading, window):
    """The borders of the feature pixels of a window that are on the map."""
    left, top, right, bottom = window
    if max(right - left, bottom - top) > _MANY_PIXELS:
        return
    height, width = reading.map_size
    left, right = np.clip([left, right], 0, width)
    top, bottom = np.clip([top, bottom], 0, height)
    if left == right or top == bottom:
        return
    x1, x2, y2, y1 = _extent(reading, left, top, right, bottom)
    x = reading.in_image(1, np.arange(left, right + 1) - 0.5)
    y = reading.in_image(0, np.arange(top, bottom + 1) - 0.5)
    _draw_grid(axes, x, y, (x1, x2), (y1, y2), colors="#ffffff60", linewidths=0.5)


def _draw_bins(axes, reading, linewidth):
    """The box as it was given, the bins that are made of it, and the one that is looked at."""
    x1, y1, x2, y2 = reading.box
    axes.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, label="box", path_effects=_RIM, **_BOX))
    x, y = reading.edges(1), reading.edges(0)
    _draw_grid(
        axes, x, y, x[[0, -1]], y[[0, -1]], colors="white", linewidths=linewidth, label="bins"
    )
    row, column = reading.bin
    axes.add_patch(
        Rectangle(
            (x[column], y[row]),
            x[column + 1] - x[column],
            y[row + 1] - y[row],
            label="bin",
            path_effects=_RIM,
            **_BIN,
        )
    )


def _draw_grid(axes, x, y, x_ends, y_ends, **how):
    """Lines at all x and y, from one end to the other."""
    lines = [[(each, y_ends[0]), (each, y_ends[1])] for each in x]
    lines += [[(x_ends[0], each), (x_ends[1], each)] for each in y]
    axes.add_collection(LineCollection(lines, **how), autolim=False)


def _samples(reading):
    """All samples, or those of the bin, or none, as there are few or many."""
    bins = reading.pooled.shape[0] * reading.pooled.shape[1]
    if reading.samples_per_bin * bins <= _MANY_SAMPLES:
        return reading.samples()
    if reading.samples_per_bin <= _MANY_SAMPLES:
        return reading.samples(reading.bin)
    return [np.empty(0)] * 4


def _size_in_overview(reading, axes):
    """Of dots that leave free half of what is between them, in points."""
    inches = axes.figure.get_figheight() - _ABOVE_AND_BELOW
    points = 72 * inches / max(reading.image.shape[:2])  # of an image pixel
    distances = [
        abs(reading.edges(axis)[1] - reading.edges(axis)[0]) / max(reading.axes[axis].grid, 1)
        for axis in (0, 1)
    ]
    return np.clip(0.5 * points * min(distances), 0.8, 5)


def _draw_samples(axes, samples, size):
    x, y, x_read, y_read = samples
    is_outside = np.isnan(x_read)
    is_clamped = ~is_outside & ((x != x_read) | (y != y_read))
    lines = np.stack([x, y, x_read, y_read], axis=-1)[is_clamped].reshape(-1, 2, 2)
    if len(lines):
        axes.add_collection(LineCollection(lines, colors="#ff9f1c", linewidths=1), autolim=False)
    for label, which, style in (
        ("sample", ~is_outside & ~is_clamped, {"marker": "o", "color": "#00d5ff"}),
        ("sample, clamped", is_clamped, {"marker": "o", "color": "#ff9f1c"}),
        ("sample, outside", is_outside, {"marker": "X", "color": "#d00000"}),
    ):
        if which.any():
            axes.plot(
                x[which],
                y[which],
                label=label,
                markersize=size,
                markeredgewidth=size / 12,
                scalex=False,
                scaley=False,
                **_SAMPLE,
                **style,
            )


def _window(reading):
    """The feature pixels to show of a bin: (left, top, right, bottom)."""
    window = []
    for axis, read in enumerate(np.nonzero(reading.weights)):
        place, length = reading.bin[axis], reading.map_size[axis]
        edges = reading.axes[axis].edges[place : place + 2] + 0.5
        if len(read):  # a bin that is near the map may be larger than it
            edges = np.clip([*edges, read.min(), read.max() + 1], -length, 2 * length)
        window.append((math.floor(min(edges)) - 1, math.ceil(max(edges)) + 1))
    # About square in the image, to fill the panel.
    side = max((end - begin) / s for (begin, end), s in zip(window, reading.scale, strict=True))
    for axis, scale in enumerate(reading.scale):
        begin, end = window[axis]
        more = int(side * scale - (end - begin)) // 2
        window[axis] = begin - more, end + more
    (top, bottom), (left, right) = window
    return left, top, right, bottom


def _extent(reading, left, top, right, bottom):
    """Feature pixels from (left, top) to before (right, bottom), as imshow takes them."""
    return (
        *(reading.in_image(1, end - 0.5) for end in (left, right)),
        *(reading.in_image(0, end - 0.5) for end in (bottom, top)),
    )
