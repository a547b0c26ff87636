"""What is wrong is refused, naming the argument, the rule and what came.

Where shapes are known the refusal comes from Python (eager) or while tracing; the same calls
are made once more inside a tf.function that knows no shapes, and fail when it runs.
"""

import re

import cases
import numpy as np
import pytest
import tensorflow as tf

import tf_roialign
from tf_roialign import raw_ops

ERRORS = (ValueError, tf.errors.InvalidArgumentError)
F = np.ones([2, 6, 7, 3], "float32")
NAN, INF = float("nan"), float("inf")


def boxes(*shape):
    """Valid boxes of any shape (index 0 where there is a column for it)."""
    row = [0.0, 1.0, 1.0, 4.0, 5.0][-shape[-1] :] if shape[-1] in (4, 5) else [0.0] * shape[-1]
    return np.broadcast_to(np.array(row, "float32"), shape)


def indices(*values, dtype="int32"):
    return np.array(values, dtype)


def rois(*image_indices, dtype="float32"):
    table = np.array(boxes(len(image_indices), 5), dtype)
    table[:, 0] = image_indices
    return table


FEATURES = "`features` must have shape [N, H, W, C], got "
BOXES = "`boxes` must have shape [K, 5], [K, 4] or [N, M, 4], got "
DENSE = "`boxes` must have shape [2, M, 4], one row of boxes per image, got "
NOT_BOTH = "`boxes` must have shape [K, 4] when `box_indices` is given, got "
PER_BOX = "`box_indices` must have shape [3], one image index per box, got "
NO_PIXELS = "`features` must have a height and width of at least 1 when there are boxes, got "

# (name, features, boxes, box_indices or None, message)
BAD_SHAPES = [
    ("features-2", F[0, 0], boxes(3, 5), None, FEATURES + "[7, 3]"),
    ("features-3", F[0], boxes(3, 5), None, FEATURES + "[6, 7, 3]"),
    ("features-5", F[None], boxes(3, 5), None, FEATURES + "[1, 2, 6, 7, 3]"),
    ("features-0", F[0, 0, 0, 0], boxes(3, 5), None, FEATURES + "[]"),
    ("boxes-1", F, boxes(5), None, BOXES + "[5]"),
    ("boxes-0", F, np.float32(1), None, BOXES + "[]"),
    ("boxes-last-3", F, boxes(2, 3), None, BOXES + "[2, 3]"),
    ("boxes-last-6", F, boxes(2, 6), None, BOXES + "[2, 6]"),
    ("boxes-last-0", F, boxes(2, 0), None, BOXES + "[2, 0]"),
    ("boxes-dense-5", F, boxes(2, 3, 5), None, BOXES + "[2, 3, 5]"),
    ("boxes-4", F, boxes(1, 2, 3, 4), None, BOXES + "[1, 2, 3, 4]"),
    ("boxes-8", F, boxes(*[1] * 7, 4), None, BOXES + "[1, 1, 1, 1, 1, 1, 1, 4]"),
    ("boxes-9", F, boxes(*[1] * 8, 5), None, BOXES + "[1, 1, 1, 1, 1, 1, 1, 1, ...]"),
    ("dense-rows", F, boxes(3, 5, 4), None, DENSE + "[3, 5, 4]"),
    ("dense-no-rows", F, boxes(0, 5, 4), None, DENSE + "[0, 5, 4]"),
    ("indices-with-5", F, boxes(3, 5), indices(0, 0, 1), NOT_BOTH + "[3, 5]"),
    ("indices-with-dense", F, boxes(2, 3, 4), indices(0, 1), NOT_BOTH + "[2, 3, 4]"),
    ("indices-too-few", F, boxes(3, 4), indices(0, 1), PER_BOX + "[2]"),
    ("indices-too-many", F, boxes(3, 4), indices(0, 1, 1, 0), PER_BOX + "[4]"),
    (
        "indices-2",
        F,
        boxes(3, 4),
        indices([0], [1], [1]),
        "`box_indices` must have shape [K], got [3, 1]",
    ),
    ("indices-0", F, boxes(3, 4), np.int32(0), "`box_indices` must have shape [K], got []"),
    ("no-height", F[:, :0], boxes(1, 5), None, NO_PIXELS + "[2, 0, 7, 3]"),
    ("no-width", F[:, :, :0], boxes(1, 4), indices(0), NO_PIXELS + "[2, 6, 0, 3]"),
    ("no-pixels-dense", F[:, :0, :0], boxes(2, 1, 4), None, NO_PIXELS + "[2, 0, 0, 3]"),
]


def column(row, images, value):
    return f"`boxes[{row}, 0]`, an image index, must be in [0, {images}), got {value}"


