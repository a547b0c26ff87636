"""What a random call is: a dict that JSON holds, drawn by hypothesis.

    {"op": "RoiAlign", "way": "eager", "known": "sizes", "constants": True, "is_right": True,
     "attributes": {name: value}, "inputs": {name: tensor, or a list of them}}

A tensor is {"dtype", "shape"} with all its "values", or with the "seed" of random ones, some of
which are "replaced" by others. A call is drawn right, and then gets some mistakes. One that is
right has to succeed: whatever its boxes and features hold, and however large what is empty.
"""

import math

import numpy as np
from every_op import dtypes_of
from hypothesis import assume
from hypothesis import strategies as st

from tf_roialign import op_defs

NAN, INF = float("nan"), float("inf")
MAX_MAPS = 8

# A call that would take more bytes than the first and fewer than the second is not made: the first
# are there, the second on no machine.
FEW_BYTES, TOO_MANY_BYTES = 2**26, 2**47

ODD_NUMBERS = (NAN, INF, -INF, 1e38, -1e38, 3.4e38, 1e-45, -1e-40, -0.0, 1e300, 1e-320, 65504.0)
ODD_COORDINATES = (*ODD_NUMBERS, 1e9, -1e9, 2.0**31, -(2.0**31), 2.0**63, 1e-3, 16777217.0)
HUGE = (2**31 - 1, 2**31, 2**40, 2**59, 2**62)
ANY_DTYPE = (
    *("float16", "bfloat16", "float32", "float64", "int8", "uint8", "int16", "uint16", "int32"),
    *("uint32", "int64", "uint64", "bool", "complex64", "complex128", "string"),
    *("qint8", "quint8", "qint32"),
)

# Of every attribute, what it may be and what it may not: nor numbers below the normal ones, for
# TensorFlow's threads take these for 0. Where more depends on it, `_attributes`
# chooses.
RIGHT = {
    "output_size": st.lists(st.integers(1, 4), min_size=2, max_size=2)
    | st.sampled_from([[1, 40], [33, 2]]),
    "spatial_scale": st.sampled_from([1.0, 0.5, 0.25, 0.7, 1 / 16, 3.0, 2e-38, 1e38]),
    "spatial_scales": st.sampled_from([[], [], [1.0, 0.5], [0.25, 0.7], [1e-30, 1e30]]),
    "sampling_ratio": st.sampled_from([-1, 0, 1, 2, 3, 2**31 - 1, -(2**63)]),
    "aligned": st.booleans(),
    "data_format": st.sampled_from(["NHWC", "NCHW"]),
    "mode": st.sampled_from(["avg", "max"]),
    "canonical_scale": st.sampled_from([224.0, 4.0, 0.5, 2e-38, 1e38]),
    "canonical_level": st.sampled_from([4, 0, -3, 2**31 - 1, -(2**63)]),
}
WRONG = {
    "output_size": [
        *([], [2], [1, 2, 3], [0, 1], [1, -1], [2**31, 1], [1, 2**63 - 1], [2**31 - 1] * 2),
        *("7", [2.5, 1], ["a", "b"], None, [-(2**63), 1], [2**31 - 1, 1]),
    ],
    "spatial_scale": [0.0, -0.0, 1e-38, -1.0, NAN, INF, -INF, 1e300, "1", None, [1.0]],
    "spatial_scales": [
        [1.0],
        [1.0, 0.5, 2.0],
        [0.0, 1.0],
        [1.0, NAN],
        [-1.0, 1.0],
        ["a"],
        "1",
        1.0,
    ],
    "sampling_ratio": [2**31, 2**62, 2**63 - 1, "2", 2.5, [2]],
    "aligned": ["True", [True], 2.5],
    "data_format": ["NWHC", "", "nhwc", 3, "NHWC\0"],
    "mode": ["avg", "max", "sum", "", 0],
    "canonical_scale": [0.0, 1e-45, -224.0, NAN, INF, "a"],
    "canonical_level": [2**31, 2**63 - 1, "a", 1.5],
}


