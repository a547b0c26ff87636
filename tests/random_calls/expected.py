"""What a right call gives, by the reference in NumPy; None where that cannot tell.

It cannot for numbers that float32 sums otherwise than float64 (very large ones), for more samples
than can be visited one by one, and for the box gradient of mode "max".
"""

import math

import cases
import max_reference
import numpy as np
import reference
import tensorflow as tf

from tf_roialign import library

MOST_SAMPLES = 4  # of one bin and axis, of a sampling_ratio
MOST_MAX_SAMPLES = 20_000  # of a call, which the reference of mode "max" visits in Python
MOST_BINS = 4096
FARTHEST = 1e9  # pixels, to which adaptive samples are a sample apart
LARGEST_NUMBER = 1e4


class Problem:
    """A call's inputs as the reference takes them: channels last, boxes [K, 4]."""

    def __init__(self, call, tensors):
        self.op = call["op"]
        self.kind = self.op.replace("MultiScale", "")
        self.attributes = call["attributes"]
        self.dtype = _first(tensors.get("features", tensors.get("grad_output"))).dtype.name
        self.layout = self.attributes["data_format"]
        boxes = tensors["boxes"].numpy()
        self.box_dtype = boxes.dtype
        self.is_dense = boxes.ndim == 3
        self.columns = boxes.shape[-1]
        rows = boxes.reshape(-1, self.columns)
        self.boxes = rows[:, -4:].copy()
        # TensorFlow's threads take numbers below the normal ones for 0, and a slope may be another.
        self.boxes[np.abs(self.boxes) < np.finfo(self.box_dtype).tiny * 2**20] = 0
        self.features = [self._nhwc(each) for each in _list(tensors.get("features", []))]
        if "features_shape" in tensors:
            self.map_shapes = [self._nhwc_shape(each) for each in _list(tensors["features_shape"])]
        else:
            self.map_shapes = [each.shape for each in self.features]
        if self.is_dense:
            self.images = np.repeat(np.arange(boxes.shape[0]), boxes.shape[1])
        elif self.columns == 5:
            self.images = rows[:, 0].astype(int)
        else:
            self.images = tensors["box_indices"].numpy()
        self.upstream = None
        if "grad_output" in tensors:
            upstream = self._nhwc(tensors["grad_output"])
            self.upstream = upstream.reshape(len(rows), *upstream.shape[-3:])
        self.direction = None
        if "direction" in tensors:
            self.direction = tensors["direction"].numpy().reshape(-1, self.columns)[:, -4:]
        self.scales = self._scales(tensors)
        self.levels = self._levels(tensors)
        self.zero_point = tensors["zero_point"].numpy() if "zero_point" in tensors else None
        with np.errstate(all="ignore"):
            self._drop_boxes_that_overflow()

    def _nhwc(self, tensor):
        tensor = tensor if tensor.dtype.is_floating else tf.bitcast(tensor, _plain(tensor.dtype))
        return cases.to_nhwc(cases.as_numpy(tensor), self.layout)

    def _nhwc_shape(self, tensor):
        shape = tuple(map(int, tensor.numpy()))
        return shape if self.layout == "NHWC" else (shape[0], *shape[2:], shape[1])

    def _scales(self, tensors):
        """(y, x) of each map."""
        if "spatial_scales" in tensors:
            return [tuple(map(float, pair)) for pair in tensors["spatial_scales"].numpy()]
        pair = self.attributes["spatial_scales"] or [self.attributes["spatial_scale"]] * 2
        return [tuple(float(np.float32(scale)) for scale in pair)]

    def _levels(self, tensors):
        """The map of each box."""
        if "levels" not in tensors:
            return np.zeros(len(self.boxes), int)
        if len(tensors["levels"]):
            return tensors["levels"].numpy()
        lowest, bounds = library.level_rule(
            float(np.float32(self.attributes["canonical_scale"])),
            self.attributes["canonical_level"],
            self.scales,
            self.box_dtype == np.float64,
        )
        levels = np.full(len(self.boxes), lowest)
        with np.errstate(all="ignore"):
            x1, y1, x2, y2 = self.boxes.T
            area = (x2 - x1) * (y2 - y1)
        for least, each in bounds:
            levels[area >= least] = each
        return levels

    def _drop_boxes_that_overflow(self):
        """A coordinate that is infinite once it is scaled is one that is: its box becomes NaN."""
        t_ = self.box_dtype.type
        self.extents = np.zeros((len(self.boxes), 2))  # x, y
        self.farthest = 0.0
        for k, level in enumerate(self.levels):
            y, x = map(t_, self.scales[level])
            offset = t_(0.5 if self.attributes["aligned"] else 0)
            ends = self.boxes[k].reshape(2, 2) * np.array([x, y], t_) - offset
            extent = ends[1] - ends[0]
            if np.isfinite(ends).all() and np.isfinite(extent).all():
                self.extents[k] = np.abs(extent)
                self.farthest = max(self.farthest, np.abs(ends).max(), np.abs(extent).max())
            else:
                self.boxes[k] = np.nan

    def can_be_told(self):
        """Whether the reference gives what float32 sums give."""
        ratio = self.attributes["sampling_ratio"]
        is_max = self.attributes["mode"] == "max"
        is_forward = self.kind in ("RoiAlign", "QuantizedRoiAlign")
        scales = [scale for pair in self.scales for scale in pair]
        return (
            self._numbers_can_be_told(is_forward and not is_max)
            and (is_forward or all(1e-3 < scale < 1e3 for scale in scales))
            and ratio <= MOST_SAMPLES
            and (ratio > 0 or self.farthest <= FARTHEST)
            and math.prod(self.attributes["output_size"]) <= MOST_BINS
            and not (is_max and self.kind == "RoiAlignBoxesGrad")
            and not (is_max and self._max_samples() > MOST_MAX_SAMPLES)
        )

    def _numbers_can_be_told(self, is_average):
        """NaN and infinities are of features that are averaged, not where more is multiplied."""
        if self.kind == "QuantizedRoiAlign":
            return True
        numbers = [*self.features, self.upstream, self.direction]
        numbers = [each for each in numbers if each is not None]
        if not is_average and not all(np.isfinite(each).all() for each in numbers):
            return False
        return _largest_of(numbers) <= LARGEST_NUMBER

    def _max_samples(self):
        ratio = self.attributes["sampling_ratio"]
        height, width = self.attributes["output_size"]
        y, x = (
            [max(ratio, 0)] * 2
            if ratio > 0
            else [
                np.ceil(np.maximum(self.extents[:, i], 1) / n) for i, n in ((1, height), (0, width))
            ]
        )
        return float(np.sum(np.multiply(y, x) * height * width * np.ones(len(self.boxes))))

    def of_map(self, level):
        """The rows of the boxes that read a map, and the keywords of the reference."""
        rows = np.flatnonzero(self.levels == level)
        return rows, {
            "boxes": self.boxes[rows],
            "indices": self.images[rows],
            "output_size": tuple(self.attributes["output_size"]),
            "scale": self.scales[level],
            "ratio": self.attributes["sampling_ratio"],
            "aligned": self.attributes["aligned"],
            "geometry": self.box_dtype.type,
        }

    def each_map(self):
        for level, shape in enumerate(self.map_shapes):
            rows, options = self.of_map(level)
            yield level, shape, rows, options