def entry(row, images, value):
    return f"`box_indices[{row}]`, an image index, must be in [0, {images}), got {value}"


# What only the values can tell.
BAD_VALUES = [
    ("index-nan", F, rois(0, 1, 1, NAN), None, column(3, 2, "nan")),
    ("index-inf", F, rois(INF, 1), None, column(0, 2, "inf")),
    ("index--inf", F, rois(0, -INF), None, column(1, 2, "-inf")),
    ("index-n", F, rois(0, 0, 2), None, column(2, 2, "2")),
    ("index-1e30", F, rois(0, 1e30), None, column(1, 2, "1e+30")),
    ("index-1234567", F, rois(0, 1234567), None, column(1, 2, "1234567")),
    ("index-f64-123456789", F, rois(123456789, dtype="float64"), None, column(0, 2, "123456789")),
    ("index--1", F, rois(-1), None, column(0, 2, "-1")),
    ("index--0.5", F, rois(-0.5), None, column(0, 2, "-0.5")),
    ("index-f64", F, rois(0, NAN, dtype="float64"), None, column(1, 2, "nan")),
    ("indices-n", F, boxes(4, 4), indices(0, 1, 0, 7), entry(3, 2, "7")),
    ("indices--1", F, boxes(2, 4), indices(-1, 0), entry(0, 2, "-1")),
    ("indices-i64", F, boxes(2, 4), indices(0, 2, dtype="int64"), entry(1, 2, "2")),
    ("indices-2**32", F, boxes(1, 4), indices(2**32, dtype="int64"), entry(0, 2, "4294967296")),
    ("indices-min", F, boxes(1, 4), indices(-(2**63), dtype="int64"), entry(0, 2, str(-(2**63)))),
    ("no-images", F[:0], boxes(1, 4), indices(0), entry(0, 0, "0")),
    ("no-images-5", F[:0], boxes(1, 5), None, column(0, 0, "0")),
]


def parameters(table):
    return pytest.mark.parametrize(
        "features, boxes, box_indices, message",
        [row[1:] for row in table],
        ids=[r[0] for r in table],
    )


def in_layout(features, message, data_format):
    """The same mistake in NCHW, and what is then said about the features."""
    if data_format == "NCHW":
        got = "[" + ", ".join(map(str, features.shape)) + "]"
        message = message.replace("[N, H, W, C]", "[N, C, H, W]")
        if features.ndim == 4:
            features = cases.from_nhwc(features, data_format)
            moved = "[" + ", ".join(map(str, features.shape)) + "]"
            if message.startswith("`features`"):
                message = message.replace(got, moved)
    return features, re.escape(message)


@pytest.mark.parametrize("data_format", cases.LAYOUTS)
@parameters(BAD_SHAPES + BAD_VALUES)
def test_eager(features, boxes, box_indices, message, data_format):
    features, message = in_layout(features, message, data_format)
    with pytest.raises(ERRORS, match=message):
        tf_roialign.roi_align(
            features, tf.constant(boxes), 2, box_indices=box_indices, data_format=data_format
        )


@pytest.mark.parametrize("data_format", cases.LAYOUTS)
@parameters(BAD_SHAPES)
def test_while_tracing(features, boxes, box_indices, message, data_format):
    """Shapes that are known are refused before anything runs."""
    features, message = in_layout(features, message, data_format)

    def spec(array):
        return None if array is None else tf.TensorSpec(np.shape(array), array.dtype)

    @tf.function
    def function(features, boxes, box_indices):
        return tf_roialign.roi_align(
            features, boxes, 2, box_indices=box_indices, data_format=data_format
        )

    with pytest.raises(ValueError, match=message):
        function.get_concrete_function(spec(features), spec(boxes), spec(box_indices))


@pytest.mark.parametrize("data_format", cases.LAYOUTS)
@parameters(BAD_SHAPES + BAD_VALUES)
def test_when_no_shape_is_known(features, boxes, box_indices, message, data_format):
    features, message = in_layout(features, message, data_format)
    unknown = tf.TensorSpec(None, tf.float32)
    index_dtype = np.int32 if box_indices is None else box_indices.dtype

    @tf.function(
        input_signature=[
            unknown,
            tf.TensorSpec(None, boxes.dtype),
            tf.TensorSpec(None, index_dtype),
        ]
    )
    def function(features, boxes, indices):
        return tf_roialign.roi_align(
            features,
            boxes,
            2,
            box_indices=None if box_indices is None else indices,
            data_format=data_format,
        )

    given = np.zeros(0, index_dtype) if box_indices is None else box_indices
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        function(features, boxes, given)


