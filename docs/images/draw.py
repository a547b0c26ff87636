"""Draws the figures of docs/meaning.md, with what RoIAlign computes.

    make docs-images

writes them beside this file; `draw.py FOLDER` writes them elsewhere. A test holds the committed
ones against this.
"""

import pathlib
import sys

import matplotlib as mpl
import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

import tf_roialign

WIDTH = 5.0  # inches: legible where a phone makes it half as wide
BLUE, ORANGE, GREY = "#0a5ea8", "#d35400", "#8a8a8a"
STYLE = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}


def weights_of_bin(shape, box, output_size, sampling_ratio, place):
    """What each pixel of a map weighs in one bin: the gradient of the bin."""
    features = tf.Variable(tf.zeros([1, *shape, 1]))
    with tf.GradientTape() as tape:
        pooled = tf_roialign.roi_align(
            features, [[box]], output_size, 1.0, sampling_ratio, aligned=True
        )
        value = pooled[0, place[0], place[1], 0]
    return tape.gradient(value, features).numpy()[0, :, :, 0]


def sample_places(first, last, bins, ratio):
    """Where the samples of an axis are, in pixels of the map whose centres are at .5."""
    steps = (np.arange(bins * ratio) + 0.5) / (bins * ratio)
    return first + steps * (last - first)


def samples():
    """A box on a map: bins, samples, and what the pixels weigh in one bin."""
    shape, box, bins, ratio, place = (6, 8), (1.3, 0.9, 6.7, 4.5), (2, 3), 2, (1, 1)
    y, x = np.mgrid[: shape[0], : shape[1]]
    features = np.sin(x / 2.0) + np.cos(y / 1.5 + x / 4.0)
    figure = Figure(figsize=(WIDTH, 7.4), layout="constrained")
    above, below = figure.subplots(2)
    extent = (0, shape[1], shape[0], 0)
    above.imshow(features, extent=extent, cmap="Blues", alpha=0.6)
    weights = weights_of_bin(shape, box, bins, ratio, place)
    below.imshow(weights, extent=extent, cmap="Oranges", vmax=0.5)
    for row, column in np.argwhere(weights > 0):
        below.text(column + 0.5, row + 0.5, f"{weights[row, column]:.3f}", ha="center", va="center")
    x1, y1, x2, y2 = box
    width, height = (x2 - x1) / bins[1], (y2 - y1) / bins[0]
    for axes in (above, below):
        axes.set(xticks=range(shape[1] + 1), yticks=range(shape[0] + 1))
        axes.grid(color="white", linewidth=1)
        for row in range(bins[0]):
            for column in range(bins[1]):
                corner = (x1 + column * width, y1 + row * height)
                axes.add_patch(
                    Rectangle(corner, width, height, fill=False, edgecolor=BLUE, linewidth=1)
                )
        axes.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=BLUE, lw=2.5))
    points = np.meshgrid(
        sample_places(x1, x2, bins[1], ratio), sample_places(y1, y2, bins[0], ratio)
    )
    above.plot(*points, "o", color=ORANGE, markersize=4)
    in_bin = [axis[2:4, 2:4] for axis in points]
    below.plot(*in_bin, "o", color=ORANGE, markersize=4)
    above.set_title("2 × 3 bins of 2 × 2 samples")
    below.set_title("what each pixel weighs in the lower middle bin")
    return figure


def alignment():
    """A row of pixels that hold the place of their centre, pooled to two bins."""
    pixels, box, bins = 8, (2.0, 6.0), 2
    ramp = tf.reshape(tf.range(pixels, dtype=tf.float32) + 0.5, [1, 1, pixels, 1])
    figure = Figure(figsize=(WIDTH, 3.2), layout="constrained")
    for axes, aligned in zip(figure.subplots(2, sharex=True), (True, False), strict=True):
        pooled = tf_roialign.roi_align(
            ramp, [[[box[0], 0.0, box[1], 1.0]]], (1, bins), 1.0, 2, aligned=aligned
        )
        for pixel in range(pixels):
            axes.add_patch(Rectangle((pixel, 0), 1, 1, facecolor="#e8eef5", edgecolor="white"))
            axes.text(pixel + 0.5, 0.5, f"{pixel + 0.5:g}", ha="center", va="center", color=GREY)
        for edge in np.linspace(*box, bins + 1):
            axes.plot([edge, edge], [-0.2, 1.2], color=BLUE, linewidth=2)
        # A sample at the coordinate v reads pixel v, whose centre is at v + 0.5.
        places = sample_places(*box, bins, 2) + (0 if aligned else 0.5)
        axes.plot(places, np.full(len(places), 0.12), "o", color=ORANGE, markersize=5)
        values = pooled.numpy().ravel()
        for value, centre in zip(values, sample_places(*box, bins, 1), strict=True):
            axes.text(centre, 1.25, f"{value:g}", ha="center", va="bottom", weight="bold")
        axes.set(xlim=(0, pixels), ylim=(-0.25, 1.8), yticks=[], xticks=range(pixels + 1))
        axes.spines["left"].set_visible(False)
        axes.set_title(f"aligned={aligned}", loc="left")
    return figure


