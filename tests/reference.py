"""RoIAlign in plain NumPy: slow, readable, in float64; what the tests compare with.

Written from the formulas of RoIAlign alone. Per axis of a box (length L of the map, P
bins, o = 0.5 if aligned else 0):

    start  = c1*scale - o          end = c2*scale - o
    extent = end - start           (not aligned: at least 1)
    bin    = extent / P
    g      = ratio if ratio > 0 else ceil(bin)               samples per bin; <= 0: none
    v      = start + p*bin + (t + 0.5)*bin/g                 p < P, t < g

A sample at v < -1 or v > L counts for nothing. Any other reads the pixels lo and hi = lo+1
around max(v, 0) with the weights 1-fraction and fraction; from the last pixel on, that
pixel alone. A bin is the sum over the product grid of its samples, divided by
max(g_h * g_w, 1).

The coordinates are computed in the dtype `geometry`, in the order written above, because
they decide which samples count; everything after that is float64. Layout: features
[N, H, W, C], output [K, PH, PW, C], boxes [K, 4] as (x1, y1, x2, y2).
"""

import bisect
import dataclasses
import math

import numpy as np


@dataclasses.dataclass
class Axis:
    """One axis of one box as matrices [bins, length]."""

    grid: int  # samples per bin
    weight: np.ndarray  # weight of each pixel in each bin, before the division by the count
    touched: np.ndarray  # which pixels are read at all (with weight 0, too)
    d_first: np.ndarray  # derivative of weight by the first coordinate (x1 or y1)
    d_second: np.ndarray  # ... by the second (x2 or y2)
    samples: list  # the coordinates v of the samples that count, for `kink_distance`
    extent: float
    bin_size: float


def axis_of_box(c1, c2, length, bins, scale, ratio, aligned, geometry):
    """The samples of one axis of one box, as an `Axis`."""
    t_ = geometry  # every operation below rounds to this dtype
    scale, offset = t_(scale), t_(0.5 if aligned else 0.0)
    start = t_(c1) * scale - offset
    end = t_(c2) * scale - offset
    extent = end - start
    extent_moves = True  # does the extent follow the coordinates?
    if not aligned and extent < 1:
        extent, extent_moves = t_(1), False
    bin_size = extent / t_(bins)
    grid = ratio if ratio > 0 else math.ceil(bin_size)

    axis = Axis(
        grid=grid,
        weight=np.zeros((bins, length)),
        touched=np.zeros((bins, length), bool),
        d_first=np.zeros((bins, length)),
        d_second=np.zeros((bins, length)),
        samples=[],
        extent=float(extent),
        bin_size=float(bin_size),
    )
    for p in range(bins):

        def sample(t, p=p):
            return start + t_(p) * bin_size + (t_(t) + t_(0.5)) * bin_size / t_(grid)

        ts = range(max(grid, 0))
        if bin_size > 0:  # ascending: a box of 1e9 pixels has few samples on the map
            ts = ts[
                bisect.bisect_left(ts, -1, key=sample) : bisect.bisect_right(ts, length, key=sample)
            ]
        for t in ts:
            v = sample(t)
            if v < -1 or v > length:
                continue
            axis.samples.append(float(v))
            moves = v >= 0
            v = max(float(v), 0.0)
            lo = math.floor(v)
            if lo >= length - 1:
                lo = hi = length - 1
                fraction, moves = 0.0, False
            else:
                hi = lo + 1
                fraction = v - lo
            axis.touched[p, [lo, hi]] = True
            axis.weight[p, lo] += 1 - fraction
            axis.weight[p, hi] += fraction
            if moves:
                # v = start + along * extent with start = c1*s - o, extent = (c2 - c1)*s
                along = (p + (t + 0.5) / grid) / bins if extent_moves else 0.0
                dv_first, dv_second = float(scale) * (1 - along), float(scale) * along
                axis.d_first[p, lo] -= dv_first
                axis.d_first[p, hi] += dv_first
                axis.d_second[p, lo] -= dv_second
                axis.d_second[p, hi] += dv_second
    return axis


def scales(scale):
    """(y, x) of a scale, which may be one number for both axes."""
    return tuple(scale) if isinstance(scale, tuple | list) else (scale, scale)


def axes_of_box(box, shape, output_size, scale, ratio, aligned, geometry):
    """The y axis and the x axis of one box on a map of shape (H, W), and the count."""
    x1, y1, x2, y2 = box
    scale_y, scale_x = scales(scale)
    y = axis_of_box(y1, y2, shape[0], output_size[0], scale_y, ratio, aligned, geometry)
    x = axis_of_box(x1, x2, shape[1], output_size[1], scale_x, ratio, aligned, geometry)
    return y, x, float(max(y.grid * x.grid, 1))