def attribute_names(op):
    """Those that the inputs do not tell; each has to stand in the tables above."""
    names = op_defs.attribute_names("TfRoialign>" + op)
    missing = set(names) - set(RIGHT)
    assert not missing, f"say in {__file__} what {missing} may be, and may not"
    return names


def modes_of(op):
    """Which modes an op can be asked for."""
    if "MaxGrad" in op:
        return ["max"]
    return ["avg", "max"] if op.removeprefix("MultiScale") in _OF_BOTH_MODES else ["avg"]


_OF_BOTH_MODES = ("RoiAlign", "RoiAlignBoxesGrad")


def tensor(dtype, shape, **what):
    return {"dtype": dtype, "shape": list(shape), **what}


def scalars(dtype, values, shape=None):
    """A tensor of values, in the order of memory."""
    return tensor(dtype, [len(values)] if shape is None else shape, values=list(values))


@st.composite
def _random(draw, dtype, shape):
    """Random numbers or codes, some of them replaced by odd ones."""
    count = math.prod(shape)
    replaced = []
    if count and draw(st.integers(0, 5)) == 0:
        is_float = "float" in dtype
        odd = ODD_NUMBERS if is_float else (0, 1, 127)
        pairs = st.tuples(st.integers(0, count - 1), st.sampled_from(odd))
        replaced = draw(st.lists(pairs, min_size=1, max_size=3))
    return tensor(
        dtype, shape, seed=draw(st.integers(0, 2**16)), replaced=[list(p) for p in replaced]
    )


_COORDINATES = st.one_of(
    st.floats(-6, 24, width=16),
    st.floats(-6, 24, width=32),
    st.integers(-4, 20).map(lambda n: n / 2),
)


@st.composite
def _box(draw):
    """Mostly of some size, seldom odd."""
    box = draw(st.lists(_COORDINATES, min_size=4, max_size=4))
    if draw(st.integers(0, 3)):
        box = [*map(min, box[:2], box[2:]), *map(max, box[:2], box[2:])]
    if draw(st.integers(0, 7)) == 0:
        box[draw(st.integers(0, 3))] = draw(st.sampled_from(ODD_COORDINATES))
    return box


@st.composite
def _attributes(draw, op, is_empty):
    """Right ones. `is_empty`: nothing is pooled, so that the output may have any size."""
    found = {name: draw(RIGHT[name]) for name in attribute_names(op)}
    found["mode"] = draw(st.sampled_from(modes_of(op)))
    if is_empty and draw(st.integers(0, 3)) == 0:
        found["output_size"] = draw(st.sampled_from([[2**31 - 1, 1], [1, 2**31 - 1], [2**20] * 2]))
    # Most calls are to be ones whose result the reference knows.
    if draw(st.integers(0, 3)):
        found["sampling_ratio"] = draw(st.sampled_from([-1, 0, 1, 2, 3]))
        if "spatial_scale" in found:
            found["spatial_scale"] = draw(st.sampled_from([1.0, 0.5, 0.25, 0.7, 3.0]))
    return found