def test_boxes_without_their_indices():
    """[K, 4] says nothing about the images, known or not."""
    message = re.escape("`boxes` of shape [3, 4] need `box_indices`")
    with pytest.raises(ERRORS, match=message):
        tf_roialign.roi_align(F, tf.constant(boxes(3, 4)), 2)

    @tf.function(input_signature=[tf.TensorSpec(None), tf.TensorSpec(None)])
    def function(features, boxes):
        return tf_roialign.roi_align(features, boxes, 2)

    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        function(F, boxes(3, 4))


@pytest.mark.parametrize(
    "given, message",
    [
        ([boxes(1, 4)] * 3, "`boxes` must have one entry per image (2), got 3"),
        ([boxes(1, 4)], "`boxes` must have one entry per image (2), got 1"),
        ([], "`boxes` must have one entry per image (2), got 0"),
        (
            (boxes(1, 4), boxes(2, 4), boxes(0, 4)),
            "`boxes` must have one entry per image (2), got 3",
        ),
        ([boxes(1, 4), boxes(3, 5)], "`boxes[1]` must have shape [L, 4], got [3, 5]"),
        ([boxes(2, 3), boxes(1, 4)], "`boxes[0]` must have shape [L, 4], got [2, 3]"),
    ],
    ids=str,
)
def test_lists(given, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        tf_roialign.roi_align(F, given, 2)
    with pytest.raises(ValueError, match=re.escape(message)):
        tf.function(lambda: tf_roialign.roi_align(F, given, 2)).get_concrete_function()


@pytest.mark.parametrize("count", [0, 1, 3])
def test_lists_when_the_number_of_images_is_unknown(count):
    @tf.function(input_signature=[tf.TensorSpec([None] * 4)])
    def function(features):
        return tf_roialign.roi_align(features, [boxes(2, 4)] * count, 2)

    message = rf"(?s)`boxes` must have one entry per image.*\b2\b.*\b{count}\b"
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        function(F)


def test_lists_whose_entries_are_unknown():
    @tf.function(input_signature=[tf.TensorSpec(None), tf.TensorSpec(None), tf.TensorSpec(None)])
    def function(features, first, second):
        return tf_roialign.roi_align(features, [first, second], 2)

    assert function(F, boxes(1, 4), boxes(2, 4)).shape == [3, 2, 2, 3]
    with pytest.raises(tf.errors.InvalidArgumentError):
        function(F, boxes(1, 4), boxes(3, 5))
    with pytest.raises(tf.errors.InvalidArgumentError):
        function(F, boxes(1, 5), boxes(3, 5))


@pytest.mark.parametrize(
    "given, images", [([boxes(1, 4), boxes(2, 4)], 3), ([], 2)], ids=["2", "0"]
)
def test_lists_in_a_session(given, images):
    """In TF1's graphs, where nothing runs that nothing depends on."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        features = tf.compat.v1.placeholder(tf.float32, [None, *F.shape[1:]])
        output = tf_roialign.roi_align(features, given, 2)
        fitting = session.run(output, {features: np.ones([len(given), *F.shape[1:]])})
        assert fitting.shape == (sum(map(len, given)), 2, 2, 3)
        with pytest.raises(
            tf.errors.InvalidArgumentError, match="`boxes` must have one entry per image"
        ):
            session.run(output, {features: np.ones([images, *F.shape[1:]])})


@pytest.mark.parametrize("images", [1, 3])
def test_ragged_rows_in_a_session(images):
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        features = tf.compat.v1.placeholder(tf.float32, [None, *F.shape[1:]])
        given = tf.RaggedTensor.from_row_lengths(tf.constant(boxes(3, 4)), [1, 2])
        output = tf_roialign.roi_align(features, given, 2)
        assert session.run(output, {features: F}).shape == (3, 2, 2, 3)
        with pytest.raises(
            tf.errors.InvalidArgumentError, match="`boxes` must have one row per image"
        ):
            session.run(output, {features: np.ones([images, *F.shape[1:]])})


@pytest.mark.parametrize("data_format", cases.LAYOUTS)
@pytest.mark.parametrize("form", ["list", "ragged"])
def test_features_of_another_rank_with_boxes_that_have_rows(form, data_format):
    """What is said is about the features, not that their first dimension is no batch."""
    rows = [boxes(1, 4), boxes(2, 4)]
    given = rows if form == "list" else tf.RaggedTensor.from_row_lengths(boxes(3, 4), [1, 2])

    def align(features):
        return tf_roialign.roi_align(features, given, 2, data_format=data_format)

    for features in (F[0], F[0, 0], F[None], np.float32(1)):
        _, message = in_layout(features, FEATURES + str(list(features.shape)), data_format)
        with pytest.raises(ValueError, match=message):
            align(features)
        with pytest.raises(ValueError, match=message):
            tf.function(align).get_concrete_function(tf.TensorSpec(features.shape))
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            tf.function(align, input_signature=[tf.TensorSpec(None)])(features)


NO_BOXES = {
    "None": None,
    "sparse": tf.sparse.from_dense(boxes(2, 5)),
    "dict": {},
    "str": "boxes",
    "bool": np.ones([2, 5], bool),
    "complex": np.ones([2, 5], "complex64"),
    "list of None": [None, None],
    "list with None": [boxes(1, 4), None],
    "list of sparse": [tf.sparse.from_dense(boxes(2, 4))] * 2,
    "list of ragged": [tf.RaggedTensor.from_row_lengths(boxes(3, 4), [1, 2])] * 2,
    "list of str": ["a", "b"],
    "uneven rows": [[0.0, 1.0, 1.0, 5.0, 5.0], [0.0, 1.0]],
}


@pytest.mark.parametrize("given", NO_BOXES.values(), ids=NO_BOXES)
def test_what_is_no_boxes(given):
    with pytest.raises((TypeError, ValueError), match=r"`boxes(\[\d\])?`"):
        tf_roialign.roi_align(F, given, 2)
    with pytest.raises((TypeError, ValueError), match=r"`boxes(\[\d\])?`"):
        tf.function(lambda: tf_roialign.roi_align(F, given, 2)).get_concrete_function()


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_ragged_rows(rows):
    message = re.escape(f"`boxes` must have one row per image (2), got {rows}")
    ragged = tf.RaggedTensor.from_row_lengths(boxes(2 * rows, 4), [2] * rows)
    if rows == 0:
        ragged = tf.RaggedTensor.from_row_lengths(boxes(0, 4), np.zeros(0, "int64"))
    with pytest.raises(ERRORS, match=message):
        tf_roialign.roi_align(F, ragged, 2)

    @tf.function(
        input_signature=[
            tf.TensorSpec([None] * 4),
            tf.RaggedTensorSpec([None, None, 4], tf.float32, 1),
        ]
    )
    def function(features, boxes):
        return tf_roialign.roi_align(features, boxes, 2)

    message = rf"(?s)`boxes` must have one row per image.*\b2\b.*\b{rows}\b"
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        function(F, ragged)


@pytest.mark.parametrize("length", [3, 5])
def test_ragged_columns(length):
    """tf.ragged.constant makes the columns ragged: four in each row, or an error."""
    ragged = tf.ragged.constant([[[1.0, 1.0, 4.0, 5.0], [1.0] * length], []])
    message = re.escape("`boxes` must be a RaggedTensor of shape [N, (L), 4]") + f".*{length}"
    with pytest.raises(ValueError, match=message):
        tf_roialign.roi_align(F, ragged, 2)

    @tf.function(input_signature=[tf.RaggedTensorSpec([2, None, None], tf.float32, 2)])
    def function(boxes):
        return tf_roialign.roi_align(F, boxes, 2)

    with pytest.raises(tf.errors.InvalidArgumentError, match="(?s)" + message):
        function(ragged)


@pytest.mark.parametrize(
    "ragged",
    [
        tf.RaggedTensor.from_row_lengths(boxes(2, 5), [1, 1]),
        tf.RaggedTensor.from_row_lengths(tf.zeros([2]), [1, 1]),
        tf.RaggedTensor.from_row_lengths(tf.zeros([2, 3, 4]), [1, 1]),
        tf.ragged.constant([[[[1.0, 2, 3, 4]]], []]),
    ],
    ids=["last-5", "rank-2", "rank-4", "ragged-rank-3"],
)
def test_ragged_shape(ragged):
    message = "`boxes` must be a RaggedTensor of shape [N, (L), 4], got "
    with pytest.raises(ValueError, match=re.escape(message)):
        tf_roialign.roi_align(F, ragged, 2)


@pytest.mark.parametrize("form", ["list", "ragged"])
def test_indices_with_boxes_that_have_rows(form):
    rows = [boxes(1, 4), boxes(2, 4)]
    given = rows if form == "list" else tf.RaggedTensor.from_row_lengths(boxes(3, 4), [1, 2])
    with pytest.raises(ValueError, match="`box_indices`"):
        tf_roialign.roi_align(F, given, 2, box_indices=indices(0, 1, 1))


def layer_or_function(attributes):
    """Call by the function and by the layer, whose data_format has other names."""
    names = {"NHWC": "channels_last", "NCHW": "channels_first"}

    def by_function():
        return tf_roialign.roi_align(F, boxes(1, 5), **{"output_size": 2, **attributes})

    def by_layer():
        given = {"output_size": 2, **attributes}
        if "data_format" in given:
            given["data_format"] = names.get(given["data_format"], given["data_format"])
        return tf_roialign.RoIAlign(**given)

    return {"function": by_function, "layer": by_layer}


ONE_OR_TWO = "`output_size` must be one or two integers of at least 1, got "


@pytest.mark.parametrize("by", ["function", "layer"])
@pytest.mark.parametrize(
    "attributes, message",
    [
        ({"output_size": (0, 7)}, ONE_OR_TWO),
        ({"output_size": (7, 0)}, ONE_OR_TWO),
        ({"output_size": (-1, 7)}, ONE_OR_TWO),
        ({"output_size": 0}, ONE_OR_TWO),
        ({"output_size": -3}, ONE_OR_TWO),
        ({"output_size": (7, 7, 7)}, ONE_OR_TWO),
        ({"output_size": (7,)}, ONE_OR_TWO),
        ({"output_size": ()}, ONE_OR_TWO),
        ({"output_size": 2.5}, ONE_OR_TWO),
        ({"output_size": "7"}, ONE_OR_TWO),
        ({"output_size": "77"}, ONE_OR_TWO),
        ({"output_size": (2, 2.5)}, ONE_OR_TWO),
        ({"output_size": None}, ONE_OR_TWO),
        ({"output_size": {2, 3}}, ONE_OR_TWO),
        ({"output_size": {2: 1, 3: 1}}, ONE_OR_TWO),
        ({"output_size": True}, ONE_OR_TWO),
        ({"output_size": (True, 2)}, ONE_OR_TWO),
        ({"output_size": (2, np.True_)}, ONE_OR_TWO),
        ({"output_size": 2**31}, "`output_size` must be less than 2^31, got "),
        ({"output_size": 2**63}, "`output_size` must be less than 2^31, got "),
        ({"output_size": (2, 2**63)}, "`output_size` must be less than 2^31, got "),
        ({"spatial_scale": 0.0}, "`spatial_scale` must be finite and greater than 0, got 0"),
        ({"spatial_scale": -0.5}, "`spatial_scale` must be finite and greater than 0, got -0.5"),
        ({"spatial_scale": NAN}, "`spatial_scale` must be finite and greater than 0, got nan"),
        ({"spatial_scale": INF}, "`spatial_scale` must be finite and greater than 0, got inf"),
        ({"spatial_scale": -INF}, "`spatial_scale` must be finite and greater than 0, got -inf"),
        ({"spatial_scale": "1"}, "`spatial_scale` must be "),
        ({"spatial_scale": None}, "`spatial_scale` must be "),
        *(
            (
                {"spatial_scale": scale},
                "`spatial_scale` must be a number or two, (y, x), finite and greater than 0, got "
                + shown,
            )
            for scale, shown in [
                ((1.0,), "[1.0]"),
                ((1.0, 0.5, 1.0), "[1.0, 0.5, 1.0]"),
                ((1.0, 0.0), "[1.0, 0.0]"),
                ((-1.0, 0.5), "[-1.0, 0.5]"),
                ([0.5, NAN], "[0.5, nan]"),
                ((0.5, "1"), "[0.5, '1']"),
                (np.ones([2, 1]), "[[1.]\n [1.]]"),
            ]
        ),
        ({"sampling_ratio": 2.5}, "`sampling_ratio` must be an integer"),
        ({"sampling_ratio": "2"}, "`sampling_ratio` must be an integer"),
        ({"sampling_ratio": None}, "`sampling_ratio` must be an integer"),
        ({"sampling_ratio": (2, 2)}, "`sampling_ratio` must be an integer"),
        ({"sampling_ratio": True}, "`sampling_ratio` must be an integer"),
        ({"sampling_ratio": 2**31}, "`sampling_ratio` must be less than 2^31, got 2147483648"),
        ({"sampling_ratio": 2**63}, "`sampling_ratio` must be less than 2^31, got "),
        ({"aligned": "False"}, '`aligned` must be True or False, got "False"'),
        ({"aligned": 2}, "`aligned` must be True or False, got 2"),
        ({"aligned": None}, "`aligned` must be True or False, got None"),
        ({"aligned": [False]}, "`aligned` must be True or False, got [False]"),
        ({"aligned": np.array([True])}, "`aligned` must be True or False, got [ True]"),
        ({"spatial_scale": tf.constant("1")}, "`spatial_scale` must be "),
        ({"data_format": "NWHC"}, "`data_format` must be "),
        ({"data_format": "nhwc"}, "`data_format` must be "),
        ({"data_format": 3}, "`data_format` must be "),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_attributes(attributes, message, by):
    with pytest.raises(ValueError, match=re.escape(message)):
        layer_or_function(attributes)[by]()


@pytest.mark.parametrize("by", ["function", "layer"])
@pytest.mark.parametrize(
    "attributes, plain",
    [
        ({"output_size": np.int64(3)}, {"output_size": (3, 3)}),
        ({"output_size": (np.int64(3), np.int32(4))}, {"output_size": (3, 4)}),
        ({"output_size": np.array([3, 4])}, {"output_size": (3, 4)}),
        ({"spatial_scale": np.float64(0.5)}, {"spatial_scale": 0.5}),
        ({"sampling_ratio": np.int64(2)}, {"sampling_ratio": 2}),
        ({"sampling_ratio": -(2**70)}, {"sampling_ratio": -1}),
        ({"aligned": np.True_}, {"aligned": True}),
        ({"aligned": np.False_}, {"aligned": False}),
        ({"aligned": 1}, {"aligned": True}),
        ({"aligned": 0}, {"aligned": False}),
        ({"aligned": np.int64(1)}, {"aligned": True}),
    ],
    ids=lambda value: str(value),
)
def test_numbers_of_numpy_will_do(attributes, plain, by):
    features = tf.random.stateless_normal(F.shape, [1, 2])
    plain = {"output_size": 2, **plain}
    expected = tf_roialign.roi_align(features, boxes(1, 5), **plain)
    given = {"output_size": 2, **attributes}
    if by == "function":
        output = tf_roialign.roi_align(features, boxes(1, 5), **given)
    else:
        layer = tf_roialign.RoIAlign(**given, data_format="channels_last")
        config = layer.get_config()
        for name, value in plain.items():
            found = tuple(config[name]) if isinstance(value, tuple) else config[name]
            assert name == "output_size" or (found == value and type(found) is type(value))
        output = layer(features, boxes(1, 5))
    assert cases.as_bytes(output) == cases.as_bytes(expected)


def test_data_format_names_what_it_takes():
    with pytest.raises(ValueError, match='must be "NHWC" or "NCHW", got "NWHC"'):
        tf_roialign.roi_align(F, boxes(1, 5), 2, data_format="NWHC")
    with pytest.raises(ValueError, match="channels_last.*channels_first.*NWHC"):
        tf_roialign.RoIAlign(2, data_format="NWHC")


NO_INDICES = np.zeros(0, "int32")
ATTRIBUTES = {
    "output_size": [2, 2],
    "spatial_scale": 1.0,
    "sampling_ratio": 2,
    "aligned": False,
    "data_format": "NHWC",
}


@pytest.mark.parametrize("op", ["roi_align", "roi_align_grad", "roi_align_boxes_grad"])
@pytest.mark.parametrize(
    "attributes, message",
    [
        ({"output_size": [0, 7]}, "`output_size` must be two integers of at least 1, got [0, 7]"),
        ({"output_size": [7]}, "`output_size` must be two integers of at least 1, got [7]"),
        (
            {"output_size": [1, 2, 3]},
            "`output_size` must be two integers of at least 1, got [1, 2, 3]",
        ),
        ({"output_size": []}, "`output_size` must be two integers of at least 1, got []"),
        ({"spatial_scale": 0.0}, "`spatial_scale` must be finite and greater than 0, got 0"),
        ({"spatial_scale": NAN}, "`spatial_scale` must be finite and greater than 0, got nan"),
        ({"spatial_scale": INF}, "`spatial_scale` must be finite and greater than 0, got inf"),
        ({"sampling_ratio": 2**31}, "`sampling_ratio` must be less than 2^31, got 2147483648"),
        ({"data_format": "NWHC"}, "data_format"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_attributes_of_the_ops(attributes, message, op):
    """The ops are public to graphs and C++ hosts: they check for themselves."""
    upstream = np.ones([1, 2, 2, 3], "float32")
    arguments = {
        "roi_align": (F, boxes(1, 5), NO_INDICES),
        "roi_align_grad": (upstream, boxes(1, 5), NO_INDICES, [2, 6, 7, 3]),
        "roi_align_boxes_grad": (upstream, F, boxes(1, 5), NO_INDICES),
    }[op]
    with pytest.raises(ERRORS, match=re.escape(message)):
        getattr(raw_ops, op)(*arguments, **{**ATTRIBUTES, **attributes})


@pytest.mark.parametrize(
    "given, message",
    [
        (
            (boxes(3, 4), NO_INDICES),
            "`boxes` of shape [3, 4] need `box_indices` of shape [3], got [0]",
        ),
        (
            (boxes(3, 4), indices(0, 1)),
            "`box_indices` must have shape [3], one image index per box, got [2]",
        ),
        (
            (boxes(3, 5), indices(0, 1, 1)),
            "`boxes` must have shape [K, 4] when `box_indices` is given, got [3, 5]",
        ),
        (
            (boxes(3, 5, 4), NO_INDICES),
            "`boxes` must have shape [2, M, 4], one row of boxes per image, got [3, 5, 4]",
        ),
        ((boxes(3), NO_INDICES), "`boxes` must have shape [K, 5], [K, 4] or [N, M, 4], got [3]"),
        ((rois(0, 5), NO_INDICES), column(1, 2, "5")),
        ((boxes(2, 4), indices(0, -5)), entry(1, 2, "-5")),
    ],
    ids=str,
)
@pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
@pytest.mark.parametrize("op", ["roi_align", "roi_align_grad", "roi_align_boxes_grad"])
def test_boxes_of_the_ops(op, known, given, message):
    count = int(np.prod(given[0].shape[:-1]))
    dense = given[0].ndim == 3
    upstream = np.ones([*given[0].shape[:2]] * dense + [count] * (not dense) + [2, 2, 3], "float32")
    arguments = {
        "roi_align": (F, *given),
        "roi_align_grad": (upstream, *given, np.array([2, 6, 7, 3], "int32")),
        "roi_align_boxes_grad": (upstream, F, *given),
    }[op]
    function = tf.function(
        lambda *tensors: getattr(raw_ops, op)(*tensors, **ATTRIBUTES),
        input_signature=[tf.TensorSpec(np.shape(a) if known else None, a.dtype) for a in arguments],
    )
    with pytest.raises(ERRORS, match=re.escape(message)):
        function(*arguments)


@pytest.mark.parametrize(
    "shape, expected",
    [
        ([2, 2, 2, 3], "[3, 2, 2, 3]"),
        ([3, 2, 1, 3], "[3, 2, 2, 3]"),
        ([3, 1, 2, 3], "[3, 2, 2, 3]"),
        ([3, 2, 2, 4], "[3, 2, 2, 3]"),
        ([3, 2, 2], "[3, 2, 2, 3]"),
        ([1, 3, 2, 2, 3], "[3, 2, 2, 3]"),
    ],
    ids=str,
)
@pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
@pytest.mark.parametrize("op", ["roi_align_grad", "roi_align_boxes_grad"])
def test_upstream_of_the_gradient_ops(op, known, shape, expected):
    upstream = np.ones(shape, "float32")
    table, nothing = rois(0, 1, 1), NO_INDICES
    arguments = {
        "roi_align_grad": (upstream, table, nothing, np.array([2, 6, 7, 3], "int32")),
        "roi_align_boxes_grad": (upstream, F, table, nothing),
    }[op]
    function = tf.function(
        lambda *tensors: getattr(raw_ops, op)(*tensors, **ATTRIBUTES),
        input_signature=[tf.TensorSpec(np.shape(a) if known else None, a.dtype) for a in arguments],
    )
    got = "[" + ", ".join(map(str, shape)) + "]"
    # The channel count may be named or left open: C.
    pattern = (
        re.escape("`grad_output` must have shape [3, 2, 2, ") + "(C|3)" + re.escape(f"], got {got}")
    )
    with pytest.raises(ERRORS, match=pattern):
        function(*arguments)


@pytest.mark.parametrize(
    "shape, message",
    [
        ([2, 6, 7], "must have shape [4], got [3]"),
        ([2, 6, 7, 3, 1], "must have shape [4], got [5]"),
        ([], "must have shape [4], got [0]"),
        ([[2, 6], [7, 3]], "must have shape [4], got [2, 2]"),
        (2, "must have shape [4], got []"),
        ([2, -6, 7, 3], "must hold 4 non-negative sizes, got [2, -6, 7, 3]"),
        ([-1, 6, 7, 3], "must hold 4 non-negative sizes, got [-1, 6, 7, 3]"),
    ],
    ids=str,
)
@pytest.mark.parametrize("shape_dtype", ["int32", "int64"])
def test_features_shape_of_the_gradient_op(shape_dtype, shape, message):
    upstream, table = np.ones([1, 2, 2, 3], "float32"), rois(0)
    shape = np.array(shape, shape_dtype)
    message = re.escape("`features_shape` " + message)

    def gradient(shape):
        return raw_ops.roi_align_grad(upstream, table, NO_INDICES, shape, **ATTRIBUTES)

    with pytest.raises(ERRORS, match=message):
        gradient(shape)
    for known in ([4] if shape.shape == (4,) else None, None):
        function = tf.function(gradient, input_signature=[tf.TensorSpec(known, shape_dtype)])
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            function(shape)
    # As a constant, or by its shape, it is refused while tracing (some negative sizes by
    # TensorFlow, before the op is asked).
    with pytest.raises(ValueError, match=f"{message}|Invalid value in tensor used for shape"):
        tf.function(lambda: gradient(tf.constant(shape))).get_concrete_function()
    if shape.shape != (4,):
        spec = tf.TensorSpec(shape.shape, shape_dtype)
        with pytest.raises(ValueError, match=message):
            tf.function(gradient).get_concrete_function(spec)


def test_features_shape_too_large_to_allocate():
    """Sizes whose product overflows, or that no machine holds: an error, not a crash."""
    upstream, table = np.ones([1, 2, 2, 3], "float32"), rois(0)
    for shape in ([2**31 - 1, 2**31 - 1, 2**31 - 1, 3], [1, 2**40, 2**20, 3], [2**62, 4, 4, 3]):
        with pytest.raises((*ERRORS, tf.errors.ResourceExhaustedError)):
            raw_ops.roi_align_grad(
                upstream, table, NO_INDICES, np.array(shape, "int64"), **ATTRIBUTES
            )


def test_output_too_large_to_count():
    for size in ((2**31 - 1, 2**31 - 1), (2**40, 2**40), (2**63 - 1, 2)):
        with pytest.raises(ERRORS):
            tf_roialign.roi_align(F, boxes(1000, 5), size, sampling_ratio=1)


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize(
    ("shape", "data_format"), [((0, 2**40, 2**40, 3), "NHWC"), ((1, 0, 2**40, 2**40), "NCHW")]
)
@pytest.mark.parametrize("count", [0, 3])
def test_empty_features_of_uncountable_size(shape, data_format, count, jit):
    """TensorFlow makes them; the product of their height and width overflows."""
    arguments = tf.zeros(shape), tf.zeros([count, 5])

    def run(features, table):
        return tf_roialign.roi_align(features, table, 2, data_format=data_format)

    with pytest.raises(ERRORS, match="`features` must have less than 2\\^60 elements"):
        tf.function(run, jit_compile=True)(*arguments) if jit else run(*arguments)


def test_bad_gradients_leave_the_library_usable():
    """After each kind of failure a right call still gives the right result."""
    expected = tf_roialign.roi_align(F, boxes(2, 5), 2).numpy()
    for table in (rois(5), rois(NAN), boxes(2, 3)):
        with pytest.raises(ERRORS):
            tf_roialign.roi_align(F, table, 2)
    assert (tf_roialign.roi_align(F, boxes(2, 5), 2).numpy() == expected).all()


@pytest.mark.parametrize("scale", [1e-50, 1e50])
def test_scales_that_float32_boxes_cannot_use(scale):
    """Finite and positive for Python, 0 or infinite in the boxes' dtype: refused there."""
    layer = tf_roialign.RoIAlign(2, scale, 1, data_format="channels_last")
    message = "`spatial_scale` must be finite and greater than 0 as a float32"
    with pytest.raises(ValueError, match=message):
        tf_roialign.roi_align(F, boxes(1, 5), 2, scale)
    with pytest.raises(ValueError, match=message):
        layer(F, boxes(1, 5))
    exact = boxes(1, 5).astype("float64")
    output = tf_roialign.roi_align(F, exact, 2, scale, 1)
    assert output.shape == [1, 2, 2, 3]
    np.testing.assert_array_equal(layer(F, exact), output)


@pytest.mark.parametrize("rank", [0, 1])
def test_float64_boxes_without_columns(rank):
    """A scale that is no float32 multiplies their columns in Python: theirs is no crash."""
    given = tf.zeros([3] * rank, tf.float64)
    with pytest.raises(ERRORS, match="`boxes` must have shape"):
        tf_roialign.roi_align(F, given, 2, 0.1)

    def align(boxes):
        return tf_roialign.roi_align(F, boxes, 2, 0.1)

    with pytest.raises(ValueError, match="`boxes` must have shape"):
        tf.function(align).get_concrete_function(tf.TensorSpec([3] * rank, tf.float64))
    function = tf.function(align, input_signature=[tf.TensorSpec(None, tf.float64)])
    with pytest.raises(tf.errors.InvalidArgumentError, match="`boxes` must have shape"):
        function(given)
    table = boxes(2, 5).astype("float64")
    assert cases.as_bytes(function(table)) == cases.as_bytes(align(table))
