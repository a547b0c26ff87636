"""check_boxes: names each mistake, is silent about right data, and tells what it cannot do."""

import inspect

import box_mistakes
import cases
import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_roialign

SCALE = 1 / 16
IMAGE_SIZE = (600, 800)
SIZES = np.array([800, 600, 800, 600])  # of x1, y1, x2, y2


@pytest.fixture
def batch():
    """Features, boxes [K, 4] and indices [K] of two landscape images: all is right."""
    rng = np.random.default_rng(1)
    low = rng.uniform(0, 0.9, [40, 2])
    high = low + rng.uniform(0.2, 1, [40, 2]) * (1 - low)
    boxes = np.concatenate([low, high], axis=1) * SIZES
    return tf.zeros([2, 38, 50, 64]), boxes.astype("float32"), np.repeat([0, 1], 20)


def check(batch, **changes):
    features, boxes, indices = batch
    arguments = {"boxes": boxes, "box_indices": indices, "spatial_scale": SCALE, **changes}
    return tf_roialign.check_boxes(arguments.pop("features", features), **arguments)


def codes(findings):
    return [finding.code for finding in findings]


# ---- Right data ------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [box_mistakes.random_data_set, box_mistakes.any_data_set])
def test_right_data_raise_no_alarm(make):
    alarms = box_mistakes.count_alarms(np.random.default_rng(2), make, 200)
    assert not alarms


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("form", cases.FORMS)
@pytest.mark.parametrize("data_format", ["NHWC", "NCHW", "channels_last", "channels_first"])
def test_forms_and_layouts(data_format, form, dtype, batch):
    features, boxes, indices = batch
    if data_format in ("NCHW", "channels_first"):
        features = tf.transpose(features, [0, 3, 1, 2])

    def findings(boxes, **changes):
        arguments = cases.in_form(form, boxes.astype(dtype), indices, 2)
        changes = {"spatial_scale": SCALE, "data_format": data_format, **changes}
        return tf_roialign.check_boxes(features, **arguments, **changes)

    assert findings(boxes) == []
    assert findings(boxes, image_size=IMAGE_SIZE) == []
    assert codes(findings(boxes / SIZES)) == ["normalised"]
    assert codes(findings(boxes[:, [1, 0, 3, 2]])) == ["yxyx"]
    assert findings(boxes / SIZES)[0].count == len(boxes)


@pytest.mark.parametrize("form", cases.FORMS)
@pytest.mark.parametrize("data_format", cases.LAYOUTS)
def test_no_boxes_at_all(data_format, form):
    features = tf.zeros([2, 6, 6, 6])
    arguments = cases.in_form(form, np.zeros([0, 4], "float32"), np.zeros([0], int), 2)
    assert tf_roialign.check_boxes(features, **arguments, data_format=data_format) == []


def test_images_without_boxes(batch):
    features, boxes, _ = batch
    for given in ([boxes, boxes[:0]], [boxes[:0], boxes]):
        assert tf_roialign.check_boxes(features, given, spatial_scale=SCALE) == []
    ragged = tf.RaggedTensor.from_row_lengths(boxes, [0, len(boxes)])
    assert tf_roialign.check_boxes(features, ragged, spatial_scale=SCALE) == []
    empty = tf.zeros([0, 4, 4, 3])
    assert tf_roialign.check_boxes(empty, np.zeros([0, 5])) == []


@pytest.mark.parametrize("boxes", [[[0, 0, 800, 600]], [[3, 4, 5, 6]], [[790, 590, 803, 604]]])
def test_one_box(boxes, batch):
    assert check(batch, boxes=boxes, box_indices=[1]) == []


def test_images_stand_for_features_of_scale_1(batch):
    _, boxes, indices = batch
    images = np.zeros([2, *IMAGE_SIZE, 3], np.uint8)
    assert tf_roialign.check_boxes(images, boxes, box_indices=indices) == []
    found = tf_roialign.check_boxes(images, boxes[:, [1, 0, 3, 2]], box_indices=indices)
    assert codes(found) == ["yxyx"]


# ---- Mistakes --------------------------------------------------------------------------------


def many_boxes(rng):
    """A data set in which nothing hides a mistake."""
    while True:
        data = box_mistakes.random_data_set(rng)
        reach = data.boxes[:, 2:].max(axis=0, initial=0) / [data.width, data.height]
        # As many channels as rows: the layouts differ little.
        is_plain = data.channels == 256 and data.stride > 4 and data.height != data.width
        if len(data.boxes) >= 50 and reach.min() > 0.9 and is_plain:
            return data


@pytest.mark.parametrize("mistake", box_mistakes.MISTAKES)
def test_mistakes_are_named(mistake):
    rng = np.random.default_rng(cases.seed_of(mistake))
    named = 0
    for _ in range(20):
        data = many_boxes(rng)
        findings = data.findings(**box_mistakes.MISTAKES[mistake](data))
        named += mistake in codes(findings)
    # Where the images are long, and boxes reach all sides, there is little left to doubt.
    assert named >= (15 if mistake == "data_format" else 19)