@st.composite
def right_calls(draw, way, op):
    """Calls without a mistake."""
    is_on_many = op_defs.reads_many_maps(op)
    dtype = draw(st.sampled_from(dtypes_of(op)))
    box_dtype = draw(st.sampled_from(["float32", "float64"]))
    integers = st.sampled_from(["int32", "int64"])
    form = draw(st.sampled_from(["indexed", "separate", "dense"]))
    images = draw(st.sampled_from([1, 1, 2, 2, 3, 0]))
    channels = draw(st.sampled_from([1, 2, 3, 5, 8, 17, 33, 0]))
    per_image = draw(st.integers(0, 3))
    rows = images * per_image if form == "dense" else draw(st.integers(0, 6)) if images else 0
    maps = draw(st.sampled_from([1, 2, 3, MAX_MAPS])) if is_on_many else 1
    lengths = st.integers(1, 9) if rows else st.sampled_from([0, 1, 5, 9])
    sizes = [(draw(lengths), draw(lengths)) for _ in range(maps)]
    attributes = draw(_attributes(op, rows == 0 or channels == 0))

    def shape(count, size):
        count = list(count)
        if attributes["data_format"] == "NCHW":
            return [*count, channels, *size]
        return [*count, *size, channels]

    columns = {"indexed": 5, "separate": 4, "dense": 4}[form]
    of_boxes = [images, per_image] if form == "dense" else [rows]
    image = [draw(st.integers(0, images - 1)) for _ in range(rows)] if images else []
    boxes = [draw(_box()) for _ in range(rows)]
    if form == "indexed":
        boxes = [
            [n + draw(st.sampled_from([0, 0.5])), *b] for n, b in zip(image, boxes, strict=True)
        ]
    flat = [number for box in boxes for number in box]
    shapes = [shape([images], size) for size in sizes]
    limits = np.iinfo(dtype.removeprefix("q")) if "int" in dtype else None
    scale = (
        RIGHT["spatial_scale"] if draw(st.integers(0, 3)) == 0 else st.sampled_from([1, 0.5, 0.7])
    )
    values = {
        "features": lambda: [draw(_random(dtype, each)) for each in shapes],
        "grad_output": lambda: draw(_random(dtype, shape(of_boxes, attributes["output_size"]))),
        "boxes": lambda: scalars(box_dtype, flat, [*of_boxes, columns]),
        "box_indices": lambda: scalars(draw(integers), image if form == "separate" else []),
        "levels": lambda: scalars(
            draw(integers),
            [draw(st.integers(0, maps - 1)) for _ in range(rows)] if draw(st.booleans()) else [],
        ),
        "spatial_scales": lambda: scalars(
            "float64", [draw(scale) for _ in range(2 * maps)], [maps, 2]
        ),
        "features_shape": lambda: _all(draw(integers), shapes),
        "direction": lambda: draw(_random(box_dtype, [*of_boxes, columns])),
        "scale": lambda: scalars("float32", [draw(st.sampled_from([0.3, 2.0, 2e-38, 1e38]))], []),
        "zero_point": lambda: scalars(
            "int32", [draw(st.integers(int(limits.min), int(limits.max)))], []
        ),
    }
    inputs = {}
    for name in op_defs.input_names("TfRoialign>" + op):
        value = values[name]()
        inputs[name] = value[0] if isinstance(value, list) and not is_on_many else value
    return {
        "op": op,
        "way": way,
        # What of the shapes is known while a function is traced.
        "known": draw(st.sampled_from(["sizes", "rank", "nothing"]))
        if way == "function"
        else "sizes",
        # Whether a function has features_shape within, or as an argument.
        "constants": draw(st.booleans()),
        "is_right": True,
        "attributes": attributes,
        "inputs": inputs,
    }


def _all(dtype, shapes):
    return [scalars(dtype, each) for each in shapes]


# Values that an input may not have, by its name.
WRONG_VALUES = {
    "boxes": [NAN, INF, -INF, -1, -0.5, 1e30, 7],  # as image indices
    "box_indices": [-1, 7, 2**31 - 1, -(2**31), 2**32, 2**62, -(2**63)],
    "levels": [-1, 8, 2**31 - 1, -(2**31), 2**32, 2**62],
    "spatial_scales": [0.0, -1.0, NAN, INF, -0.0, 1e300, 1e-300],
    "features_shape": [-1, 0, 1, 7, *HUGE, 2**63 - 1, -(2**63)],
    "scale": [0.0, -1.0, NAN, INF, 1e-45],
    "zero_point": [-129, 256, 2**31 - 1, -(2**31)],
}


def _filled(dtype, shape):
    """A tensor of another dtype or shape, in the place of one."""
    return tensor(dtype, shape, seed=1, replaced=[])