def _first(value):
    return value[0] if isinstance(value, list) else value


def _list(value):
    return value if isinstance(value, list) else [value]


def _plain(dtype):
    return tf.as_dtype(dtype.name.removeprefix("q"))


def check(call, tensors, outputs):
    """Raises if the outputs of a right call are others. Whether values could be told, too."""
    with np.errstate(all="ignore"):
        return _check(call, tensors, outputs)


def _check(call, tensors, outputs):
    problem = Problem(call, tensors)
    shapes = _shapes(problem, tensors)
    assert [each.shape.as_list() for each in outputs] == shapes, "shapes"
    if not any(math.prod(shape) for shape in shapes) or not problem.can_be_told():
        return False
    kind = problem.kind
    if kind == "RoiAlign":
        if problem.attributes["mode"] == "max":
            expected, _ = _largest(problem)
        else:
            expected = _forward(problem)
        tolerance = _tolerance(problem, _largest_of(problem.features), terms=4)
        _close(_pooled(problem, outputs[0]), expected, tolerance)
    elif kind == "QuantizedRoiAlign":
        _codes(problem, outputs[0])
    elif kind == "RoiAlignBoxesGrad":
        expected = _box_gradient(problem)
        got = outputs[0].numpy().reshape(-1, problem.columns)
        assert not got[:, :-4].any(), "an image index has a gradient"
        rtol, atol = _tolerance(problem, _slopes(problem))
        _close(got[:, -4:], expected, (0, atol))
    elif kind == "RoiAlignBoxesTangent":
        _close(
            _pooled(problem, outputs[0]), _tangent(problem), _tolerance(problem, _slopes(problem))
        )
    elif kind == "RoiAlignMaxGrad":
        if problem.dtype != "float64":  # what is equal but for the last bit has other winners
            return False
        _, expected = _largest(problem)
        _maps_close(problem, outputs, expected, _sum_of(problem.upstream))
    elif kind == "RoiAlignGrad":
        _maps_close(problem, outputs, _feature_gradient(problem), _sum_of(problem.upstream))
    else:
        assert kind == "RoiAlignBoxesTangentGrad", kind
        _maps_close(problem, outputs, _tangent_gradient(problem), _slopes(problem))
    return True


def _shapes(problem, tensors):
    """Of the outputs."""
    boxes = tensors["boxes"].shape.as_list()
    if problem.kind == "RoiAlignBoxesGrad":
        return [boxes]
    if problem.map_shapes and "Grad" in problem.kind:
        if "features" in tensors:
            return [each.shape.as_list() for each in _list(tensors["features"])]
        return [list(map(int, each.numpy())) for each in _list(tensors["features_shape"])]
    size, channels = list(problem.attributes["output_size"]), problem.map_shapes[0][3]
    return [[*boxes[:-1], *([channels, *size] if problem.layout == "NCHW" else [*size, channels])]]