def sampling_ratio():
    """What the pixels of an axis weigh in a bin that is six of them long."""
    pixels, box = 10, (2.0, 0.0, 8.0, 1.0)
    figure = Figure(figsize=(WIDTH, 4.2), layout="constrained")
    names = {1: "sampling_ratio=1", 2: "sampling_ratio=2", -1: "adaptive: 6 samples"}
    for axes, (ratio, name) in zip(figure.subplots(3, sharex=True), names.items(), strict=True):
        weights = weights_of_bin((1, pixels), box, 1, ratio, (0, 0))[0]
        axes.bar(np.arange(pixels) + 0.5, weights, width=0.9, color=BLUE)
        places = sample_places(box[0], box[2], 1, ratio if ratio > 0 else 6)
        axes.plot(places, np.zeros(len(places)), "o", color=ORANGE, clip_on=False, zorder=3)
        axes.set(xlim=(0, pixels), ylim=(0, 0.55), xticks=range(pixels + 1), yticks=[0, 0.25, 0.5])
        axes.set_title(name, loc="left")
    axes.set_xlabel("pixels of the map; the bin is from 2 to 8")
    return figure


def border():
    """One sample on a map of ones, from outside on one side to outside on the other."""
    pixels = 6
    places = np.linspace(-2, pixels + 1, 601)
    zeros = np.zeros_like(places)
    # At least one pixel wide, so its one sample is in the middle.
    boxes = np.stack([places - 0.5, zeros, places + 0.5, zeros + 1], axis=1)
    pooled = tf_roialign.roi_align(tf.ones([1, 2, pixels, 1]), [boxes], 1, 1.0, 1)
    figure = Figure(figsize=(WIDTH, 1.9), layout="constrained")
    axes = figure.subplots()
    axes.axvspan(0, pixels - 1, color="#e8eef5")
    axes.plot(places, pooled.numpy().ravel(), color=BLUE)
    axes.set(xticks=range(-2, pixels + 2), yticks=[0, 1], ylim=(-0.1, 1.2))
    axes.set_xlabel("coordinate of the sample; pixels 0 to 5 are in the band")
    axes.set_ylabel("value")
    return figure


def levels():
    """Which map of a pyramid a square box reads: the maps hold their own level."""
    names = (2, 3, 4, 5)
    sides = np.geomspace(16, 1000, 400)
    boxes = np.stack([0 * sides, 0 * sides, sides, sides], axis=1).astype(np.float32)
    maps = [tf.fill([1, 1024 >> level, 1024 >> level, 1], float(level)) for level in names]
    pooled = tf_roialign.multiscale_roi_align(
        maps, [boxes], 1, [2.0**-level for level in names], 2, aligned=True
    )
    figure = Figure(figsize=(WIDTH, 2.4), layout="constrained")
    axes = figure.subplots()
    axes.plot(sides, pooled.numpy().ravel(), color=BLUE)
    axes.set_xscale("log", base=2)
    axes.set(yticks=names, yticklabels=[f"p{level}" for level in names])
    axes.set_xticks([16, 32, 56, 112, 224, 448, 896])
    axes.xaxis.set_major_formatter("{x:.0f}")
    axes.minorticks_off()
    axes.set_xlabel("side of a square box, pixels of the image")
    return figure


FIGURES = {
    "samples": samples,
    "alignment": alignment,
    "sampling_ratio": sampling_ratio,
    "border": border,
    "levels": levels,
}


def main(folder):
    """Writes every figure."""
    with mpl.rc_context(STYLE):
        for name, draw in FIGURES.items():
            draw().savefig(folder / f"{name}.png", dpi=160, pil_kwargs={"optimize": True})


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]) if sys.argv[1:] else pathlib.Path(__file__).parent)