@pytest.mark.parametrize("mistake", box_mistakes.MISTAKES_WITH_IMAGE_SIZE)
def test_image_size_tells_more(mistake):
    rng = np.random.default_rng(cases.seed_of("size", mistake))
    for _ in range(10):
        data = many_boxes(rng)
        findings = data.findings(**box_mistakes.MISTAKES_WITH_IMAGE_SIZE[mistake](data))
        assert codes(findings) == [mistake]


def test_image_size_of_another_scale(batch):
    (finding,) = check(batch, image_size=(300, 400))
    assert finding.code == "spatial_scale" and "1/8" in finding.message
    assert codes(check(batch, image_size=(300, 800))) == ["image_size"]
    assert check(batch, image_size=tf.TensorShape([600, 800])) == []


def test_the_scale_that_would_do_is_told(batch):
    (finding,) = check(batch, spatial_scale=1.0)
    assert finding.code == "spatial_scale" and "1/16" in finding.message


def test_both_readings_are_told_where_both_fit(batch):
    boxes = np.array([[300, 250, 40, 30], [400, 300, 50, 60], [350, 350, 30, 70]])
    (finding,) = check(batch, boxes=boxes, box_indices=[0, 0, 1])
    assert finding.code == "xywh"
    assert "(x, y, width, height) or (center x, center y, width, height)" in finding.message


def test_two_mistakes_at_once(batch):
    _, boxes, _ = batch
    xywh = box_mistakes.as_xywh(boxes)
    assert codes(check(batch, boxes=xywh / SIZES)) == ["normalised", "xywh"]
    assert codes(check(batch, boxes=xywh, spatial_scale=1.0)) == ["spatial_scale", "xywh"]
    (finding,) = check(batch, boxes=xywh[:, [1, 0, 3, 2]])
    assert finding.code == "xywh" and "(y, x, height, width)" in finding.message


def test_single_rows(batch):
    _, boxes, indices = batch
    boxes = boxes.copy()
    boxes[3] = boxes[3, [2, 1, 0, 3]]
    boxes[4, 1], boxes[5, 2], boxes[6, 0] = np.nan, np.inf, -np.inf
    boxes[[7, 8]], boxes[[9, 10, 11]] = -1, 0
    boxes[12] += 2000
    boxes[13] -= 2000
    findings = check(batch, boxes=boxes)
    assert [(f.code, f.count) for f in findings] == [
        ("not_finite", 3),
        ("padding", 5),
        ("reversed", 1),
        ("outside", 2),
    ]


def test_padding_hides_no_mistake(batch):
    """Right or wrong boxes are told among rows of -1."""
    features, boxes, _ = batch
    padding = np.full([2, 5, 4], -1, np.float32)
    for given, code in ((boxes, []), (boxes / SIZES, ["normalised"]), (boxes * SCALE, None)):
        dense = np.concatenate([given.reshape(2, 20, 4), padding], axis=1)
        findings = tf_roialign.check_boxes(features, dense, spatial_scale=SCALE)
        assert (findings[0].code, findings[0].count) == ("padding", 10)
        assert codes(findings[1:]) == (["feature_pixels"] if code is None else code)
    findings = tf_roialign.check_boxes(features, padding, spatial_scale=SCALE)
    assert [(f.code, f.count) for f in findings] == [("padding", 10)]


@pytest.mark.parametrize("index", [-1, 2, 7])
def test_indices_out_of_range(index, batch):
    _, boxes, indices = batch
    indices = indices.copy()
    indices[5] = index
    (finding,) = check(batch, box_indices=indices)
    assert (finding.code, finding.count) == ("box_index", 1) and str(index) in finding.message
    for column in (float(index), 0.5, np.nan):
        rois = np.concatenate([indices[:, None], boxes], axis=1)
        rois[5, 0] = column
        (finding,) = check(batch, boxes=rois, box_indices=None)
        assert (finding.code, finding.count) == ("box_index", 1)


def test_columns_in_another_order(batch):
    _, boxes, indices = batch
    last = np.concatenate([boxes, indices[:, None]], axis=1)
    *_, finding = check(batch, boxes=last, box_indices=None)
    assert finding.code == "columns" and "tf.roll" in finding.message
    assert check(batch, boxes=tf.roll(last, 1, axis=1), box_indices=None) == []
    scored = np.concatenate([boxes, np.linspace(0.1, 0.9, len(boxes))[:, None]], axis=1)
    assert codes(check(batch, boxes=scored, box_indices=None)) == ["box_index", "columns"]


@pytest.mark.parametrize("dtype, end", [("bfloat16", 128), ("float16", 1024)])
def test_boxes_of_16_bits(dtype, end):
    features = tf.zeros([1, 2000, 2000, 1])
    fine, coarse = [2.0, 3, end - 1, 50], [2.0, 3, 50, end]
    boxes = tf.cast([[fine, coarse, coarse]], dtype)
    (finding,) = tf_roialign.check_boxes(features, boxes)
    assert (finding.code, finding.count) == ("low_precision", 2)
    assert dtype in finding.message and "autocast=False" in finding.message
    assert tf_roialign.check_boxes(features, boxes[:, :1]) == []