def _pooled(problem, output):
    """[K, PH, PW, C] in float64."""
    values = problem._nhwc(output)
    return values.reshape(len(problem.boxes), *values.shape[-3:])


def _tolerance(problem, magnitude, terms=1):
    return cases.tolerance(problem.dtype, problem.box_dtype.name, magnitude, terms=terms)


def _close(got, expected, tolerance):
    rtol, atol = tolerance
    cases.assert_close(got, expected, rtol=rtol, atol=atol)


def _maps_close(problem, outputs, expected, magnitude):
    for output, each in zip(outputs, expected, strict=True):
        _close(problem._nhwc(output), each, _tolerance(problem, magnitude))


def _largest_of(arrays):
    return max((np.abs(each[np.isfinite(each)]).max(initial=0) for each in arrays), default=0)


def _sum_of(array):
    return np.abs(array).sum(axis=(0, 1, 2)).max(initial=0)


def _slopes(problem):
    """What the terms of a derivative by the boxes can add up to."""
    factors = [2 * max(scale for pair in problem.scales for scale in pair)]
    if problem.upstream is not None:
        factors.append(np.abs(problem.upstream).sum())
    if problem.features:
        factors.append(_largest_of(problem.features))
    if problem.direction is not None:
        factors.append(4 * np.abs(problem.direction).max(initial=0))
    return math.prod(factors)


def _empty_pooled(problem):
    size, channels = problem.attributes["output_size"], problem.map_shapes[0][3]
    return np.zeros((len(problem.boxes), *size, channels))


def _forward(problem, offset=0):
    out = _empty_pooled(problem)
    for level, _, rows, options in problem.each_map():
        out[rows] = reference.forward(problem.features[level] - offset, **options)
    return out


def _codes(problem, output):
    """Within rounding of a half, either code is right."""
    value = _forward(problem, problem.zero_point) + problem.zero_point
    limits = np.iinfo(_plain(output.dtype).name)
    value[np.isnan(value)] = problem.zero_point
    off = np.abs(_pooled(problem, output) - np.clip(value, limits.min, limits.max))
    # Codes of 8 bits are summed in float32.
    assert (off <= 0.5 + 1e-3 + 1e-9 * np.abs(value)).all(), f"codes are off by {off.max()}"


def _feature_gradient(problem):
    return [
        reference.feature_gradient(problem.upstream[rows], features_shape=shape, **options)
        for _, shape, rows, options in problem.each_map()
    ]


def _box_gradient(problem):
    out = np.zeros((len(problem.boxes), 4))
    for level, _, rows, options in problem.each_map():
        out[rows] = reference.box_gradient(
            problem.upstream[rows], problem.features[level], **options
        )
    return out


def _largest(problem):
    """Of mode "max": what is pooled, and the gradient to each map."""
    out, gradients = _empty_pooled(problem), []
    is_finite = np.isfinite(problem.boxes).all(axis=1)
    out[~is_finite] = np.nan
    for level, _, rows, options in problem.each_map():
        kept = is_finite[rows]
        rows = rows[kept]
        options |= {"boxes": options["boxes"][kept], "indices": options["indices"][kept]}
        scale = options.pop("scale")
        upstream = _empty_pooled(problem) if problem.upstream is None else problem.upstream
        pooled, gradient = max_reference.pool(
            problem.features[level], scale=scale, upstream=upstream[rows], **options
        )
        out[rows] = pooled
        gradients.append(gradient)
    return out, gradients


def _products(problem):
    """Of each finite box, the products of one matrix per axis that its derivative is a sum of."""
    for level, shape, rows, options in problem.each_map():
        for k in rows:
            if not np.isfinite(problem.boxes[k]).all():
                yield level, k, None
                continue
            y, x, count = reference.axes_of_box(
                problem.boxes[k],
                shape[1:3],
                *(
                    options[name]
                    for name in ("output_size", "scale", "ratio", "aligned", "geometry")
                ),
            )
            x1, y1, x2, y2 = map(float, problem.direction[k])
            yield (
                level,
                k,
                [
                    ((y1 * y.d_first + y2 * y.d_second) / count, x.weight),
                    (y.weight, (x1 * x.d_first + x2 * x.d_second) / count),
                ],
            )


def _tangent(problem):
    out = _empty_pooled(problem)
    for level, k, products in _products(problem):
        if products is None:
            out[k] = np.nan
            continue
        image = problem.features[level][problem.images[k]]
        for y, x in products:
            out[k] += np.einsum("py,qx,yxc->pqc", y, x, image)
    return out


def _tangent_gradient(problem):
    out = [np.zeros(shape) for shape in problem.map_shapes]
    for level, k, products in _products(problem):
        for y, x in products or ():
            out[level][problem.images[k]] += np.einsum("py,qx,pqc->yxc", y, x, problem.upstream[k])
    return out