def weighted_sum(y_weight, x_weight, y_touched, x_touched, image):
    """sum_y sum_x y_weight[p, y] * x_weight[q, x] * image[y, x], over the pixels that are read.

    A pixel that is not read contributes nothing, whatever it holds; one that is read with
    weight 0 and holds NaN or Inf gives NaN.
    """
    if np.isfinite(image).all():
        rows = np.tensordot(y_weight, image, axes=(1, 0))  # [PH, W, C]
        return np.tensordot(rows, x_weight, axes=(1, 1)).transpose(0, 2, 1)
    out = np.zeros((len(y_weight), len(x_weight), image.shape[2]))
    with np.errstate(invalid="ignore"):
        for p in range(len(y_weight)):
            for q in range(len(x_weight)):
                ys, xs = np.flatnonzero(y_touched[p]), np.flatnonzero(x_touched[q])
                weights = y_weight[p, ys][:, None] * x_weight[q, xs][None, :]
                out[p, q] = (weights[:, :, None] * image[ys][:, xs]).sum(axis=(0, 1))
    return out


def forward(
    features,
    boxes,
    indices,
    output_size,
    scale=1.0,
    ratio=-1,
    aligned=False,
    geometry=np.float64,
):
    """RoIAlign of features [N, H, W, C] -> [K, PH, PW, C]."""
    features = np.asarray(features, np.float64)
    out = np.zeros((len(boxes), *output_size, features.shape[3]))
    for k, (box, n) in enumerate(zip(boxes, indices, strict=True)):
        if not np.isfinite(box).all():
            out[k] = np.nan
            continue
        y, x, count = axes_of_box(
            box, features.shape[1:3], output_size, scale, ratio, aligned, geometry
        )
        out[k] = weighted_sum(y.weight, x.weight, y.touched, x.touched, features[n]) / count
    return out


def feature_gradient(
    grad_output,
    boxes,
    indices,
    features_shape,
    output_size,
    scale=1.0,
    ratio=-1,
    aligned=False,
    geometry=np.float64,
):
    """The transpose of `forward`: [K, PH, PW, C] -> [N, H, W, C]."""
    grad_output = np.asarray(grad_output, np.float64)
    grad = np.zeros(features_shape)
    for k, (box, n) in enumerate(zip(boxes, indices, strict=True)):
        if not np.isfinite(box).all():
            continue
        y, x, count = axes_of_box(
            box, features_shape[1:3], output_size, scale, ratio, aligned, geometry
        )
        rows = np.tensordot(y.weight.T, grad_output[k], axes=(1, 0))  # [H, PW, C]
        grad[n] += np.tensordot(rows, x.weight.T, axes=(1, 1)).transpose(0, 2, 1) / count
    return grad


def box_gradient(
    grad_output,
    features,
    boxes,
    indices,
    output_size,
    scale=1.0,
    ratio=-1,
    aligned=False,
    geometry=np.float64,
):
    """The derivative of sum(grad_output * forward(...)) by the boxes: [K, 4].

    At a kink (a sample on a pixel's centre, an extent of exactly 1) it is one of the
    one-sided derivatives.
    """
    grad_output = np.asarray(grad_output, np.float64)
    features = np.asarray(features, np.float64)
    grad = np.zeros((len(boxes), 4))
    for k, (box, n) in enumerate(zip(boxes, indices, strict=True)):
        if not np.isfinite(box).all():
            grad[k] = np.nan
            continue
        y, x, count = axes_of_box(
            box, features.shape[1:3], output_size, scale, ratio, aligned, geometry
        )
        for column, y_weight, x_weight in (
            (0, y.weight, x.d_first),
            (1, y.d_first, x.weight),
            (2, y.weight, x.d_second),
            (3, y.d_second, x.weight),
        ):
            slope = weighted_sum(y_weight, x_weight, y.touched, x.touched, features[n])
            grad[k, column] = (grad_output[k] * slope).sum() / count
    return grad


def kink_distance(box, shape, output_size, scale=1.0, ratio=-1, aligned=False):
    """How far, in pixels of the map, the box is from a place where its output has a kink.

    Kinks lie where a sample meets a pixel's centre or a border of the counted range, where
    an extent meets 1 (not aligned), and where an adaptive number of samples changes.
    """
    nearest = math.inf
    x1, y1, x2, y2 = box
    scale_y, scale_x = scales(scale)
    for c1, c2, length, bins, scale in (
        (y1, y2, shape[0], output_size[0], scale_y),
        (x1, x2, shape[1], output_size[1], scale_x),
    ):
        # A map that is larger on both sides has the samples that are nearly counted, too.
        wide = axis_of_box(
            c1 + 2 / scale, c2 + 2 / scale, length + 4, bins, scale, ratio, aligned, np.float64
        )
        distances = [abs(v - round(v)) for v in wide.samples]
        if not aligned:
            distances.append(abs((c2 - c1) * scale - 1))
        if ratio <= 0:
            distances.append(abs(wide.bin_size - round(wide.bin_size)))
        nearest = min([nearest, *distances])
    return nearest