# ---- What comes back -------------------------------------------------------------------------


def test_findings_read_well(batch):
    _, boxes, _ = batch
    findings = check(batch, boxes=np.concatenate([boxes[:-1] / SIZES, [[-1.0] * 4]]))
    assert str(findings) == repr(findings)
    lines = str(findings).splitlines()
    assert lines[0].startswith("padding (1 box): ")
    assert lines[1].startswith("normalised (39 boxes): ")
    assert str(check(batch)) == "Nothing found."
    with pytest.raises(AttributeError):
        findings[0].code = "other"


def test_every_code_is_documented():
    """In the docstring, which is where the codes are promised."""
    documented = inspect.getdoc(tf_roialign.check_boxes).partition("Args:")[0]
    for code in ("columns", "low_precision", "box_index", "not_finite", "padding"):
        assert f'"{code}"' in documented
    for code in (*box_mistakes.MISTAKES, "image_size", "reversed", "outside"):
        assert f'"{code}"' in documented


def test_raise_if_found(batch):
    _, boxes, _ = batch
    assert check(batch, raise_if_found=True) == []
    with pytest.raises(ValueError, match=r"found:\nnormalised \(40 boxes\): "):
        check(batch, boxes=boxes / SIZES, raise_if_found=True)


# ---- What cannot be checked ------------------------------------------------------------------


@pytest.mark.parametrize("form", cases.FORMS)
def test_graphs_are_refused(form, batch):
    features, boxes, indices = batch
    arguments = cases.in_form(form, boxes, indices, 2)

    @tf.function
    def run(features, arguments):
        tf_roialign.check_boxes(features, **arguments)
        return features

    with pytest.raises(RuntimeError, match="looks at values.*outside of `tf.function`"):
        run(features, arguments)
    dataset = tf.data.Dataset.from_tensors((features, arguments["boxes"])) if form != "list" else []
    if form != "list":
        with pytest.raises(RuntimeError, match="looks at values"):
            dataset.map(lambda features, boxes: (tf_roialign.check_boxes(features, boxes), 0)[1])


def test_symbolic_tensors_are_refused(batch):
    features, boxes, _ = batch
    symbolic = keras.Input([None, 4], ragged=True)
    with pytest.raises(RuntimeError, match="looks at values.*`boxes` is symbolic"):
        tf_roialign.check_boxes(features, symbolic)
    with pytest.raises(RuntimeError, match="looks at values.*`features` is symbolic"):
        tf_roialign.check_boxes(keras.Input([38, 50, 64]), boxes)


@pytest.mark.parametrize(
    "changes, error, text",
    [
        ({"spatial_scale": 0}, ValueError, "`spatial_scale` must be"),
        ({"data_format": "NHCW"}, ValueError, "`data_format` must be"),
        ({"image_size": 600}, ValueError, r"`image_size` must be \(height, width\)"),
        ({"image_size": (600, 800, 3)}, ValueError, r"`image_size` must be \(height, width\)"),
        ({"image_size": (0, 800)}, ValueError, r"`image_size` must be \(height, width\)"),
        ({"image_size": (None, 800)}, ValueError, r"`image_size` must be \(height, width\)"),
        ({"features": np.zeros([2, 38, 50])}, ValueError, r"`features` must have shape"),
        ({"features": np.zeros([2, 0, 50, 64])}, ValueError, "height and width of at least 1"),
        ({"box_indices": None}, ValueError, "need `box_indices`"),
        ({"box_indices": [0]}, ValueError, "`box_indices` must have shape"),
        ({"boxes": np.zeros([40, 3])}, ValueError, r"`boxes` must have shape \[K, 4\]"),
        ({"boxes": np.zeros([3, 8, 4]), "box_indices": None}, ValueError, "`boxes` must have"),
        ({"boxes": "boxes"}, TypeError, "`boxes` must be float32 or float64"),
    ],
)
def test_what_does_not_fit_is_an_error(changes, error, text, batch):
    with pytest.raises(error, match=text):
        check(batch, **changes)


def test_low_precision_of_some_images():
    """Each entry of a list has a dtype of its own."""
    features = tf.zeros([2, 100, 160, 4])
    boxes = np.array([[1030, 10, 1500, 90], [1200, 3, 1500, 77]], "float32")
    rough = boxes.astype("float16")

    def count(given):
        found = tf_roialign.check_boxes(features, given, spatial_scale=1 / 10)
        return sum(item.count for item in found if item.code == "low_precision")

    assert count([rough, boxes]) == count([boxes[:1], rough]) == 2
    assert count([rough, rough]) == 4
    assert count([boxes, boxes]) == count([np.zeros([0, 4], "float16"), boxes]) == 0
    rows = [tf.constant([i, *row], tf.float16) for i, row in enumerate(boxes.tolist())]
    assert count(rows) == 2  # a matrix by its rows
