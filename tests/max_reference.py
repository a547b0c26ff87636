"""Mode "max" in plain NumPy: slow, readable, in float64; sample by sample."""

import math

import numpy as np
import reference


def _axis(c1, c2, length, bins, scale, ratio, aligned, geometry):
    """For each bin its samples: None (outside), or (lo, hi, fraction)."""
    t_ = geometry  # every operation below rounds to this dtype
    offset = t_(0.5 if aligned else 0.0)
    start = t_(c1) * t_(scale) - offset
    extent = t_(c2) * t_(scale) - offset - start
    if not aligned:
        extent = max(extent, t_(1))
    size = extent / t_(bins)
    grid = ratio if ratio > 0 else math.ceil(size)
    samples = []
    for p in range(bins):
        of_bin = []
        for t in range(grid):
            v = start + t_(p) * size + (t_(t) + t_(0.5)) * size / t_(grid)
            if v < -1 or v > length:
                of_bin.append(None)
                continue
            v = max(v, t_(0))
            lo = int(v)
            of_bin.append((length - 1,) * 2 + (0.0,) if lo >= length - 1 else (lo, lo + 1, v - lo))
        samples.append(of_bin)
    return samples


def pool(features, boxes, indices, output_size, scale, ratio, aligned, geometry, upstream):
    """Returns (output [K, PH, PW, C], gradient to the features for that upstream)."""
    height, width, channels = features.shape[1:]
    scale_y, scale_x = reference.scales(scale)
    output = np.zeros((len(boxes), *output_size, channels))
    gradient = np.zeros(features.shape)
    for k, (x1, y1, x2, y2) in enumerate(boxes):
        image = features[indices[k]]
        rows = _axis(y1, y2, height, output_size[0], scale_y, ratio, aligned, geometry)
        columns = _axis(x1, x2, width, output_size[1], scale_x, ratio, aligned, geometry)
        for p, q in np.ndindex(*output_size):
            values, taps = [], []
            for y in rows[p]:
                for x in columns[q]:
                    of_sample = []
                    if y is not None and x is not None:
                        for i, wy in ((y[0], 1 - float(y[2])), (y[1], float(y[2]))):
                            for j, wx in ((x[0], 1 - float(x[2])), (x[1], float(x[2]))):
                                of_sample.append((i, j, wy * wx))
                    values.append(
                        sum((w * image[i, j] for i, j, w in of_sample), np.zeros(channels))
                    )
                    taps.append(of_sample)
            if not values:
                continue
            winners = np.argmax(values, axis=0)
            output[k, p, q] = np.max(values, axis=0)
            for c in range(channels):
                for i, j, w in taps[winners[c]]:
                    gradient[indices[k], i, j, c] += w * upstream[k, p, q, c]
    return output, gradient