@st.composite
def _other_tensor(draw, name, given):
    """One with a mistake in its dtype, its shape or its values."""
    kind = draw(st.sampled_from(["values", "values", "sizes", "sizes", "rank", "dtype", "huge"]))
    shape = list(given["shape"])
    if kind == "values" and given.get("values") and name in WRONG_VALUES:
        values = list(given["values"])
        place = draw(st.integers(0, len(values) - 1))
        if name == "boxes":
            place -= place % shape[-1]
        value = draw(st.sampled_from(WRONG_VALUES[name]))
        if "int" in given["dtype"]:  # that the dtype holds
            limits = np.iinfo(given["dtype"])
            value = min(max(value, int(limits.min)), int(limits.max))
        values[place] = value
        return {**given, "values": values}
    if kind == "dtype":
        return _filled(draw(st.sampled_from(ANY_DTYPE)), shape)
    place = draw(st.integers(0, max(len(shape) - 1, 0)))
    if kind == "rank" or not shape:
        if shape and draw(st.booleans()):
            del shape[place]
        else:
            shape[place:place] = [draw(st.integers(0, 2))] * draw(st.sampled_from([1, 1, 2, 5]))
    elif kind == "huge":  # which is empty
        shape[place] = draw(st.sampled_from(HUGE))
        if len(shape) > 1:
            other = draw(st.integers(0, len(shape) - 2))
            shape[other + (other >= place)] = 0
        if draw(st.booleans()):
            shape.append(draw(st.sampled_from(HUGE)))
        if 0 not in shape:
            shape[place] = 0
    else:
        shape[place] = max(0, shape[place] + draw(st.sampled_from([-2, -1, 1, 2, -100])))
    return _filled(given["dtype"], shape)


@st.composite
def _with_mistake(draw, call):
    name = draw(st.sampled_from([*call["inputs"], *call["attributes"]]))
    if name in call["attributes"] and (name not in call["inputs"] or draw(st.booleans())):
        value = draw(st.sampled_from(WRONG[name]))
        return {**call, "attributes": {**call["attributes"], name: value}}
    given = call["inputs"][name]
    if isinstance(given, list):
        given = list(given)
        kind = draw(st.sampled_from(["entry", "entry", "entry", "none", "more", "fewer"]))
        if kind == "none" or not given:
            given = []
        elif kind == "more":
            given += [given[0]] * draw(st.sampled_from([1, 6, 20]))
        elif kind == "fewer":
            given = given[1:]
        else:
            place = draw(st.integers(0, len(given) - 1))
            given[place] = draw(_other_tensor(name, given[place]))
    else:
        given = draw(_other_tensor(name, given))
    return {**call, "inputs": {**call["inputs"], name: given}}


def _entries(call, name):
    given = call["inputs"].get(name, [])
    return given if isinstance(given, list) else [given]


def _product(sizes):
    return math.prod(abs(size) for size in sizes)


def bytes_of(call):
    """About what the largest tensor of a call would take, or one that it might be taken for."""
    sizes = call["attributes"]["output_size"]
    of_bins = 1
    if isinstance(sizes, list) and all(isinstance(size, int) for size in sizes):
        of_bins = _product(sizes)
    shapes = [each["shape"] for name in call["inputs"] for each in _entries(call, name)]
    held = [each.get("values", []) for each in _entries(call, "features_shape")]
    boxes = _product(call["inputs"]["boxes"]["shape"][:-1])
    indices = _product(call["inputs"]["box_indices"]["shape"])
    maps = [each["shape"] for each in _entries(call, "features")] + held
    at = 1 if call["attributes"]["data_format"] == "NCHW" else 3
    channels = max([size for each in maps for size in each[at : at + 1]], default=1)
    pooled = [max(boxes, indices), of_bins, channels]
    return 8 * max(map(_product, [*shapes, *held, pooled]))


@st.composite
def calls(draw, way, op):
    """A call of a graph op: `way` "eager", "function" or "xla"."""
    call = draw(right_calls(way, op))
    mistakes = draw(st.sampled_from([0, 0, 0, 1, 1, 2]))
    for _ in range(mistakes):
        call = draw(_with_mistake(call))
    call = {**call, "is_right": mistakes == 0}
    assume(not FEW_BYTES < bytes_of(call) < TOO_MANY_BYTES)
    return call
